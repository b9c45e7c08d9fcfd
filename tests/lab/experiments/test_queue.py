"""The queue on hand-made results: what is run, what is kept, what a crash does."""

import errno
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from ucuie.errors import ConfigError, DataError, FullDiskError
from ucuie.lab.experiments.definitions import EXPERIMENTS, RUN_ALL, Plan
from ucuie.lab.experiments.queue import QueueProgress, progress_of, run_queue
from ucuie.lab.experiments.samples import check_sources
from ucuie.lab.experiments.scales import SCALES, named
from ucuie.lab.experiments.trials import MASKS, Evaluation, Training, mask_title
from ucuie.lab.experiments.variants import ABLATIONS, VARIANTS, laid_over
from ucuie.lab.experiments.workspace import Workspace


def workspace_in(folder: Path, scale: str = "mini") -> Workspace:
    return Workspace(folder, SCALES[scale], (), "backbone", "tiny", {"rank": 52, "parameters": 59})


def report(f1: int) -> dict:
    """100 gold, 100 predicted, so that F1 is the number of matches."""
    labels = {"person": {"gold": 100, "predicted": 100, "matched": f1}}
    row = {"task": "NER", "row": "NER", "datasets": [{"dataset": "a", "labels": labels}]}
    return {"scores": [{"scorer": "offset", "rows": [row]}]}


class Fake:
    """Does a job in no time; F1 of the learning rate 0.002 is highest."""

    def __init__(self, fails: str = "nothing") -> None:
        self.done: list[str] = []
        self.fails = fails

    def __call__(self, job: Training | Evaluation, workspace: Workspace) -> dict[str, Any]:
        self.done.append(job.folder.as_posix())
        if self.fails in str(job.folder):
            raise RuntimeError("out of memory")
        if isinstance(job, Evaluation):
            folder = workspace.folder / job.folder
            folder.mkdir(parents=True, exist_ok=True)
            f1 = 50 if job.training.learning_rate == 0.002 else 40
            (folder / "report.json").write_text(json.dumps(report(f1)))
        return {}


def run(
    workspace: Workspace, fake: Fake, *, variants: Sequence[str] = ("soft", "lora"), **options: Any
) -> QueueProgress:
    return run_queue(
        lambda one: EXPERIMENTS["table4"].jobs(Plan(one, 2, variants)),
        workspace,
        fake,
        say=lambda _: None,
        **options,
    )


def test_a_finished_queue_has_tuned_every_variant_alike_and_runs_nothing_twice(tmp_path: Path) -> None:
    workspace, fake = workspace_in(tmp_path), Fake()
    progress = run(workspace, fake)
    # Two variants: three rates with validation, the test of the best, a second seed with its test.
    assert (progress.num_finished, progress.num_missing, progress.crashed) == (2 * (6 + 1 + 2), 0, ())
    assert len(fake.done) == len(set(fake.done)) == 18
    assert "trials/lora-lr0.002-seed1/test" in fake.done
    again = Fake()
    run(workspace, again)
    assert again.done == []


def test_a_crashed_trial_is_marked_and_the_others_go_on(tmp_path: Path) -> None:
    workspace, fake = workspace_in(tmp_path), Fake(fails="lora-lr0.0005-seed0")
    progress = run(workspace, fake)
    assert Training("lora", 0.0005, 0) in progress.crashed
    assert Evaluation(Training("lora", 0.0005, 0), "validation") in progress.crashed
    assert workspace.error(Training("lora", 0.0005, 0)) == "RuntimeError: out of memory"
    assert workspace.state(Evaluation(Training("lora", 0.002, 1), "test")) == "finished"

    again = Fake()
    run(workspace, again)
    assert again.done == []
    run(workspace, again, repeats_crashed=True)
    assert again.done == ["trials/lora-lr0.0005-seed0", "trials/lora-lr0.0005-seed0/validation"]


