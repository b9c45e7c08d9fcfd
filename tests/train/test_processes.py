"""Several processes learn what one does, however a step is divided; runs go on with another number."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from safetensors.torch import load_file

from ucuie.errors import ConfigError
from ucuie.train import TrainConfig
from ucuie.train.launch import launch
from ucuie.train.run import divide_step

ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
DEADLINE_SECONDS = 240


@pytest.fixture
def command(backbone_folder, data_folder, tmp_path):
    """The command of a run of a given name."""

    def build(name, *arguments, **changes):
        settings = {
            "backbone": str(backbone_folder),
            "output": str(tmp_path / name),
            "data": {"train": [str(data_folder)]},
            "batch_size": 4,
            "warming": {"max_steps": 3, "learning_rate": 0.003},
            "multitask": {"max_steps": 6, "learning_rate": 0.003},
            "trainer": {
                # Adam divides by the size of gradients, rounding errors included where there is nothing else.
                "adam_epsilon": 1e-4,
                "disable_tqdm": True,
                "logging_steps": 1,
                "report_to": [],
                "save_steps": 2,
            },
        }
        path = tmp_path / f"{name}.yaml"
        path.write_text(json.dumps(settings | changes))
        return [sys.executable, "-m", "ucuie", "train", str(path), *arguments]

    return build


def run(command):
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, timeout=DEADLINE_SECONDS)
    assert done.returncode == 0, done.stderr
    return done


def outcome(folder):
    """The logged losses by stage and step, and the weights of a finished run."""
    losses = json.loads((folder.with_name(f"{folder.name}.run") / "run.json").read_text())["losses"]
    logged: dict[tuple[str, int], dict[str, float]] = {}
    for name, stage in losses.items():
        for entry in stage:
            if "loss" in entry:
                kept = {key: entry[key] for key in entry if key.startswith(("loss", "gates"))}
                assert (name, entry["step"]) not in logged
                logged[name, entry["step"]] = kept
    return logged, load_file(folder / "adapter_model.safetensors")


def assert_same(folder, expected_folder, tolerance=1e-5):
    logged, weights = outcome(folder)
    expected_logged, expected_weights = outcome(expected_folder)
    assert logged.keys() == expected_logged.keys()
    for step, expected in expected_logged.items():
        assert logged[step] == pytest.approx(expected, abs=tolerance), step
    torch.testing.assert_close(weights, expected_weights, rtol=0, atol=tolerance)


@pytest.mark.slow
def test_two_processes_learn_what_one_does(command, tmp_path):
    run(command("one"))
    talk = run(command("two", "--num-processes", "2"))
    assert talk.stderr.count("wrote") == 1
    assert_same(tmp_path / "two", tmp_path / "one")
    assert json.loads((tmp_path / "two.run" / "run.json").read_text())["processes"] == 2

    # The entropy loss is of the tokens that are seen together, so it is left out where a step is divided
    # one after the other.
    plain = {"loss": {"beta": 0}}
    run(command("whole", **plain))
    run(command("parts", **plain, micro_batch_size=1))
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


@pytest.mark.slow
def test_an_interrupted_run_goes_on_with_another_number_of_processes(command, tmp_path):
    run(command("whole"))
    long = {"multitask": {"max_steps": 6, "learning_rate": 0.003}}
    arguments = command("broken", "--num-processes", "2", **long)
    with subprocess.Popen(arguments, env=ENVIRONMENT, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + DEADLINE_SECONDS
        checkpoint = tmp_path / "broken.run" / "multitask" / "checkpoint-2"
        while not (checkpoint / "trainer_state.json").exists() and time.monotonic() < deadline:
            assert process.poll() is None, process.stderr.read()
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=DEADLINE_SECONDS) == 130
        talk = process.stderr.read()
    assert "--num-processes=2 --resume goes on from there" in talk
    assert not (tmp_path / "broken").exists()
    run(command("broken", "--resume"))
    assert_same(tmp_path / "broken", tmp_path / "whole")


@pytest.mark.slow
def test_what_is_wrong_is_said_once(command):
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


@pytest.mark.parametrize(
    ("batch_size", "micro_batch_size", "num_processes", "expected"),
    [(16, None, 1, (16, 1)), (16, None, 2, (8, 1)), (16, 2, 2, (2, 4)), (6, 1, 3, (1, 2))],
)
def test_a_step_is_shared_evenly(batch_size, micro_batch_size, num_processes, expected):
    config = TrainConfig.model_validate(
        {"data": {"train": ["x"]}, "batch_size": batch_size, "micro_batch_size": micro_batch_size}
    )
    assert divide_step(config, num_processes) == expected


@pytest.mark.parametrize(
    ("batch_size", "micro_batch_size", "num_processes"), [(16, None, 3), (1, None, 2), (16, 3, 1)]
)
def test_a_step_that_cannot_be_shared_evenly_is_refused(batch_size, micro_batch_size, num_processes):
    config = TrainConfig.model_validate(
        {"data": {"train": ["x"]}, "batch_size": batch_size, "micro_batch_size": micro_batch_size}
    )
    with pytest.raises(ConfigError, match="cannot be shared evenly"):
        divide_step(config, num_processes)


def test_launching_inside_of_a_launcher_is_refused(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="leave it out"):
        launch(["train", "x.yaml"], num_processes=2)
