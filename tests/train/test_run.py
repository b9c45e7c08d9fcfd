"""Whole runs on a tiny backbone: both stages, every variant, interruption, and what bad input gets."""

import io
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from small_disk import files_of_at_most
from ucuie.data import write_examples
from ucuie.errors import ConfigError, DataError, FullDiskError, MissingExtraError, storage_error
from ucuie.extract.extractor import Extractor
from ucuie.language.encode import PromptEncoder
from ucuie.language.pool import InstructionPool
from ucuie.model.folder import load_model
from ucuie.model.info import read_info
from ucuie.schema import Example
from ucuie.train import TrainConfig
from ucuie.train.rows import TrainingSet, collate
from ucuie.train.run import last_checkpoint, run_training
from ucuie.train.trainer import UcuieTrainer

pytestmark = pytest.mark.slow

MakeConfig = Callable[..., TrainConfig]
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}


STOPPED_RUN = {
    "warming": {"max_steps": 20, "learning_rate": 0.01},
    "multitask": {"max_steps": 60, "learning_rate": 0.01},
    "trainer": {"disable_tqdm": True, "save_steps": 3, "report_to": []},
}
"""Long enough to be stopped on the way."""


def configured(backbone: Path, data: Path, folder: Path, /, **changes: Any) -> TrainConfig:
    defaults = {
        "backbone": str(backbone),
        "output": str(folder / "model"),
        "data": {"train": [str(data)]},
        "batch_size": 4,
        "warming": {"max_steps": 3, "learning_rate": 0.01},
        "multitask": {"max_steps": 4, "learning_rate": 0.01},
        "trainer": {"logging_steps": 1, "disable_tqdm": True, "save_steps": 2},
    }
    return TrainConfig.model_validate(defaults | changes)


@pytest.fixture
def settings(backbone_folder: Path, data_folder: Path, tmp_path: Path) -> MakeConfig:
    return partial(configured, backbone_folder, data_folder, tmp_path)


VARIANTS = {
    "soft": {},
    "hard": {"adapter": {"router": "hard"}},
    "no shared expert": {"adapter": {"use_shared_expert": False}},
    "LoRA": {"adapter": {"use_capability_experts": False}},
    "LoRA-MoE, one level": {"adapter": {"num_levels": 1}},
    "no warming": {"warming": {"enabled": False}},
    "no BCE loss": {"loss": {"gamma": 0}},
    "no entropy loss": {"loss": {"beta": 0}},
    "no paraphrasing": {"paraphrase": False},
    "eight sub-experts": {"adapter": {"num_sub_experts": 8}},
    "grammar objective": {"loss": {"objective": "grammar"}},
    "full fine-tuning": {"method": "full"},
}


@pytest.mark.parametrize(
    "variant",
    [pytest.param(name, marks=[] if name in ("soft", "LoRA") else pytest.mark.slow) for name in VARIANTS],
)
def test_every_variant_trains_saves_and_extracts(settings: MakeConfig, variant: str) -> None:
    config = settings(**VARIANTS[variant])
    folder = run_training(config)
    extraction = Extractor(load_model(folder)).extract("Ada Lovelace lives in London.", ["person", "city"])
    assert extraction.truncated in (True, False)
    window_tokens = read_info(folder).window_tokens
    assert window_tokens is not None
    assert 5 < window_tokens < 100
    losses = json.loads((folder.with_name("model.run") / "run.json").read_text())["losses"]
    has_warming = variant not in {"no warming", "full fine-tuning"}
    assert set(losses) == ({"warming", "multitask"} if has_warming else {"multitask"})
    logged = losses["multitask"][0]
    assert logged["loss/task"] > 0
    assert ("loss/bce" in logged) == (variant != "full fine-tuning")
    if variant == "soft":
        gates = {name: value for name, value in logged.items() if name.startswith("gates/")}
        assert all(0 < gate < 1 for gate in gates.values())
        total = logged["loss/task"] + 0.1 * logged["loss/bce"] + 0.1 * logged["loss/entropy"]
        assert logged["loss"] == pytest.approx(total, rel=1e-4)