def test_a_variant_whose_trials_all_crash_does_not_stop_the_others(tmp_path: Path) -> None:
    workspace = workspace_in(tmp_path)
    progress = run(workspace, Fake(fails="lora-lr"))
    assert Plan(workspace, 2).learning_rate("lora") is None
    assert len(progress.crashed) == 6
    assert workspace.state(Evaluation(Training("soft", 0.002, 1), "test")) == "finished"


def test_an_interrupted_job_is_missing_not_crashed(tmp_path: Path) -> None:
    workspace = workspace_in(tmp_path)

    def interrupted(job: Training, workspace: Workspace) -> dict[str, Any]:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(workspace, interrupted)
    assert workspace.state(Training("soft", 0.0005, 0)) == "missing"


def test_a_full_disk_ends_the_queue_and_is_no_crash(tmp_path: Path) -> None:
    workspace = workspace_in(tmp_path)
    calls = []

    def without_room(job: Training, workspace: Workspace) -> dict[str, Any]:
        calls.append(job)
        raise OSError(errno.ENOSPC, "No space left on device", "model.safetensors")

    with pytest.raises(FullDiskError, match=r"'model.safetensors' .* make room.* the same command goes on"):
        run(workspace, without_room)
    assert [workspace.state(job) for job in calls] == ["missing"]
    assert run(workspace, Fake()).crashed == ()


def test_without_time_nothing_is_begun(tmp_path: Path) -> None:
    fake = Fake()
    progress = run(workspace_in(tmp_path), fake, hours=-1)
    assert fake.done == []
    assert progress.num_missing > 0


def test_queues_in_one_folder_share_the_jobs(tmp_path: Path) -> None:
    workspace, second = workspace_in(tmp_path), Fake()
    held = []

    class First(Fake):
        """While it does its first job, another queue does all the others that need nothing of it."""

        def __call__(self, job: Training | Evaluation, workspace: Workspace) -> dict[str, Any]:
            if not held:
                held.append(job.folder.as_posix())
                run(workspace, second, variants=("lora",))
                waiting = run(workspace, second, variants=("soft",), hours=1 / 3600)
                assert waiting.num_missing == 2  # this job and its evaluation
            return super().__call__(job, workspace)

    first = First()
    progress = run(workspace, first)
    assert progress.num_missing == 0
    assert held[0] == "trials/soft-lr0.0005-seed0"
    assert held[0] not in second.done
    assert not set(first.done) & set(second.done)
    assert len(first.done) + len(second.done) == 18


def test_results_of_other_settings_do_not_count(tmp_path: Path) -> None:
    training = Training("soft", 0.002, 0)
    workspace_in(tmp_path).finish(training, {})
    assert workspace_in(tmp_path).state(training) == "finished"
    assert workspace_in(tmp_path, "smoke").state(training) == "missing"


def test_a_result_cut_in_the_middle_is_missing(tmp_path: Path) -> None:
    workspace, training = workspace_in(tmp_path), Training("soft", 0.002, 0)
    workspace.finish(training, {})
    path = tmp_path / training.folder / "result.json"
    path.write_text(path.read_text()[:20])
    assert workspace.state(training) == "missing"


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_is_a_training_configuration(tmp_path: Path, name: str) -> None:
    config = workspace_in(tmp_path).config(Training(name, 0.002, 3))
    assert config.seed == 3
    assert config.warming.learning_rate == 0.002
    assert config.multitask.learning_rate == (1e-12 if name == "untrained" else 0.002)


def test_longer_variants_have_more_steps_or_epochs_and_the_rate_of_their_own(tmp_path: Path) -> None:
    training = Training("full-longer", 0.002, 0)
    assert workspace_in(tmp_path).config(training).multitask.max_steps == 4 * 94 + 28
    assert workspace_in(tmp_path, "full").config(training).multitask.epochs == 4 * 3

    workspace, fake = workspace_in(tmp_path), Fake()
    run_queue(lambda one: EXPERIMENTS["longer"].jobs(Plan(one, 1)), workspace, fake, say=lambda _: None)
    assert [name for name in fake.done if "longer" in name] == [
        f"trials/{name}-longer-lr0.002-seed0{part}"
        for name in ("soft", "lora", "full")
        for part in ("", "/test")
    ]


