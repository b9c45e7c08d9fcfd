"""Model folders: what is saved is what loads, and what does not belong together is refused."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import PreTrainedTokenizerFast

from tiny_model import (
    answer_of,
    make_adapted,
    make_backbone,
    save_adapted,
    save_plain,
    saved_backbone,
    tokenizer,
)
from ucuie import Extractor
from ucuie.errors import ModelError
from ucuie.language.pool import InstructionPool, Wording
from ucuie.model import saving as model_saving
from ucuie.model import source as model_source
from ucuie.model.backbone import Backbone, backbone_fingerprint, tokenizer_sha256
from ucuie.model.calibration import Calibration, Calibrator, Sigmoid
from ucuie.model.folder import embedded_model, load_backbone, load_model, load_models
from ucuie.model.info import file_sha256, read_info
from ucuie.model.operating_point import OperatingPoint
from ucuie.model.saving import (
    calibration_target,
    record_calibration,
    record_scores,
    save_model,
    store_adapter,
)
from ucuie.model.source import local_model


@pytest.fixture
def folder(adapted_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(adapted_folder, tmp_path / "tiny"))


def logits(model: Any) -> torch.Tensor:
    ids = torch.tensor([[1, 40, 50, 60, 70, 80]])
    routing = {"instruction_mask": torch.arange(6) < 4} if isinstance(model, PeftModel) else {}
    routing = {name: mask[None] for name, mask in routing.items()}
    with torch.no_grad():
        result: torch.Tensor = model(ids, **routing).logits
    return result


def change_info(folder: Path, **changes: object) -> None:
    path = folder / "ucuie.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_a_saved_adapter_gives_the_same_logits(folder: Path) -> None:
    loaded = load_model(folder)
    assert torch.equal(logits(loaded.model), logits(make_adapted(make_backbone())))
    assert loaded.name == str(folder)
    assert loaded.pool.hash == InstructionPool.load().hash
    assert not loaded.model.training
    assert not any(parameter.requires_grad for parameter in loaded.model.parameters())


def test_a_folder_holds_what_the_contract_lists(folder: Path) -> None:
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    listed = {"adapter_config.json", "adapter_model.safetensors", "instructions.yaml", "backbone/config.json"}
    listed |= {"backbone/model.safetensors", "backbone/tokenizer.json"}
    assert listed <= names
    assert names - set(read_info(folder).files) == {"ucuie.json", "README.md"}
    assert json.loads((folder / "adapter_config.json").read_text())["base_model_name_or_path"] == "backbone"


def test_the_backbone_in_a_folder_has_no_trace_of_the_adapter(folder: Path) -> None:
    tensors = load_file(folder / "backbone" / "model.safetensors")
    assert set(tensors) == set(dict(make_backbone().named_parameters()))


def test_a_half_precision_backbone_loads_as_fp32_and_keeps_its_fingerprint(tmp_path: Path) -> None:
    backbone = Backbone(make_backbone(), tokenizer(), "tiny")
    save_model(make_adapted(make_backbone()), backbone, tmp_path / "half", copy_as=torch.float16)
    stored = load_file(tmp_path / "half" / "backbone" / "model.safetensors")
    assert {tensor.dtype for tensor in stored.values() if tensor.dim() > 1} == {torch.float16}
    assert "lm_head.weight" not in stored
    loaded = load_model(tmp_path / "half")
    assert {parameter.dtype for parameter in loaded.model.parameters()} == {torch.float32}
    torch.testing.assert_close(logits(loaded.model), logits(make_adapted(make_backbone())), atol=2e-2, rtol=0)


def test_an_adapter_names_the_backbone_it_came_from_by_absolute_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    saved_backbone(tmp_path / "plain")
    backbone = load_backbone("plain")
    save_model(make_adapted(backbone.model), backbone, tmp_path / "adapter")
    assert read_info(tmp_path / "adapter").backbone == str(tmp_path / "plain")
    monkeypatch.chdir("/")
    assert isinstance(load_model(tmp_path / "adapter").model, PeftModel)


def test_a_backbone_trained_as_a_whole_is_a_model_without_adapter(tmp_path: Path) -> None:
    backbone = saved_backbone(tmp_path / "plain")
    save_model(backbone.model, backbone, tmp_path / "full")
    loaded = load_model(tmp_path / "full")
    assert not isinstance(loaded.model, PeftModel)
    assert torch.equal(logits(loaded.model), logits(make_backbone()))


def test_a_plain_model_loads_without_any_training(tmp_path: Path) -> None:
    loaded = load_model(save_plain(tmp_path / "plain"))
    assert loaded.info is None
    assert torch.equal(logits(loaded.model), logits(make_backbone()))


def test_the_backbone_of_a_model_folder_is_a_backbone(folder: Path) -> None:
    backbone = load_backbone(folder)
    assert torch.equal(logits(backbone.model), logits(make_backbone()))
    adapter = folder.with_name("next")
    save_model(make_adapted(backbone.model), backbone, adapter)
    assert (adapter / "backbone").is_dir()  # a copy: the first model may be deleted


def test_a_pool_of_ones_own_travels_with_the_model(tmp_path: Path) -> None:
    packaged = InstructionPool.load()
    wordings = {**packaged.entries, "NER": (Wording(text="List {schema}, please."),)}
    pool = InstructionPool(entries=wordings)
    save_model(
        make_adapted(make_backbone()), Backbone(make_backbone(), tokenizer(), "embedded"), tmp_path, pool=pool
    )
    assert load_model(tmp_path).pool.default("NER") == "List {schema}, please."


def test_scores_are_recorded_in_the_folder_and_its_card(folder: Path) -> None:
    record_scores(folder, {"offset": {"conll04": {"RE boundary": 61.234}}})
    assert load_model(folder).info is not None
    assert "| conll04 | RE boundary | 61.23 |" in (folder / "README.md").read_text()


def test_scores_and_calibrations_leave_a_card_of_ones_own(folder: Path, tmp_path: Path) -> None:
    (folder / "README.md").write_text("My words.\n")
    record_scores(folder, {"offset": {"conll04": {"RE boundary": 61.234}}})
    record_calibration(folder, Calibration(texts={"conll04": 7}))
    assert (folder / "README.md").read_text() == "My words.\n"
    record_calibration(folder, Calibration(texts={"conll04": 8}), output=tmp_path / "copy")
    assert (tmp_path / "copy" / "README.md").read_text() == "My words.\n"


def test_saving_again_replaces_the_model_and_leaves_other_files(folder: Path) -> None:
    (folder / "run.json").write_text("{}")
    save_adapted(folder, r=2)
    config = json.loads((folder / "adapter_config.json").read_text())
    assert config["r"] == 2
    assert (folder / "run.json").exists()
    load_model(folder)


def test_a_failing_save_leaves_the_old_model(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object, **kwargs: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(model_saving, "write_info", fail)
    with pytest.raises(OSError, match="disk full"):
        save_adapted(folder, r=2)
    monkeypatch.undo()
    load_model(folder)
    assert not list(folder.glob(".staged*"))


@pytest.mark.parametrize(
    "name", ["adapter_model.safetensors", "backbone/tokenizer.json", "instructions.yaml"]
)
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(ModelError, match=rf"{name} is missing; copy or download"):
        load_model(folder)


def test_all_missing_and_damaged_files_are_named_at_once(folder: Path) -> None:
    (folder / "adapter_config.json").unlink()
    path = folder / "backbone" / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ModelError) as caught:
        load_model(folder)
    assert "adapter_config.json is missing" in str(caught.value)
    assert "backbone/model.safetensors is damaged" in str(caught.value)


def test_the_card_may_be_edited(folder: Path) -> None:
    (folder / "README.md").write_text("mine")
    load_model(folder)


def test_an_adapter_for_another_backbone_is_refused(folder: Path, tmp_path: Path) -> None:
    change_info(folder, backbone=str(save_plain(tmp_path / "other", seed=5)))
    with pytest.raises(ModelError, match=r"trained on another backbone.*point \"backbone\""):
        load_model(folder)


def test_another_tokenizer_is_refused(folder: Path) -> None:
    change_info(folder, tokenizer_sha256="0" * 64)
    with pytest.raises(ModelError, match="another tokenizer"):
        load_model(folder)


def test_another_pool_is_refused(folder: Path) -> None:
    change_info(folder, instruction_pool_hash="0" * 64)
    with pytest.raises(ModelError, match=r"instructions.yaml is not the pool"):
        load_model(folder)


def test_a_newer_format_is_refused_with_the_way_out(folder: Path) -> None:
    change_info(folder, format_version=9)
    with pytest.raises(ModelError, match=r"format version 9, this ucuie reads 1.*--upgrade"):
        load_model(folder)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"format_version": 1}', "\x00"])
def test_a_damaged_info_file_is_refused(folder: Path, content: str) -> None:
    (folder / "ucuie.json").write_text(content)
    with pytest.raises(ModelError, match=r"ucuie\.json"):
        load_model(folder)


def test_an_adapter_without_info_is_refused(folder: Path) -> None:
    (folder / "ucuie.json").unlink()
    with pytest.raises(ModelError, match=r"ucuie\.json is missing"):
        load_model(folder)


def test_a_damaged_plain_model_is_refused(tmp_path: Path) -> None:
    save_plain(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(ModelError, match="cannot be read"):
        load_model(tmp_path)


def test_a_backbone_that_moved_is_named(folder: Path) -> None:
    change_info(folder, backbone="/gone/away")
    with pytest.raises(ModelError, match=r"'/gone/away'.*is not there; put it there, or change"):
        load_model(folder)


def test_a_mistyped_folder_gives_the_nearest_and_no_network(folder: Path) -> None:
    with pytest.raises(ModelError, match=r"is not there; did you mean 'tiny'\?"):
        load_model(folder.with_name("tinny"))


def test_a_path_into_a_folder_that_exists_is_no_hub_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    with pytest.raises(ModelError, match="is not there"):
        load_model("runs/model")


def test_a_hub_id_that_cannot_be_had_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def offline(*args: object, **kwargs: object) -> str:
        raise ConnectionError("no route to host\nand a page of advice")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.snapshot_download", offline)
    with pytest.raises(ModelError, match=r"ConnectionError: no route to host\)$"):
        load_model("owner/name")


def test_a_hub_id_is_downloaded(
    adapted_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda *args, **kwargs: str(adapted_folder))
    assert load_model("owner/name").name == "owner/name"


def test_an_empty_folder_holds_no_model(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="holds no model"):
        load_model(tmp_path)


@pytest.mark.usefixtures("needs_embedded_model")
def test_the_name_of_the_embedded_model_stands_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert local_model("ucuie-mini") == embedded_model()
    (tmp_path / "ucuie-mini").mkdir()
    assert local_model("ucuie-mini") == Path("ucuie-mini")


def test_the_embedded_model_is_found_or_its_absence_told(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_source, "__file__", str(tmp_path / "package" / "model" / "source.py"))
    with pytest.raises(ModelError, match="no embedded model"):
        embedded_model()
    shutil.copytree(folder, tmp_path / "package" / "models" / "ucuie-mini")
    assert load_model().name == "ucuie-mini"


def test_the_fingerprint_ignores_the_adapter_and_sees_the_norms() -> None:
    plain = make_backbone()
    fingerprint = backbone_fingerprint(plain)
    assert backbone_fingerprint(make_adapted(make_backbone())) == fingerprint
    with torch.no_grad():
        plain.model.norm.weight[0] += 1e-3
    assert backbone_fingerprint(plain) != fingerprint


def test_the_tokenizer_hash_ignores_padding_and_sees_the_vocabulary(tmp_path: Path) -> None:
    tokenizer().save_pretrained(tmp_path)
    other = PreTrainedTokenizerFast.from_pretrained(tmp_path)
    before = tokenizer_sha256(other)
    other(["a", "bcd"], padding=True, truncation=True, max_length=4)
    assert tokenizer_sha256(other) == before == tokenizer_sha256(tokenizer())
    other.add_tokens(["<new>"])
    assert tokenizer_sha256(other) != before


# --- Calibration -----------------------------------------------------------------------------------

CALIBRATION = Calibration(
    texts={"set": 3},
    calibrators=(
        Calibrator(
            kind="record", curve=Sigmoid(method="temperature", scale=0.5), num_elements=30, num_right=9
        ),
    ),
)


def test_a_calibration_becomes_part_of_the_folder(folder: Path) -> None:
    assert load_model(folder).calibration is None
    (folder / "README.md").write_text("edited")
    assert record_calibration(folder, CALIBRATION) == folder
    assert load_model(folder).calibration == CALIBRATION
    assert "calibration.json" in read_info(folder).files
    assert (folder / "README.md").read_text() == "edited"


def test_a_calibrated_copy_leaves_the_model_alone(folder: Path, tmp_path: Path) -> None:
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    copy = tmp_path / "copy"
    assert record_calibration(folder, CALIBRATION, output=copy) == copy
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    copied = load_model(copy)
    assert copied.calibration == CALIBRATION
    assert torch.equal(logits(copied.model), logits(load_model(folder).model))
    with pytest.raises(ModelError, match="holds a model already"):
        record_calibration(folder, CALIBRATION, output=copy)


def test_training_into_the_folder_anew_takes_the_calibration_away(folder: Path) -> None:
    record_calibration(folder, CALIBRATION)
    save_adapted(folder, r=2)
    assert load_model(folder).calibration is None
    assert not (folder / "calibration.json").exists()


def test_scores_leave_the_calibration_in_its_place(folder: Path) -> None:
    record_calibration(folder, CALIBRATION)
    record_scores(folder, {"offset": {}})
    assert load_model(folder).calibration == CALIBRATION


def test_a_folder_without_an_operating_point_is_neutral(folder: Path) -> None:
    path = folder / "ucuie.json"
    content = json.loads(path.read_text())
    assert (content.pop("end_bias"), content.pop("threshold")) == (0, 0)
    path.write_text(json.dumps(content))
    assert load_model(folder).operating_point == OperatingPoint(end_bias=0.0, threshold=0.0)


def test_an_operating_point_stays_until_the_model_is_another(folder: Path, tmp_path: Path) -> None:
    point = OperatingPoint(end_bias=1.5, threshold={"NER": 0.2, "RE": 0.1})
    record_calibration(folder, CALIBRATION, point=point)
    record_calibration(folder, CALIBRATION)
    record_scores(folder, {"offset": {}})
    store_adapter(folder, "float16")
    assert load_model(folder).operating_point == point
    assert "threshold of 0.2 for NER, 0.1 for RE, 0 for EE" in (folder / "README.md").read_text()
    record_calibration(folder, CALIBRATION, output=tmp_path / "copy")
    assert load_model(tmp_path / "copy").operating_point == point
    record_calibration(folder, CALIBRATION, point=OperatingPoint())
    assert load_model(folder).operating_point == OperatingPoint()
    assert "threshold of" not in (folder / "README.md").read_text()
    record_calibration(folder, CALIBRATION, point=point)
    save_adapted(folder, r=2)
    assert load_model(folder).operating_point == OperatingPoint()


@pytest.mark.parametrize(
    "change", [{"threshold": 1.5}, {"threshold": -0.1}, {"threshold": None}, {"end_bias": float("nan")}]
)
def test_an_impossible_operating_point_is_refused(folder: Path, change: dict[str, object]) -> None:
    change_info(folder, **change)
    with pytest.raises(ModelError, match=next(iter(change))):
        load_model(folder)


def test_a_changed_calibration_is_refused(folder: Path) -> None:
    record_calibration(folder, CALIBRATION)
    path = folder / "calibration.json"
    path.write_text(path.read_text().replace("0.5", "0.6"))
    with pytest.raises(ModelError, match=r"calibration.json is damaged or was changed"):
        load_model(folder)


def test_a_calibration_of_another_format_is_refused_with_what_to_do(folder: Path) -> None:
    record_calibration(folder, CALIBRATION)
    path = folder / "calibration.json"
    path.write_text(path.read_text().replace('"format_version": 1', '"format_version": 2'))
    files = read_info(folder).files | {"calibration.json": file_sha256(path)}
    change_info(folder, files=files)
    with pytest.raises(ModelError, match="ucuie calibrate --model"):
        load_model(folder)


def test_models_of_others_are_not_changed(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_source, "packaged_model", lambda _: folder)
    with pytest.raises(ModelError, match="--output"):
        calibration_target("embedded")
    assert calibration_target("embedded", tmp_path / "copy") == tmp_path / "copy"
    with pytest.raises(ModelError, match="not a model folder"):
        calibration_target(save_plain(tmp_path / "plain"))


def test_an_interrupted_calibration_is_recognised(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object) -> str:
        raise OSError("disk full")

    monkeypatch.setattr(model_saving, "file_sha256", fail)
    with pytest.raises(OSError, match="disk full"):
        record_calibration(folder, CALIBRATION)
    monkeypatch.undo()
    assert load_model(folder).calibration is None


def test_models_with_one_backbone_have_its_weights_once(tmp_path: Path) -> None:
    folders = {"a": save_adapted(tmp_path / "a"), "b": save_adapted(tmp_path / "b", r=2)}
    together = load_models({**folders, "other": save_plain(tmp_path / "other")}, device="cpu")
    assert [one.name for one in together.values()] == ["a", "b", "other"]
    assert [one.shares_backbone for one in together.values()] == [True, True, False]
    weights = [
        {
            name: parameter.data_ptr()
            for name, parameter in together[name].model.named_parameters()
            if "hierarchical_moe_" not in name
        }
        for name in folders
    ]
    assert weights[0] == weights[1]
    text = "Ada Lovelace lived in London."
    for name, folder in folders.items():
        alone = Extractor.from_pretrained(folder, device="cpu", max_new_tokens=24).extract(text, ["person"])
        shared = Extractor(together[name], max_new_tokens=24).extract(text, ["person"])
        assert answer_of(shared) == answer_of(alone.model_copy(update={"model": name}))