@pytest.mark.parametrize("packing", [True, False])
def test_the_evaluation_loss_is_that_of_the_validation_set(
    settings: MakeConfig, examples: list[Example], watched_folder: Path, packing: bool
) -> None:
    config = settings(
        data={"train": [str(watched_folder)]},
        method="full",
        packing=packing,
        trainer={"disable_tqdm": True, "report_to": []},
    )
    folder = run_training(config)
    model = load_model(folder)
    log = json.loads((folder.with_name("model.run") / "run.json").read_text())["losses"]["multitask"]
    encoder = PromptEncoder(model.tokenizer, pool=InstructionPool.load())
    validation = TrainingSet(
        examples[6:11], encoder, pool=None, grammars=None, augmentation=None, max_length=512
    )
    total = num_labelled = 0
    for row in validation.questions.rows():
        batch = collate([validation[0, row]], pad_id=0)
        ids, labels = batch["input_ids"], batch["labels"]
        num_labelled += int((labels != -100).sum())
        with torch.no_grad():
            logits = model.model(input_ids=ids).logits[0, :-1]
        total += float(torch.nn.functional.cross_entropy(logits, labels[0, 1:], reduction="sum"))
    watched = [entry for entry in log if "eval_loss" in entry]
    assert watched[-1]["step"] == 4
    assert watched[-1]["eval_loss"] == pytest.approx(total / num_labelled, rel=1e-4)
    assert watched[-1]["eval_loss/task"] == watched[-1]["eval_loss"]


def test_backbone_stays_as_it_was(settings: MakeConfig, backbone_folder: Path) -> None:
    before = load_file(backbone_folder / "model.safetensors")
    folder = run_training(settings())
    model = load_model(folder).model.get_base_model()
    for name, parameter in model.named_parameters():
        plain = name.replace(".base_layer", "")
        if plain in before:
            assert torch.equal(parameter, before[plain])


