"""Pages about experiments, made from what a workspace holds: the setting, tables, a figure, what they say.

Everything on a page comes from results, but for the part between two marks: words that somebody wrote about
them, which stay when the page is made again.
"""

import re
from pathlib import Path

from ucuie.files import write_text
from ucuie.lab.experiments import samples
from ucuie.lab.experiments.contents import CONTENTS, Contents
from ucuie.lab.experiments.definitions import Experiment, Plan
from ucuie.lab.experiments.figures import save_figure
from ucuie.lab.experiments.queue import progress_of
from ucuie.lab.experiments.tables import to_csv, to_json
from ucuie.metrics import HEADLINE_ROWS
from ucuie.model.source import EMBEDDED_NAME
from ucuie.templates import counted

READING = ("<!-- reading: kept when the page is made again -->", "<!-- end of reading -->")
_KEPT = re.compile(re.escape(READING[0]) + r"\n(.*?)\n?" + re.escape(READING[1]), re.DOTALL)


def write_page(experiment: Experiment, plan: Plan, folder: Path) -> Path:
    """Writes an experiment's page, its tables as CSV and JSON, and its figure; returns the page."""
    contents = CONTENTS[experiment.name](plan)
    for name, table in contents.tables.items():
        write_text(folder / "tables" / f"{name}.csv", to_csv(table))
        write_text(folder / "tables" / f"{name}.json", to_json(table))
    if contents.figure is not None:
        save_figure(contents.figure, folder / "figures" / experiment.name)
    page = folder / f"{experiment.name}.md"
    write_text(page, _markdown(experiment, plan, contents, folder, kept=_kept(page)))
    return page


def _kept(page: Path) -> str:
    found = _KEPT.search(page.read_text("utf-8")) if page.exists() else None
    return found.group(1).strip() if found else ""


def _markdown(experiment: Experiment, plan: Plan, contents: Contents, folder: Path, *, kept: str) -> str:
    parts = [f"# {experiment.name}: {experiment.title}", "", *_setting(experiment, plan, folder), ""]
    parts += [table.to_markdown() for table in contents.tables.values()]
    if contents.figure is not None:
        parts.append(f"![{experiment.title}](figures/{experiment.name}.svg)\n")
    if contents.claims:
        parts += ["## What the numbers say", "", *contents.claims, ""]
    parts += ["## Reading", "", READING[0], *([kept] if kept else []), READING[1], ""]
    parts += ["## The paper", "", contents.paper, ""]
    return "\n".join(parts)


def _setting(experiment: Experiment, plan: Plan, folder: Path) -> list[str]:
    """What the trials are: backbone, data, scorer, seeds, and how far they are."""
    workspace = plan.workspace
    scale = workspace.scale
    progress = progress_of(experiment.jobs(plan), workspace)
    is_partial = progress.num_missing > 0 or bool(progress.crashed)
    taken = samples.shares(workspace.folder)
    sets = [f"{name} ({one['used']:,} / {one['test']:,})" for name, one in taken.items()]
    steps = (
        "the epochs of the paper"
        if scale.multitask_steps is None
        else f"{counted(scale.warming_steps or 0, 'step')} of capability warming, {scale.multitask_steps} of "
        "multi-task learning"
    )
    rates = ", ".join(f"{rate:g}" for rate in scale.learning_rates)
    frozen = "" if experiment.name == "cost" else ", frozen but for full fine-tuning"
    data = ", ".join(sets) or "not prepared yet"
    lines = [
        (
            f"Scale `{scale.name}`; backbone {workspace.backbone_name}{frozen}; scorer `offset`; "
            f"{counted(plan.num_seeds, 'seed')} planned; ± is the standard deviation over seeds."
        ),
        "",
        (
            f"- Data (training / test texts): {data}. Zero-shot texts: {', '.join(scale.zero_shot_sets)}. "
            "Samples are fixed; training texts that stand in a validation or test split of any of these sets "
            "are left out."
        ),
        (
            f"- Training: {steps}, {scale.settings.get('batch_size', 16)} rows a step. Learning rate of each "
            f"variant: the best of {rates} on validation texts, with the first seed."
        ),
        f"- Mean F1: unweighted, over data sets and their rows {', '.join(HEADLINE_ROWS)}.",
    ]
    if is_partial:
        lines.append(
            f"- **Partial**: {progress.num_finished} jobs are finished, {len(progress.crashed)} crashed, at "
            f"least {progress.num_missing} are missing (how many is known once learning rates are chosen)."
        )
    lines += [f"  - crashed: `{job.folder}`: {workspace.error(job)}" for job in progress.crashed]
    suffix = "" if scale.name == "mini" else f" --scale {scale.name}"
    if workspace.backbone_name != EMBEDDED_NAME:
        suffix += " --backbone BACKBONE"
    # Where somebody's home lies is not for a page.
    docs = "FOLDER" if folder.is_absolute() else folder.as_posix()
    lines.append(
        f"- This page: `ucuie experiment {experiment.name}{suffix} --docs {docs} --report`; "
        "without `--report` missing trials are run first."
    )
    return lines
