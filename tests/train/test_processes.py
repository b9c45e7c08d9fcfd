"""Several processes learn what one does, however a step is divided; runs go on with another number."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from small_disk import files_of_at_most
from tiny_model import make_backbone
from ucuie.errors import ConfigError
from ucuie.train import TrainConfig
from ucuie.train.distributed import launch, layers_of
from ucuie.train.run import run_training
from ucuie.train.trainer import divide_step

Command = Callable[..., list[str]]
ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
DEADLINE_SECONDS = 240
TRAINER = {
    # Adam divides by the size of gradients, rounding errors included where there is nothing else.
    "adam_epsilon": 1e-4,
    "disable_tqdm": True,
    "logging_steps": 1,
    "report_to": [],
    "save_steps": 2,
}


def written(
    backbone: Path, data: Path, folder: Path, name: str, /, *arguments: str, **changes: Any
) -> list[str]:
    """The command of a run of a given name."""
    settings = {
        "backbone": str(backbone),
        "output": str(folder / name),
        "data": {"train": [str(data)]},
        "batch_size": 4,
        "warming": {"max_steps": 3, "learning_rate": 0.003},
        "multitask": {"max_steps": 6, "learning_rate": 0.003},
        "trainer": TRAINER,
    }
    path = folder / f"{name}.yaml"
    path.write_text(json.dumps(settings | changes))
    return [sys.executable, "-m", "ucuie", "train", str(path), *arguments]


@pytest.fixture
def command(backbone_folder: Path, data_folder: Path, tmp_path: Path) -> Command:
    return partial(written, backbone_folder, data_folder, tmp_path)


@pytest.fixture(scope="module")
def whole(backbone_folder: Path, data_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model of a run in one process, as the settings stand."""
    folder = tmp_path_factory.mktemp("whole")
    run_here(written(backbone_folder, data_folder, folder, "model"))
    return folder / "model"


def run(command: list[str]) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=DEADLINE_SECONDS)
    assert done.returncode == 0, done.stderr
    return done


def run_here(command: list[str]) -> None:
    """What the command does with one process, in this one, which has torch loaded."""
    (path,) = (part for part in command if part.endswith(".yaml"))
    run_training(TrainConfig.load(path), resume="--resume" in command)


def outcome(folder: Path) -> tuple[dict[tuple[str, int], dict[str, float]], dict[str, Tensor]]:
    """The logged losses by stage and step, and the weights of a finished run."""
    losses = json.loads((folder.with_name(f"{folder.name}.run") / "run.json").read_text())["losses"]
    logged: dict[tuple[str, int], dict[str, float]] = {}
    for name, stage in losses.items():
        for entry in stage:
            if "loss" in entry:
                kept = {key: entry[key] for key in entry if key.startswith(("loss", "gates"))}
                assert (name, entry["step"]) not in logged
                logged[name, entry["step"]] = kept
    weights = folder / "adapter_model.safetensors"
    return logged, load_file(weights if weights.exists() else folder / "backbone" / "model.safetensors")


def assert_same(folder: Path, expected_folder: Path, tolerance: float = 1e-5) -> None:
    logged, weights = outcome(folder)
    expected_logged, expected_weights = outcome(expected_folder)
    assert logged.keys() == expected_logged.keys()
    for step, expected in expected_logged.items():
        assert logged[step] == pytest.approx(expected, abs=tolerance), step
    torch.testing.assert_close(weights, expected_weights, rtol=0, atol=tolerance)


@pytest.mark.slow
def test_two_processes_learn_what_one_does(command: Command, whole: Path, tmp_path: Path) -> None:
    talk = run(command("two", "--num-processes", "2"))
    assert talk.stderr.count("wrote") == 1
    assert_same(tmp_path / "two", whole)
    assert json.loads((tmp_path / "two.run" / "run.json").read_text())["processes"] == 2