@pytest.fixture(scope="module")
def whole(backbone_folder: Path, data_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model of a run that nothing stops."""
    return run_training(
        configured(backbone_folder, data_folder, tmp_path_factory.mktemp("whole"), **STOPPED_RUN)
    )


def stop_after(process: subprocess.Popen[bytes], checkpoint: Path, signal_number: int, delay: float) -> int:
    """Sends a signal some time after a checkpoint is there."""
    deadline = time.monotonic() + 120
    while not (checkpoint / "trainer_state.json").exists() and time.monotonic() < deadline:
        assert process.poll() is None, process.stderr.read().decode()
        time.sleep(0.01)
    time.sleep(delay)
    process.send_signal(signal_number)
    return process.wait()


@pytest.mark.slow
@pytest.mark.parametrize("signal_number", [signal.SIGKILL, signal.SIGINT], ids=lambda number: number.name)
def test_a_run_stopped_at_a_random_step_and_resumed_ends_with_the_same_weights(
    settings: MakeConfig, whole: Path, tmp_path: Path, signal_number: signal.Signals
) -> None:
    config = settings(**STOPPED_RUN)
    (tmp_path / "run.yaml").write_text(config.model_dump_json())
    seed = random.SystemRandom().randrange(10**6)
    generator = random.Random(seed)
    stage, step = generator.choice([("warming", 3), ("warming", 12), ("multitask", 3), ("multitask", 24)])
    with subprocess.Popen(
        [sys.executable, "-m", "ucuie", "train", str(tmp_path / "run.yaml")],
        env=ENVIRONMENT,
        stderr=subprocess.PIPE,
        # Shells start what runs in the background deaf to Ctrl-C, and that is inherited.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        checkpoint = tmp_path / "model.run" / stage / f"checkpoint-{step}"
        code = stop_after(process, checkpoint, signal_number, generator.uniform(0, 0.2))
        talk = process.stderr.read().decode()
    assert not (tmp_path / "model").exists(), f"finished before it was stopped (seed {seed})"
    if signal_number == signal.SIGINT:
        assert code == 130, talk
        assert "--resume" in talk

    resumed = run_training(config, resume=True)
    expected, found = (load_file(folder / "adapter_model.safetensors") for folder in (whole, resumed))
    assert expected.keys() == found.keys()
    for name, weights in expected.items():
        assert torch.equal(weights, found[name]), f"{name} differs (seed {seed})"


def test_a_run_ends_whenever_its_decay_is_asked_for(
    settings: MakeConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A schedule that is constant, then decays: --resume with fewer steps decays from where the run is."""
    schedule = {
        "lr_scheduler_type": "warmup_stable_decay",
        "lr_scheduler_kwargs": {"num_decay_steps": 2},
        "warmup_steps": 1,
        "logging_steps": 1,
        "disable_tqdm": True,
    }
    changes = {"warming": {"enabled": False}, "trainer": schedule}
    log = UcuieTrainer.log

    def stop_after_four_steps(
        trainer: UcuieTrainer, logs: dict[str, float], start_time: float | None = None
    ) -> None:
        log(trainer, logs, start_time)
        if trainer.state.global_step == 4:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(UcuieTrainer, "log", stop_after_four_steps)
    with pytest.raises(KeyboardInterrupt):
        run_training(settings(multitask={"max_steps": 60, "learning_rate": 0.01}, **changes))
    monkeypatch.setattr(UcuieTrainer, "log", log)
    ended = settings(multitask={"max_steps": 7, "learning_rate": 0.01}, **changes)
    run_training(ended, resume=True)
    run = json.loads((ended.output.with_name("model.run") / "run.json").read_text())
    rates = [entry["learning_rate"] for entry in run["losses"]["multitask"] if "learning_rate" in entry]
    assert len(rates) == 7
    assert rates[1:5] == [0.01] * 4
    assert rates[5] > rates[6]


@pytest.mark.slow
def test_a_run_goes_on_from_the_adapter_of_another(settings: MakeConfig, tmp_path: Path) -> None:
    first = run_training(settings())
    changes = {"warming": {"enabled": False}, "multitask": {"max_steps": 1, "learning_rate": 1e-9}}
    second = run_training(settings(output=str(tmp_path / "second"), initial_adapter=str(first), **changes))
    before, after = (load_file(folder / "adapter_model.safetensors") for folder in (first, second))
    torch.testing.assert_close(after, before, rtol=0, atol=1e-6)


@pytest.mark.slow
def test_an_adapter_of_other_settings_is_refused(settings: MakeConfig, tmp_path: Path) -> None:
    first = run_training(settings())
    with pytest.raises(ConfigError, match="has other settings"):
        run_training(settings(output=str(tmp_path / "second"), initial_adapter=str(first), adapter={"r": 2}))
    with pytest.raises(ConfigError, match="cannot be read"):
        run_training(settings(output=str(tmp_path / "third"), initial_adapter=str(tmp_path / "nothing")))


def test_a_checkpoint_that_was_being_written_is_passed_over(tmp_path: Path) -> None:
    contents = {10: {"trainer_state.json": "{}"}, 20: {"optimizer.pt": ""}, 30: {"trainer_state.json": ""}}
    contents[40] = {"trainer_state.json": '{"epoch": 1, "log_hist'}  # on a full disk
    for step, files in contents.items():
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        for name, content in files.items():
            (folder / name).write_text(content)
    assert last_checkpoint(tmp_path) == tmp_path / "checkpoint-10"
    assert last_checkpoint(tmp_path / "nothing") is None


def hostile_pickle() -> bytes:
    class Runs:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.mkdir, ("ran",)

    content = io.BytesIO()
    torch.save({"state": Runs()}, content)
    return content.getvalue()


def spoil(path: Path, damage: str) -> None:
    content = path.read_bytes()
    path.write_bytes(
        {"cut": content[: len(content) // 2], "empty": b"", "hostile": hostile_pickle(), "nul": bytes(9)}[
            damage
        ]
    )


@pytest.fixture(scope="module")
def stopped(
    backbone_folder: Path, data_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[TrainConfig, dict[str, torch.Tensor]]:
    """A run with two checkpoints that died before it wrote its model, and the weights it would have had."""
    folder = tmp_path_factory.mktemp("stopped")
    config = configured(
        backbone_folder,
        data_folder,
        folder,
        warming={"enabled": False},
        trainer={"save_steps": 2, "report_to": [], "disable_tqdm": True},
    )
    whole = run_training(config.model_copy(update={"output": folder / "whole"}))

    def die(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ucuie.train.run.save_model", die)
        with pytest.raises(KeyboardInterrupt):
            run_training(config)
    return config, load_file(whole / "adapter_model.safetensors")


@pytest.fixture
def died(stopped: tuple[TrainConfig, dict[str, torch.Tensor]], tmp_path: Path) -> TrainConfig:
    """The same run, to be gone on with elsewhere."""
    config = stopped[0]
    shutil.copytree(config.output.with_name("model.run"), tmp_path / "model.run")
    return config.model_copy(update={"output": tmp_path / "model"})


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("optimizer.pt", "cut"),
        ("optimizer.pt", "hostile"),
        ("scheduler.pt", "hostile"),
        ("rng_state.pth", "empty"),
        ("adapter_model.safetensors", "cut"),
        ("adapter_config.json", "nul"),
        ("trainer_state.json", "cut"),
    ],
)
def test_a_damaged_checkpoint_is_told_and_passed_over_for_the_one_before(
    died: TrainConfig,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    damage: str,
) -> None:
    monkeypatch.chdir(died.output.parent)
    stage = died.output.with_name("model.run") / "multitask"
    assert last_checkpoint(stage) == stage / "checkpoint-4"
    spoil(stage / "checkpoint-4" / name, damage)
    assert last_checkpoint(stage) == stage / "checkpoint-2"
    (record,) = caplog.records
    assert (
        f"checkpoint-4 is passed over for the checkpoint before it: {name} cannot be read" in record.message
    )
    assert not Path("ran").exists()


def test_a_run_whose_last_checkpoint_is_damaged_ends_with_the_same_weights(
    died: TrainConfig, stopped: tuple[TrainConfig, dict[str, torch.Tensor]]
) -> None:
    spoil(died.output.with_name("model.run") / "multitask" / "checkpoint-4" / "optimizer.pt", "cut")
    weights = load_file(run_training(died, resume=True) / "adapter_model.safetensors")
    assert all(torch.equal(weights[name], expected) for name, expected in stopped[1].items())


@pytest.mark.parametrize("moved", [[], ["adapter_config.json"], ["adapter_config.json", "instructions.yaml"]])
def test_a_run_that_died_while_its_model_was_written_goes_on(
    died: TrainConfig, stopped: tuple[TrainConfig, dict[str, torch.Tensor]], moved: list[str]
) -> None:
    (died.output / ".staged-abc").mkdir(parents=True)
    (died.output / ".staged-abc" / "ucuie.json").write_text("{")
    for name in moved:
        (died.output / name).write_text("of the run that died")
    with pytest.raises(ConfigError, match="is there already"):
        run_training(died)
    weights = load_file(run_training(died, resume=True) / "adapter_model.safetensors")
    assert all(torch.equal(weights[name], expected) for name, expected in stopped[1].items())
    assert not list(died.output.glob(".staged-*"))
    load_model(died.output)
    with pytest.raises(ConfigError, match="is there already"):
        run_training(died, resume=True)


@pytest.mark.parametrize("content", ["", "{", "[", "[" * 100_000, "5", "\x00", '{"seed": 4'])
def test_a_damaged_configuration_of_an_interrupted_run_is_told_with_what_to_do(
    settings: MakeConfig, tmp_path: Path, content: str
) -> None:
    (tmp_path / "model.run").mkdir()
    (tmp_path / "model.run" / "config.json").write_text(content)
    with pytest.raises(
        ConfigError, match=r"config\.json, the configuration .* is damaged: .*; remove this file"
    ):
        run_training(settings(), resume=True)


@pytest.mark.slow
@pytest.mark.parametrize("num_bytes", [2_000, 10_000, 50_000])
def test_a_disk_that_is_full_when_the_model_is_written_leaves_no_part_of_it(
    settings: MakeConfig, num_bytes: int
) -> None:
    trainer = {"disable_tqdm": True, "report_to": [], "save_strategy": "no"}
    config = settings(trainer=trainer, warming={"enabled": False})
    with files_of_at_most(num_bytes), pytest.raises(Exception, match="File too large") as caught:
        run_training(config)
    assert isinstance(storage_error(caught.value), FullDiskError)
    assert not config.output.exists()
    load_model(run_training(config, resume=True))


def test_an_existing_model_is_not_overwritten(settings: MakeConfig, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    with pytest.raises(ConfigError, match="is there already"):
        run_training(settings())


def test_an_interrupted_run_wants_to_be_resumed(settings: MakeConfig, tmp_path: Path) -> None:
    (tmp_path / "model.run").mkdir()
    with pytest.raises(ConfigError, match="--resume"):
        run_training(settings())


@pytest.mark.parametrize(("key", "value"), [("batch_size", 8), ("seed", 1), ("data", {"train": ["another"]})])
def test_an_interrupted_run_keeps_its_steps(
    settings: MakeConfig, tmp_path: Path, key: str, value: Any
) -> None:
    folder = tmp_path / "model.run"
    folder.mkdir()
    (folder / "config.json").write_text(settings().model_dump_json())
    with pytest.raises(ConfigError, match=f"has {key}: .* its steps would be others"):
        run_training(settings(**{key: value}), resume=True)


@pytest.mark.slow
def test_a_run_may_go_on_otherwise_divided(settings: MakeConfig, tmp_path: Path) -> None:
    folder = tmp_path / "model.run"
    folder.mkdir()
    (folder / "config.json").write_text(settings().model_dump_json())
    run_training(settings(micro_batch_size=2, sharding="full"), resume=True)
    assert (tmp_path / "model").exists()
    assert not (folder / "config.json").exists()


@pytest.mark.parametrize("name", ["paged_adamw_8bit", "paged_adamw_32bit"])
def test_an_optimizer_of_a_missing_library_names_its_extra(
    settings: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(MissingExtraError, match="quantized"):
        run_training(settings(trainer={"optim": name}))
    assert not (tmp_path / "model.run").exists()


@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("name", ["paged_adamw_8bit", "paged_adamw_32bit"])
def test_paged_optimizers_train(settings: MakeConfig, name: str) -> None:
    pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed")
    folder = run_training(settings(trainer={"optim": name, "report_to": []}))
    assert any(tensor.abs().sum() > 0 for tensor in load_file(folder / "adapter_model.safetensors").values())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"adapter": {"num_subexperts": 2}}, "did you mean 'num_sub_experts'"),
        ({"adapter": {"r": 0}}, "r must be at least 1"),
        ({"trainer": {"save_step": 5}}, "did you mean 'save_steps'"),
        ({"trainer": {"learning_rate": 5}}, "own keys"),
        ({"trainer": {"gradient_accumulation_steps": 2}}, "own keys"),
        ({"trainer": {"fsdp": True}}, "set sharding: full"),
    ],
)
def test_wrong_settings_are_named(settings: MakeConfig, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        run_training(settings(**changes))


def test_unknown_key_gets_the_nearest(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("data: {train: [x]}\nmultitask: {epoch: 3}\nlos: {}\n")
    with pytest.raises(ConfigError) as caught:
        TrainConfig.load(path)
    assert "multitask.epoch: unknown key; did you mean 'epochs'?" in str(caught.value)
    assert "los: unknown key; did you mean 'loss'?" in str(caught.value)


def test_data_without_an_example_that_fits_is_refused(settings: MakeConfig) -> None:
    with pytest.raises(DataError, match="fits into the context"):
        run_training(settings(max_length=16))


def test_data_without_an_example_is_refused_before_any_work(
    settings: MakeConfig, examples: list[Example], tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "train.jsonl").touch()
    config = settings(data={"train": [str(tmp_path / "empty")]})
    with pytest.raises(DataError, match=r"no example to train on\n.*data.train"):
        run_training(config)
    for split in ("train", "validation"):
        chosen = [replace(example, split=split) for example in examples]
        write_examples(tmp_path / "empty" / f"{split}.jsonl", chosen)
    with pytest.raises(DataError, match="no example to train on; 12 texts are held out"):
        run_training(config)
    assert not config.output.with_name("model.run").exists()


@pytest.mark.parametrize("is_empty", [True, False])
def test_a_validation_split_that_is_of_no_use_is_as_none(
    settings: MakeConfig, examples: list[Example], tmp_path: Path, is_empty: bool
) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    write_examples(folder / "train.jsonl", examples)
    far = replace(examples[0], text=examples[0].text + " and so on" * 400)
    write_examples(folder / "validation.jsonl", [] if is_empty else [far])
    config = settings(data={"train": [str(folder)]}, warming={"enabled": False})
    log = json.loads((run_training(config).with_name("model.run") / "run.json").read_text())["losses"]
    assert not any("eval_loss" in entry for entry in log["multitask"])


def test_missing_data_is_refused(settings: MakeConfig) -> None:
    with pytest.raises(DataError, match="nowhere"):
        run_training(settings(data={"train": [str(Path("nowhere"))]}))
