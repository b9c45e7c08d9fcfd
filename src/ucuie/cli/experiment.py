"""`ucuie experiment`."""

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from ucuie.cli.common import Quiet, exit_interrupted, flag, results, talk_console
from ucuie.errors import UcuieError, needs

if TYPE_CHECKING:
    from ucuie.lab.experiments.queue import QueueProgress
    from ucuie.lab.experiments.workspace import Workspace

Name = Annotated[
    str,
    typer.Argument(
        help="table1 to table6, figure5, figure6, longer, cost, or run-all.",
        show_default=False,
        metavar="NAME",
    ),
]
Scale = Annotated[str, typer.Option(help="smoke, mini, unseen or full.")]
Seeds = Annotated[
    int | None, typer.Option(min=1, help="Trials of everything; left out, as many as the scale has.")
]
Backbone = Annotated[
    str, typer.Option(help="embedded (ucuie-mini), a folder, or a hub id of a causal language model.")
]
Data = Annotated[
    list[Path] | None,
    typer.Option(help="Folder of converted sets; repeatable. Left out: runs/data, for smoke examples."),
]
VariantNames = Annotated[list[str] | None, typer.Option(help="Only these variants of table4; repeatable.")]
Runs = Annotated[Path, typer.Option(file_okay=False, help="Folder of all trials.")]
Pages = Annotated[
    Path | None,
    typer.Option(file_okay=False, help="Folder for pages, tables and figures; left out, beside the trials."),
]
Hours = Annotated[float | None, typer.Option(min=0, help="Begin no trial after so many hours.")]
Resume = Annotated[bool, flag("--resume", "Repeat trials that crashed, too.")]
OnlyReport = Annotated[bool, flag("--report", "Run nothing; make the pages again.")]


def experiment(
    name: Name,
    scale: Scale = "mini",
    seeds: Seeds = None,
    backbone: Backbone = "embedded",
    data: Data = None,
    variant: VariantNames = None,
    runs: Runs = Path("runs/experiments"),
    docs: Pages = None,
    hours: Hours = None,
    resume: Resume = False,
    report: OnlyReport = False,
    quiet: Quiet = False,
) -> None:
    """Reproduce a table or figure of the paper; finished trials are kept, missing ones are run.

    Trials that crash do not stop the others, but the command ends with exit code 1.
    """
    from ucuie.lab.experiments.definitions import EXPERIMENTS, RUN_ALL, Plan
    from ucuie.lab.experiments.scales import SCALES, named
    from ucuie.lab.experiments.variants import ABLATIONS, VARIANTS

    chosen = (
        list(EXPERIMENTS.values()) if name == RUN_ALL else [named("experiment", name, EXPERIMENTS, RUN_ALL)]
    )
    size = named("scale", scale, SCALES)
    variants = tuple(named("variant", one, VARIANTS).name for one in variant) if variant else ABLATIONS
    for package in ("matplotlib", "plotly"):
        needs(package, "experiments")
    sources = tuple(data or [Path("examples" if scale == "smoke" else "runs/data")])
    from ucuie.lab.experiments.samples import check_sources

    if not report:
        check_sources(size, sources)
    from ucuie.lab.experiments.pages import write_page
    from ucuie.lab.experiments.queue import progress_of, run_queue
    from ucuie.lab.experiments.trials import Job
    from ucuie.lab.experiments.workspace import Workspace, open_workspace

    talk = talk_console(quiet=quiet)
    workspace = open_workspace(runs, scale=size, sources=sources, backbone=backbone)
    num_seeds = seeds or size.num_seeds

    def jobs_of(workspace: Workspace) -> list[Job]:
        plan = Plan(workspace, num_seeds, variants)
        return list(dict.fromkeys(job for one in chosen for job in one.jobs(plan)))

    if not report:
        from ucuie.lab.experiments.execute import execute

        try:
            run_queue(jobs_of, workspace, execute, hours=hours, repeats_crashed=resume, say=talk.print)
        except KeyboardInterrupt:
            exit_interrupted("", shlex.join(["ucuie", *sys.argv[1:]]))
    progress = progress_of(jobs_of(workspace), workspace)
    pages = docs or workspace.folder / "pages"
    plan = Plan(workspace, num_seeds, variants)
    for one in chosen:
        results().print(str(write_page(one, plan, pages)), soft_wrap=True)
    _tell(progress, workspace, talk, fails=not report)


def _tell(progress: "QueueProgress", workspace: "Workspace", talk: Console, *, fails: bool) -> None:
    """Say how far all is, and fail where trials crashed."""
    missing = f", {progress.num_missing} missing" if progress.num_missing else ""
    crashed = f", {len(progress.crashed)} crashed" if progress.crashed else ""
    talk.print(f"{progress.num_finished} jobs finished{missing}{crashed}; trials are in {workspace.folder}")
    if progress.crashed and fails:
        faults = [
            f"  {job.folder}: {workspace.error(job) or 'its training crashed'}" for job in progress.crashed
        ]
        raise UcuieError("\n".join(["error: trials crashed; --resume repeats them", *faults]))