@pytest.mark.long
def test_a_step_divided_one_after_the_other_is_the_whole_step(command: Command, tmp_path: Path) -> None:
    # The entropy loss is of the tokens that are seen together, so it is left out.
    plain = {"loss": {"beta": 0}}
    run_here(command("whole", **plain))
    run_here(command("parts", **plain, micro_batch_size=1))
    launcher = [sys.executable, "-m", "accelerate.commands.launch", "--cpu", "--num_processes=2"]
    launcher += ["--num_machines=1", "--mixed_precision=no", "--dynamo_backend=no", "-m", "ucuie"]
    run([*launcher, *command("both", **plain, micro_batch_size=1)[3:]])
    without_entropy = [tmp_path / name for name in ("whole", "parts", "both")]
    for folder in without_entropy[1:]:
        torch.testing.assert_close(outcome(folder)[1], outcome(without_entropy[0])[1], rtol=0, atol=1e-5)
    logged, expected = (outcome(folder)[0] for folder in (without_entropy[1], without_entropy[0]))
    for step, whole in expected.items():
        for name in whole.keys() - {"loss/entropy"}:
            assert logged[step][name] == pytest.approx(whole[name], abs=1e-5), name


SHARED = ("--num-processes", "2", "--sharding", "full")


@pytest.mark.long
def test_epochs_and_evaluations_have_every_row_once(
    command: Command, watched_folder: Path, tmp_path: Path
) -> None:
    trainer = TRAINER | {"eval_strategy": "steps", "eval_steps": 2}
    changes = {"data": {"train": [str(watched_folder)]}, "trainer": trainer}
    run_here(command("one", **changes))
    run(command("two", "--num-processes", "2", **changes))
    run(command("shared", *SHARED, **changes))
    found = {}
    for name in ("one", "two", "shared"):
        log = json.loads((tmp_path / f"{name}.run" / "run.json").read_text())["losses"]["multitask"]
        watched = [entry for entry in log if "eval_loss" in entry]
        assert [entry["step"] for entry in watched] == [2, 4, 6]
        keys = ("eval_loss", "eval_gates")
        found[name] = [{key: entry[key] for key in entry if key.startswith(keys)} for entry in watched]
    for name in ("two", "shared"):
        for entry, expected in zip(found[name], found["one"], strict=True):
            assert entry == pytest.approx(expected, abs=1e-5)
        # Nor is the last step of an epoch, of two rows, filled up with others.
        assert_same(tmp_path / name, tmp_path / "one")

    # No process has a row for the second half of that step.
    changes["loss"] = {"beta": 0}
    run_here(command("whole", **changes))
    run(command("parts", "--num-processes", "2", micro_batch_size=1, **changes))
    torch.testing.assert_close(
        outcome(tmp_path / "parts")[1], outcome(tmp_path / "whole")[1], rtol=0, atol=1e-5
    )


@pytest.mark.long
def test_shared_out_weights_learn_what_whole_ones_do(command: Command, whole: Path, tmp_path: Path) -> None:
    talk = run(command("shared", *SHARED))
    assert talk.stderr.count("wrote") == 1
    assert_same(tmp_path / "shared", whole)
    files = [
        json.loads((folder / "ucuie.json").read_text())["files"] for folder in (tmp_path / "shared", whole)
    ]
    # The weights differ in their last digits, and nothing else.
    assert files[0].keys() == files[1].keys()
    assert {name for name in files[0] if files[0][name] != files[1][name]} <= {"adapter_model.safetensors"}

    # Divided steps, clipped gradients, padded rows and layers that are computed again.
    hard = {"loss": {"beta": 0}, "trainer": TRAINER | {"max_grad_norm": 0.03}}
    run_here(command("hard", **hard))
    parts = {"micro_batch_size": 1, "gradient_checkpointing": True, "packing": False}
    run(command("parts", *SHARED, **hard, **parts))
    torch.testing.assert_close(
        outcome(tmp_path / "parts")[1], outcome(tmp_path / "hard")[1], rtol=0, atol=1e-5
    )


