"""Model folders of strangers, and damaged ones: no code is run, nobody is asked, all is told in words."""

import builtins
import contextlib
import json
import math
import os
import shutil
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from tiny_model import make_adapted, make_backbone, save_adapted, tokenizer
from ucuie import Extractor
from ucuie.errors import ModelError
from ucuie.model.backbone import Backbone
from ucuie.model.calibration import Calibration
from ucuie.model.folder import load_backbone, load_model, read_shape
from ucuie.model.info import file_sha256, read_info
from ucuie.model.saving import record_calibration, record_scores, save_model

Tensors = dict[str, Tensor]
MODEL = "model.safetensors"
ADAPTER = "adapter_model.safetensors"
UP_PROJ = "model.layers.0.mlp.up_proj.weight"


@pytest.fixture
def folder(adapted_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(adapted_folder, tmp_path / "tiny"))


@pytest.fixture
def plain(plain_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(plain_folder, tmp_path / "plain"))


def renew_hashes(folder: Path) -> None:
    """As one who means harm would, so that nothing but the content is wrong."""
    path = folder / "ucuie.json"
    content = json.loads(path.read_text())
    content["files"] = {name: file_sha256(folder / name) for name in content["files"]}
    path.write_text(json.dumps(content))


def change_json(path: Path, **changes: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def change_tensors(path: Path, change: Callable[[Tensors], object]) -> None:
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, metadata={"format": "pt"})


def put(tensors: Tensors, name: str, value: float) -> None:
    tensors[name].view(-1)[3] = value


# Code


def ask_for_code(folder: Path, mark: Path, *, of_tokenizer: bool) -> None:
    """Files that make transformers ask whether code may be run; the code would leave a mark."""
    (folder / "evil.py").write_text(f"open({str(mark)!r}, 'w')\n")
    if of_tokenizer:
        change_json(
            folder / "tokenizer_config.json",
            tokenizer_class="Evil",
            auto_map={"AutoTokenizer": [None, "evil.Evil"]},
        )
    else:
        auto_map = {"AutoConfig": "evil.EvilConfig", "AutoModelForCausalLM": "evil.EvilModel"}
        change_json(folder / "config.json", model_type="evil", auto_map=auto_map)