def test_routing_is_compared_at_one_learning_rate(tmp_path: Path) -> None:
    workspace = workspace_in(tmp_path)
    run_queue(lambda one: EXPERIMENTS["figure6"].jobs(Plan(one, 1)), workspace, Fake(), say=lambda _: None)
    assert workspace.state(Training("no-entropy", 0.002, 0)) == "finished"
    assert workspace.state(Training("no-entropy", 0.008, 0)) == "missing"


def test_variants_differ_from_the_soft_router_as_they_say(tmp_path: Path) -> None:
    workspace = workspace_in(tmp_path)
    configs = {name: workspace.config(Training(name, 0.002, 0)) for name in ABLATIONS}
    assert len({config.model_dump_json(exclude={"output"}) for config in configs.values()}) == len(ABLATIONS)
    assert configs["hard"].adapter == {"router": "hard"}
    assert configs["lora-equal"].adapter == {"use_capability_experts": False, "r": 59, "alpha": 118}
    assert configs["no-warming-longer"].multitask.max_steps == 28 + 94
    assert configs["no-warming"].multitask.max_steps == 94
    assert (configs["no-entropy"].loss.beta, configs["no-bce"].loss.gamma) == (0, 0)


def test_settings_laid_over_others_leave_both_as_they_were() -> None:
    below, above = {"a": {"x": 1, "y": 2}, "b": 1}, {"a": {"y": 3}, "c": {}}
    assert laid_over(below, above) == {"a": {"x": 1, "y": 3}, "b": 1, "c": {}}
    assert below == {"a": {"x": 1, "y": 2}, "b": 1}


def test_masks_are_all_seven_subsets() -> None:
    assert [mask_title(mask) for mask in MASKS] == ["J", "L", "A", "J+L", "J+A", "L+A", "J+L+A"]
    assert mask_title(None) == "soft"


@pytest.mark.parametrize(
    ("known", "listed"),
    [(EXPERIMENTS, "figure6"), (EXPERIMENTS, RUN_ALL), (VARIANTS, "lora-moe"), (SCALES, "smoke")],
)
def test_unknown_names_list_all(known: Mapping[str, object], listed: str) -> None:
    with pytest.raises(ConfigError, match=r"no entry 'tabel4'.*choices: ") as caught:
        named("entry", "tabel4", known, RUN_ALL)
    assert listed in str(caught.value)


def test_missing_sets_are_named_all_at_once_with_what_makes_them(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="bc5cdr") as caught:
        check_sources(SCALES["mini"], [tmp_path])
    for name in SCALES["mini"].sets:
        assert f"ucuie convert {name} --source RAW --output {tmp_path / name}" in str(caught.value)


def test_progress_counts_what_is_there(tmp_path: Path) -> None:
    workspace = workspace_in(tmp_path)
    jobs = [Training("soft", 0.002, 0), Training("soft", 0.002, 1)]
    workspace.finish(jobs[0], {})
    progress = progress_of(jobs, workspace)
    assert (progress.num_finished, progress.num_missing) == (1, 1)


def test_a_crash_says_what_is_at_fault(tmp_path: Path) -> None:
    workspace = workspace_in(tmp_path)
    job = Training("lora", 0.0005, 0)
    workspace.crash(job, DataError("train.jsonl", ["line 7   not JSON"]))
    assert workspace.error(job) == "DataError: 1 fault in train.jsonl: line 7   not JSON"
    workspace.crash(job, RuntimeError("out of memory\nand much more"))
    assert workspace.error(job) == "RuntimeError: out of memory"
    workspace.crash(job, RuntimeError())
    assert workspace.error(job) == "RuntimeError: "