@pytest.mark.long
def test_a_whole_backbone_is_trained_in_parts(command: Command, tmp_path: Path) -> None:
    settings = {"method": "full", "multitask": {"max_steps": 4, "learning_rate": 0.003}}
    run_here(command("whole", **settings))
    run(command("shared", *SHARED, **settings))
    assert_same(tmp_path / "shared", tmp_path / "whole")


@pytest.mark.long
def test_half_precision_is_shared_out_too(command: Command, tmp_path: Path) -> None:
    settings = {"backbone_weights": "bfloat16", "trainer": TRAINER | {"bf16": True}}
    run(command("whole", **settings))
    run(command("shared", *SHARED, **settings))
    # The order of sums shows in the third digit of a number with eight bits.
    assert_same(tmp_path / "shared", tmp_path / "whole", tolerance=1e-3)
    weights = outcome(tmp_path / "shared")[1].values()
    assert all(tensor.dtype == torch.float32 for tensor in weights)


@pytest.mark.long
@pytest.mark.parametrize(
    ("before", "after"),
    [(("--num-processes", "2"), ()), (SHARED, ()), ((), SHARED)],
    ids=["2 to 1", "shared to 1", "1 to shared"],
)
def test_an_interrupted_run_goes_on_otherwise_divided(
    command: Command, whole: Path, tmp_path: Path, before: tuple[str, ...], after: tuple[str, ...]
) -> None:
    arguments = command("broken", *before)
    with subprocess.Popen(arguments, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + DEADLINE_SECONDS
        checkpoint = tmp_path / "broken.run" / "multitask" / "checkpoint-2"
        while not (checkpoint / "trainer_state.json").exists() and time.monotonic() < deadline:
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=DEADLINE_SECONDS) == 130
        talk = process.stderr.read()
    if before:
        assert "--num-processes=2 --resume goes on from there" in talk
    assert not (tmp_path / "broken").exists()
    (run if after else run_here)(command("broken", "--resume", *after))
    assert_same(tmp_path / "broken", whole)


PARTS_AND_BACK = """
import copy

import torch
from accelerate import PartialState
from tiny_model import make_adapted, make_backbone

from ucuie.train.distributed import is_sharded, shard, shared_state, trained_tensors, whole_state


def make(is_shared):
    model = make_adapted(make_backbone()).train()
    if is_shared:
        shard(model)
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    return model, torch.optim.AdamW(parameters, lr=0.01, eps=1e-4, weight_decay=0)


def step(model, optimizer):
    ids = torch.arange(24).view(2, 12)
    mask = torch.arange(12).expand(2, -1) < 5
    model(input_ids=ids, labels=ids, instruction_mask=mask).loss.backward()
    optimizer.step()
    optimizer.zero_grad()


processes = PartialState(cpu=True)
expected, expected_optimizer = make(False)
model, optimizer = make(True)
assert is_sharded(model) and not is_sharded(expected)
for parameter in model.parameters():
    part, whole = parameter.to_local().numel(), parameter.numel()
    assert abs(part - whole / 2) <= whole / (2 * len(parameter)), (part, whole)
step(expected, expected_optimizer)
step(model, optimizer)
again, again_optimizer = make(True)
again.load_state_dict(model.state_dict())
state = whole_state(optimizer)
assert state.keys() == expected_optimizer.state_dict().keys()
# An optimiser counts its steps in the tensor that it is given.
again_optimizer.load_state_dict(shared_state(copy.deepcopy(state), again_optimizer))
for one in ((expected, expected_optimizer), (model, optimizer), (again, again_optimizer)):
    step(*one)
wanted = {name: p.detach() for name, p in expected.named_parameters() if p.requires_grad}
for one in (model, again):
    found = trained_tensors(one)
    assert found.keys() == (wanted.keys() if processes.is_main_process else set())
    for name, tensor in found.items():
        torch.testing.assert_close(tensor, wanted[name], rtol=0, atol=1e-5)
for index, values in whole_state(again_optimizer)["state"].items():
    torch.testing.assert_close(values, expected_optimizer.state_dict()["state"][index], rtol=0, atol=1e-6)
processes.destroy_process_group()
"""