@pytest.mark.parametrize("of_tokenizer", [False, True])
@pytest.mark.parametrize("load", [load_model, load_backbone, read_shape])
def test_no_model_runs_code_of_its_own_whatever_it_says(
    plain: Path, load: Callable[[Path], Any], of_tokenizer: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    mark = plain.parent / "mark"
    monkeypatch.setattr(builtins, "input", lambda prompt="": "y")
    ask_for_code(plain, mark, of_tokenizer=of_tokenizer)
    if load is read_shape and of_tokenizer:
        load(plain)
    else:
        with pytest.raises(ModelError, match="code of its own to be run, which ucuie never does"):
            load(plain)
    assert not mark.exists()


def test_no_model_folder_runs_code_of_its_backbone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mark = folder.parent / "mark"
    monkeypatch.setattr(builtins, "input", lambda prompt="": "y")
    ask_for_code(folder / "backbone", mark, of_tokenizer=False)
    renew_hashes(folder)
    with pytest.raises(ModelError, match="code of its own to be run"):
        load_model(folder)
    assert not mark.exists()


def test_code_beside_a_known_architecture_is_not_looked_at(plain: Path) -> None:
    mark = plain.parent / "mark"
    (plain / "evil.py").write_text(f"open({str(mark)!r}, 'w')\n")
    change_json(plain / "config.json", auto_map={"AutoModelForCausalLM": "evil.EvilModel"})
    load_model(plain)
    assert not mark.exists()


def test_kernels_from_a_repository_are_code(plain: Path) -> None:
    change_json(plain / "config.json", attn_implementation="someone/kernel")
    with pytest.raises(ModelError, match="code of its own to be run"):
        load_model(plain)


def test_an_adapter_of_another_kind_is_refused(folder: Path) -> None:
    # Its tokenizer would be fetched, and its code run.
    settings = {
        "peft_type": "PROMPT_TUNING",
        "task_type": "CAUSAL_LM",
        "num_virtual_tokens": 4,
        "prompt_tuning_init": "TEXT",
        "prompt_tuning_init_text": "x",
        "tokenizer_name_or_path": "someone/tokenizer",
        "tokenizer_kwargs": {"trust_remote_code": True},
    }
    (folder / "adapter_config.json").write_text(json.dumps(settings))
    renew_hashes(folder)
    with pytest.raises(ModelError, match=r"of the kind .*PROMPT_TUNING.*, not HIERARCHICAL_MOE"):
        load_model(folder)


# The network


@pytest.fixture
def lookups(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    asked: list[object] = []

    def refuse(host: object, *_: object, **__: object) -> None:
        asked.append(host)
        raise socket.gaierror("no network in this test")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    return asked


def drop_from_list(folder: Path, name: str) -> None:
    """A file that is gone, and that `ucuie.json` does not speak of."""
    (folder / name).unlink()
    info = read_info(folder)
    kept = {other: sha256 for other, sha256 in info.files.items() if other != name}
    (folder / "ucuie.json").write_text(info.model_copy(update={"files": kept}).to_json())


@pytest.mark.parametrize(
    "name",
    [
        ADAPTER,
        "adapter_config.json",
        f"backbone/{MODEL}",
        "backbone/tokenizer.json",
        "backbone/tokenizer_config.json",
        "backbone/config.json",
        "backbone/generation_config.json",
    ],
)
def test_a_folder_that_looks_like_a_hub_id_never_asks_the_hub(
    adapted_folder: Path,
    tmp_path: Path,
    lookups: list[object],
    monkeypatch: pytest.MonkeyPatch,
    name: str,
) -> None:
    shutil.copytree(adapted_folder, tmp_path / "owner" / "name")
    monkeypatch.chdir(tmp_path)
    drop_from_list(Path("owner/name"), name)
    with contextlib.suppress(ModelError):
        load_model("owner/name")
    assert not lookups


@pytest.mark.parametrize("load", [load_model, load_backbone])
def test_an_adapter_beside_a_plain_model_is_refused_not_fetched(
    plain: Path, folder: Path, lookups: list[object], load: Callable[[Path], Any]
) -> None:
    shutil.copy(folder / "adapter_config.json", plain)
    if load is load_model:
        (folder / "ucuie.json").write_text(
            read_info(folder).model_copy(update={"backbone": str(plain)}).to_json()
        )
        plain = folder
    with pytest.raises(ModelError, match="has an adapter of PEFT beside the model"):
        load(plain)
    assert not lookups


# Tensors


def narrower(tensors: Tensors) -> None:
    tensors[UP_PROJ] = tensors[UP_PROJ][:-1].clone()


DAMAGE: dict[str, Callable[[Tensors], object]] = {
    "lacks tensors.*up_proj": lambda tensors: tensors.pop(UP_PROJ),
    "lacks tensors": lambda tensors: tensors.pop("model.embed_tokens.weight"),
    "lacks tensors.*": dict.clear,
    "has tensors that its model does not.*layers.7": lambda tensors: tensors.update(
        {"model.layers.7.mlp.up_proj.weight": torch.ones(2)}
    ),
    "up_proj|[Ss]ize|mismatch": narrower,
    "NaN or infinite, such as model.layers.0.mlp.up_proj": lambda tensors: put(tensors, UP_PROJ, math.nan),
    "NaN or infinite, such as model.norm": lambda tensors: put(tensors, "model.norm.weight", -math.inf),
}


@pytest.mark.parametrize("words", DAMAGE)
@pytest.mark.parametrize("where", ["plain", "inside", "named by path"])
def test_a_backbone_with_other_tensors_than_it_wants_is_refused(
    folder: Path, plain: Path, where: str, words: str
) -> None:
    place = folder / "backbone" if where == "inside" else plain
    change_tensors(place / MODEL, DAMAGE[words])
    renew_hashes(folder)
    if where == "named by path":
        (folder / "ucuie.json").write_text(
            read_info(folder).model_copy(update={"backbone": str(plain)}).to_json()
        )
    with pytest.raises(ModelError, match=words):
        load_model(plain if where == "plain" else folder)
    with pytest.raises(ModelError, match=words):
        load_backbone(plain if where == "plain" else folder)


def first_down(tensors: Tensors) -> str:
    return next(name for name in tensors if name.endswith("hierarchical_moe_down"))


ADAPTER_DAMAGE: dict[str, Callable[[Tensors], object]] = {
    "its tensors are not those of its settings, such as": lambda tensors: tensors.pop(first_down(tensors)),
    "such as someone": lambda tensors: tensors.update({"someone": torch.ones(1)}),
    "not those of its settings$|not those of its settings;": lambda tensors: tensors.update(
        {name: tensor[1:].clone() for name, tensor in tensors.items() if name.endswith("down")}
    ),
    "NaN or infinite, such as in": lambda tensors: put(tensors, first_down(tensors), math.nan),
    "does not load": dict.clear,
}


@pytest.mark.parametrize("words", ADAPTER_DAMAGE)
def test_an_adapter_with_other_tensors_than_it_wants_is_refused(folder: Path, words: str) -> None:
    change_tensors(folder / ADAPTER, ADAPTER_DAMAGE[words])
    renew_hashes(folder)
    with pytest.raises(ModelError, match=words):
        load_model(folder)


# Settings


@pytest.mark.parametrize(
    ("file", "changes", "words"),
    [
        ("backbone/config.json", {"rms_norm_eps": math.nan}, "rms_norm_eps in config.json is nan"),
        ("backbone/config.json", {"rope_parameters": {"rope_theta": math.inf}}, "rope_theta .* is inf"),
        ("backbone/config.json", {"num_hidden_layers": 10**6}, "num_hidden_layers .* is 1,000,000"),
        ("backbone/config.json", {"num_hidden_layers": 10**12}, "no model is that deep"),
        ("backbone/config.json", {"hidden_size": 10**9}, "cannot be read"),
        ("backbone/config.json", {"intermediate_size": 10**12}, "cannot be read"),
        ("backbone/config.json", {"vocab_size": 10**11}, "cannot be read"),
        ("adapter_config.json", {"alpha": math.inf}, "alpha must be above 0 and at most 1,000,000"),
        ("adapter_config.json", {"alpha": 1e300}, "alpha must be above 0 and at most 1,000,000"),
        ("adapter_config.json", {"alpha": math.nan}, "alpha must be above 0 and at most 1,000,000"),
        ("adapter_config.json", {"num_sub_experts": 10**6}, "not those of its settings"),
        ("adapter_config.json", {"num_capabilities": 10**9}, "not those of its settings"),
        ("adapter_config.json", {"r": 10**9}, "not those of its settings"),
        ("adapter_config.json", {"target_modules": "(([a-z_.0-9])+)+$!"}, "by a pattern"),
        ("adapter_config.json", {"exclude_modules": "(([a-z_.0-9])+)+$!"}, "by a pattern"),
        (
            "adapter_config.json",
            {"layers_pattern": ["(([a-z_.0-9])+)+"], "layers_to_transform": [0]},
            "by a pattern",
        ),
    ],
)
def test_impossible_settings_are_refused_before_they_cost_time_or_memory(
    folder: Path, file: str, changes: dict[str, Any], words: str
) -> None:
    change_json(folder / file, **changes)
    renew_hashes(folder)
    with pytest.raises(ModelError, match=words):
        load_model(folder)


def test_numbers_that_overflow_in_use_are_told_and_nothing_is_extracted(folder: Path) -> None:
    change_json(folder / "backbone" / "config.json", rms_norm_eps=-1e9)
    renew_hashes(folder)
    extractor = Extractor.from_pretrained(folder)
    for options in ({}, {"n_best": 2}, {"end_bias": 1.0}):
        with pytest.raises(ModelError, match="computes NaN or infinite numbers"):
            extractor.extract("Ada lived in London.", ["person"], **options)


@pytest.mark.parametrize(
    "file", ["ucuie.json", "instructions.yaml", "calibration.json", "adapter_config.json"]
)
@pytest.mark.parametrize("depth", [5_000, 200_000])
def test_brackets_without_end_are_refused(folder: Path, file: str, depth: int) -> None:
    (folder / file).write_text("[" * depth)
    if file == "calibration.json":
        change_json(folder / "ucuie.json", files=dict(read_info(folder).files) | {file: ""})
    if file != "ucuie.json":
        renew_hashes(folder)
    with pytest.raises(ModelError):
        load_model(folder)


@pytest.mark.parametrize(
    "file", ["instructions.yaml", "calibration.json", "ucuie.json", "adapter_config.json"]
)
def test_lines_of_a_file_that_a_link_leads_to_stay_out_of_errors(folder: Path, file: str) -> None:
    secret = folder.parent / "secret"
    secret.write_text("root:hunter2:19000\nuser:hunter2:19001\n")
    if file == "calibration.json":
        change_json(folder / "ucuie.json", files=dict(read_info(folder).files) | {file: ""})
    (folder / file).unlink(missing_ok=True)
    (folder / file).symlink_to(secret)
    if file != "ucuie.json":
        renew_hashes(folder)
    with pytest.raises(ModelError) as caught:
        load_model(folder)
    assert "hunter2" not in str(caught.value)


# What is saved


def test_linears_named_by_a_pattern_are_listed_in_the_folder(tmp_path: Path) -> None:
    pattern = r".*\.0\..*(down|up)_proj"
    backbone = Backbone(make_backbone(), tokenizer(), source="tiny")
    model = make_adapted(make_backbone(), target_modules=pattern, exclude_modules=r".*up_proj")
    save_model(model, backbone, tmp_path, copy_as=torch.float32)
    saved = json.loads((tmp_path / "adapter_config.json").read_text())
    assert saved["target_modules"] == ["model.layers.0.mlp.down_proj"]
    assert saved["exclude_modules"] is None
    load_model(tmp_path)


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_files_of_a_model_have_the_modes_that_the_user_gives_new_files(tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        save_adapted(tmp_path / "tiny")
    finally:
        os.umask(before)
    modes = {path.name: oct(path.stat().st_mode & 0o777) for path in (tmp_path / "tiny").rglob("*.*")}
    assert set(modes.values()) == {oct(0o666 & ~mask)}, modes


def test_a_kill_while_scores_or_a_first_calibration_are_written_costs_no_model(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calibration = Calibration()
    replace = Path.replace
    for write in (
        lambda: record_scores(folder, {"F1": {"set": 0.5}}),
        lambda: record_calibration(folder, calibration),
    ):
        for num_moves in range(3):
            moves = iter(range(num_moves))

            def replace_or_die(path: Path, target: Path, moves: Iterator[int] = moves) -> Path:
                if next(moves, None) is None:
                    raise KeyboardInterrupt
                return replace(path, target)

            monkeypatch.setattr(Path, "replace", replace_or_die)
            with contextlib.suppress(KeyboardInterrupt):
                write()
            monkeypatch.undo()
            load_model(folder)
    record_calibration(folder, calibration)
    assert load_model(folder).calibration == calibration