@pytest.mark.long
def test_a_process_keeps_half_and_gets_the_whole_back(tmp_path: Path) -> None:
    script = tmp_path / "parts_and_back.py"
    script.write_text(PARTS_AND_BACK)
    tests = str(Path(__file__).parents[1])
    environment = ENVIRONMENT | {"PYTHONPATH": os.pathsep.join([tests, *filter(None, sys.path)])}
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2", str(script)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
    )
    assert done.returncode == 0, done.stderr


def test_a_model_without_layers_cannot_be_shared_out() -> None:
    model = make_backbone()
    model._no_split_modules = None
    with pytest.raises(ConfigError, match="does not say what its layers are"):
        layers_of(model)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"backbone_weights": "4bit"}, "quantised weights; .* in place of 4bit, or sharding: none"),
        (
            {"trainer": {"optim": "paged_adamw_8bit"}},
            "trainer.optim: paged_adamw_8bit, or set sharding: none",
        ),
        ({"trainer": {"fp16": True}}, "trainer.fp16; leave out one of them"),
        ({"trainer": {"torch_compile": True}}, "trainer.torch_compile; leave out one of them"),
    ],
)
def test_what_cannot_be_shared_out_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    path = tmp_path / "run.yaml"
    path.write_text(json.dumps({"data": {"train": ["x"]}} | changes))
    TrainConfig.load(path)
    with pytest.raises(ConfigError, match=f"\n  sharding: full [^\n]*{message}$"):
        TrainConfig.load(path, overrides=["sharding=full"])


@pytest.mark.long
def test_what_is_wrong_is_said_once(command: Command) -> None:
    done = subprocess.run(
        command("wrong", "--num-processes", "2", adapter={"rr": 3}),
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
    )
    assert done.returncode == 2
    assert done.stderr.count("adapter.rr is unknown") == 1
    assert "Traceback" not in done.stderr


@pytest.mark.long
def test_a_full_disk_is_told_once_and_the_run_goes_on(command: Command, tmp_path: Path) -> None:
    arguments = command("full", "--num-processes", "2")
    with files_of_at_most(100_000):
        done = subprocess.run(
            arguments, env=ENVIRONMENT, capture_output=True, text=True, timeout=DEADLINE_SECONDS
        )
    assert done.returncode == 2, done.stderr
    (said,) = done.stderr.splitlines()
    assert "make room" in said
    assert said.endswith("--num-processes=2 --resume goes on from the last checkpoint")
    assert not (tmp_path / "full").exists()
    run([*arguments, "--resume"])


@pytest.mark.parametrize(
    ("batch_size", "micro_batch_size", "num_processes", "expected"),
    [(16, None, 1, (16, 1)), (16, None, 2, (8, 1)), (16, 2, 2, (2, 4)), (6, 1, 3, (1, 2))],
)
def test_a_step_is_shared_evenly(
    batch_size: int, micro_batch_size: int | None, num_processes: int, expected: tuple[int, int]
) -> None:
    config = TrainConfig.model_validate(
        {"data": {"train": ["x"]}, "batch_size": batch_size, "micro_batch_size": micro_batch_size}
    )
    assert divide_step(config, num_processes) == expected


@pytest.mark.parametrize(
    ("batch_size", "micro_batch_size", "num_processes"), [(16, None, 3), (1, None, 2), (16, 3, 1)]
)
def test_a_step_that_cannot_be_shared_evenly_is_refused(
    batch_size: int, micro_batch_size: int | None, num_processes: int
) -> None:
    config = TrainConfig.model_validate(
        {"data": {"train": ["x"]}, "batch_size": batch_size, "micro_batch_size": micro_batch_size}
    )
    with pytest.raises(ConfigError, match="cannot be shared evenly"):
        divide_step(config, num_processes)


def test_launching_inside_of_a_launcher_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="leave it out"):
        launch(["train", "x.yaml"], num_processes=2)
