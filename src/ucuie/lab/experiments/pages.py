"""Pages about experiments, made from what a workspace holds: the setting, tables, a figure, what they say.

Everything on a page comes from results, but for the part between two marks: words that somebody wrote about
them, which stay when the page is made again.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ucuie.files import write_text
from ucuie.lab.experiments import definitions, figures, readings, samples
from ucuie.lab.experiments.definitions import Experiment, Plan
from ucuie.lab.experiments.queue import progress_of
from ucuie.lab.experiments.tables import (
    NOT_GIVEN,
    Trials,
    mean_of,
    place_of,
    places_of,
    row_of,
    to_csv,
    to_json,
)
from ucuie.lab.experiments.trials import MASKS, Cost, Data, Evaluation, Training, mask_title
from ucuie.lab.experiments.variants import LONGER, TIMES_LONGER, VARIANTS
from ucuie.metrics import HEADLINE_ROWS, Report
from ucuie.model.source import EMBEDDED_NAME
from ucuie.schema import CAPABILITIES
from ucuie.templates import Table, load_template

READING = ("<!-- reading: kept when the page is made again -->", "<!-- end of reading -->")
_KEPT = re.compile(re.escape(READING[0]) + r"\n(.*?)\n?" + re.escape(READING[1]), re.DOTALL)
_TEMPLATE = Path(__file__).with_name("page.md.jinja")
_NO_PAPER = (
    "The paper's own numbers for this experiment are not part of this project's sources, so none stand here; "
    "they would come from another backbone and other data in any case."
)
_Rows = list[tuple[object, ...]]


@dataclass(frozen=True)
class _Contents:
    """What an experiment's page shows.

    Args:
        tables: in order, by the names of their files.
        claims: sentences made from the numbers, one a line.
        figure: matplotlib's.
        paper: what is known of the paper's numbers.
    """

    tables: Mapping[str, Table]
    claims: Sequence[str] = ()
    figure: Any = None
    paper: str = _NO_PAPER


def write_page(experiment: Experiment, plan: Plan, folder: Path) -> Path:
    """Writes an experiment's page, its tables as CSV and JSON, and its figure; returns the page."""
    contents = _CONTENTS[experiment.name](plan)
    for name, table in contents.tables.items():
        write_text(folder / "tables" / f"{name}.csv", to_csv(table))
        write_text(folder / "tables" / f"{name}.json", to_json(table))
    if contents.figure is not None:
        figures.save_figure(contents.figure, folder / "figures" / experiment.name)
    page = folder / f"{experiment.name}.md"
    kept = _KEPT.search(page.read_text("utf-8")) if page.exists() else None
    workspace = plan.workspace
    text = load_template(_TEMPLATE).render(
        experiment=experiment,
        plan=plan,
        workspace=workspace,
        scale=workspace.scale,
        contents=contents,
        shares=samples.shares(workspace.folder),
        rates=", ".join(f"{rate:g}" for rate in workspace.scale.learning_rates),
        rows=HEADLINE_ROWS,
        progress=progress_of(experiment.jobs(plan), workspace),
        is_embedded=workspace.backbone_name == EMBEDDED_NAME,
        # Where somebody's home lies is not for a page.
        docs="FOLDER" if folder.is_absolute() else folder.as_posix(),
        reading=READING,
        kept=kept.group(1).strip() if kept else "",
    )
    write_text(page, text + "\n")
    return page


def _by_set(columns: Mapping[str, Sequence[Report]], title: str) -> Table:
    """A row for each data set and row, a column for each variant."""
    rows: _Rows = [
        (*place, *(place_of(reports, place) for reports in columns.values())) for place in places_of(columns)
    ]
    rows.append(("all", "mean F1", *map(mean_of, columns.values())))
    return Table(("data set", "row", *columns), rows, title)


def _by_row(reports: Sequence[Report]) -> list[Trials]:
    return [row_of(reports, row) for row in HEADLINE_ROWS]


def _table1(plan: Plan) -> _Contents:
    columns = {VARIANTS[name].title: plan.reports(name) for name in definitions.ROUTERS}
    return _Contents({"table1": _by_set(columns, "F1 by data set")})


def _table2(plan: Plan) -> _Contents:
    rows: _Rows = []
    lines: dict[str, dict[int, Trials]] = {VARIANTS[name].title: {} for name in definitions.ROUTERS}
    for percent in plan.workspace.scale.percents:
        for name, (title, line) in zip(definitions.ROUTERS, lines.items(), strict=True):
            reports = plan.reports(name, percent=percent)
            line[percent] = mean_of(reports)
            rows.append((f"{percent} %", title, line[percent], *_by_row(reports)))
    columns = ("training texts", "variant", "mean F1", *HEADLINE_ROWS)
    x_label = "per cent of the training split"
    return _Contents(
        {"table2": Table(columns, rows, "Low-resource F1, equal numbers of steps")},
        figure=figures.line_figure(lines, title="Low-resource extraction", x_label=x_label),
    )


def _table3(plan: Plan) -> _Contents:
    columns = {
        "with paraphrased instructions": plan.reports("soft", "zero-shot"),
        "without": plan.reports("no-paraphrase", "zero-shot"),
    }
    return _Contents({"table3": _by_set(columns, "F1 on sets that were never trained on")})


def _table4(plan: Plan) -> _Contents:
    reports = {name: plan.reports(name) for name in plan.variants}
    tables = {"table4": _ablations(plan, reports), "table4-sets": _ablations_by_set(reports)}
    if len(plan.workspace.scale.learning_rates) > 1:
        tables["table4-tuning"] = _tuning(plan)
    bars = {"mean F1": {name: mean_of(of_variant) for name, of_variant in reports.items()}}
    return _Contents(
        tables,
        claims=(
            *readings.ordering_claims(plan),
            "",
            (
                "Intervals are percentiles of 1,000 resamples of the texts, the same for both variants, and "
                "of the trials of each variant. With three seeds or fewer they say little about other seeds."
            ),
        ),
        figure=figures.bar_figure(bars, title="Ablations", y_label="mean F1"),
        paper="Known of the paper are the order soft > hard > no shared expert > LoRA-MoE > LoRA, that each "
        "optimisation ablation hurts, and 84,616,608 trainable parameters (1.240 %) on LLaMA-2-7B, which the "
        "same adapter has here (`ucuie bench adapter`). Its F1 of each variant is "
        f"{NOT_GIVEN} in this project's sources.",
    )


def _ablations(plan: Plan, reports: Mapping[str, Sequence[Report]]) -> Table:
    rows: _Rows = []
    for name, of_variant in reports.items():
        results = [plan.workspace.result(one) for one in plan.finished_trainings(name)]
        rate = plan.learning_rate(name)
        rows.append(
            (
                VARIANTS[name].title,
                mean_of(of_variant),
                *_by_row(of_variant),
                len(of_variant),
                None if rate is None else f"{rate:g}",
                results[0]["trainable_parameters"] if results else None,
                Trials(tuple(one["processor_seconds"] for one in results)),
                NOT_GIVEN,
            )
        )
    costs = ("trials", "learning rate", "trainable parameters", "training, processor seconds", "paper")
    return Table(("variant", "mean F1", *HEADLINE_ROWS, *costs), rows, "Ablations")


def _ablations_by_set(reports: Mapping[str, Sequence[Report]]) -> Table:
    """A row for each variant: some data sets are new to a backbone, others it knows."""
    places = places_of(reports)
    rows = [
        (VARIANTS[name].title, *(place_of(of_variant, place) for place in places))
        for name, of_variant in reports.items()
    ]
    return Table(("variant", *map(" ".join, places)), rows, "F1 by data set")


def _tuning(plan: Plan) -> Table:
    rates = plan.workspace.scale.learning_rates
    rows: _Rows = []
    for name in plan.variants:
        if VARIANTS[name].tuned_as is None:
            tests = [Evaluation(Training(name, rate, seed=0), "validation") for rate in rates]
            found = [[one] if plan.is_finished(one) else [] for one in tests]
            scores = (mean_of(list(map(plan.workspace.report, one))) for one in found)
            rows.append((VARIANTS[name].title, *scores))
    columns = ("variant", *(f"rate {rate:g}" for rate in rates))
    return Table(columns, rows, "Choice of the learning rate: mean F1 on validation texts")


def _longer(plan: Plan) -> _Contents:
    rows: _Rows = []
    lines: dict[str, dict[int, Trials]] = {VARIANTS[name].title: {} for name in LONGER}
    for name, (title, line) in zip(LONGER, lines.items(), strict=True):
        for variant, times in ((name, 1), (f"{name}-longer", TIMES_LONGER)):
            trainings = plan.finished_trainings(variant)
            line[times] = mean_of(plan.reports(variant))
            losses = [plan.workspace.final_loss(one) for one in trainings]
            known = Trials(tuple(loss for loss in losses if loss is not None), decimals=3)
            loss = known if known.values or not losses else "not logged"
            parameters = [plan.workspace.result(one)["trainable_parameters"] for one in trainings]
            rows.append((title, parameters[0] if parameters else None, times, line[times], loss))
    columns = ("variant", "trainable parameters", "times the steps", "mean F1", "last training loss, nats")
    return _Contents(
        {"longer": Table(columns, rows, "Mean F1 by the length of the second stage")},
        figure=figures.line_figure(lines, title="Longer training", x_label="times the steps"),
        paper="The paper has no such experiment. It asks why variants of so different sizes are alike.",
    )


def _masked(
    plan: Plan, title: str, lines: Mapping[str, tuple[Data, str]]
) -> tuple[dict[str, dict[str, Trials]], Table]:
    """The F1 of each line (on which data which row is read) under each mask of the soft model's experts."""
    scores = {
        line: {
            mask_title(gates): row_of(plan.reports("soft", data, gates=gates), row)
            for gates in (*MASKS, None)
        }
        for line, (data, row) in lines.items()
    }
    rows = [(line, *by_mask.values()) for line, by_mask in scores.items()]
    title = f"F1 of {title}; gates are 1 for the named, 0 for the others"
    return scores, Table(("task", *map(mask_title, (*MASKS, None))), rows, title)


def _table5(plan: Plan) -> _Contents:
    scores, table = _masked(plan, "capability tasks", {name: (name, name) for name in CAPABILITIES})
    return _Contents(
        {"table5": table},
        claims=readings.dominance_claims(scores),
        figure=figures.bar_figure(scores, title="Capability tasks by active experts", y_label="F1"),
    )


def _table6(plan: Plan) -> _Contents:
    scores, table = _masked(plan, "extraction", {row: ("test", row) for row in HEADLINE_ROWS})
    figure = figures.bar_figure(scores, title="Extraction by active experts", y_label="F1")
    return _Contents({"table6": table}, figure=figure)


def _figure5(plan: Plan) -> _Contents:
    percent = definitions.LOW_RESOURCE_OF_SUB_EXPERTS
    lines: dict[str, dict[int, Trials]] = {"supervised": {}, f"{percent} % of the data": {}, "zero-shot": {}}
    rows: _Rows = []
    for number in plan.workspace.scale.sub_experts:
        name = f"sub-experts-{number}"
        found = (plan.reports(name), plan.reports(name, percent=percent), plan.reports(name, "zero-shot"))
        for line, reports in zip(lines.values(), found, strict=True):
            line[number] = mean_of(reports)
        rows.append((number, *(line[number] for line in lines.values())))
    return _Contents(
        {"figure5": Table(("sub-experts", *lines), rows, "Mean F1 by the number of sub-experts")},
        figure=figures.line_figure(lines, title="Sub-experts", x_label="sub-experts"),
    )


def _figure6(plan: Plan) -> _Contents:
    routed = {}
    rows: _Rows = []
    for name in definitions.ROUTED:
        title = VARIANTS[name].title
        found = [plan.workspace.result(one) for one in plan.finished(name, "routing", rate_of="soft")]
        shares = [figures.largest_shares(routing) for routing in found]
        rows.append(
            (title, *(Trials(tuple(100 * one[capability] for one in shares)) for capability in CAPABILITIES))
        )
        if found:
            routed[title] = found[0]
    if routed:
        figures.write_explorer(plan.workspace.folder / "explorer", routed)
    tasks: dict[str, Any] = next(iter(routed.values()))["tasks"] if routed else {}
    num_experts = len(next(iter(tasks.values()))["weights"][0][0]) if tasks else 0
    figure = figures.heat_figure(
        {name: figures.mean_weights(routing) for name, routing in routed.items()},
        rows=list(tasks),
        columns=[f"{one[0].upper()}{place + 1}" for one in CAPABILITIES for place in range(num_experts)],
        title="Weights of the sub-experts",
    )
    title = (
        "Largest share of a sub-expert in its capability, per cent, mean over linears and tasks (evenly: 25)"
    )
    return _Contents({"figure6": Table(("variant", *CAPABILITIES), rows, title)}, figure=figure)


def _cost(plan: Plan) -> _Contents:
    columns = (
        *("variant", "trainable parameters", "training step, ms", "of LoRA at equal rank"),
        *("of LoRA at equal parameters", "kept for the backward, MB", "extraction, ms a text"),
    )
    if not plan.is_finished(Cost()):
        return _Contents({"cost": Table(columns, (), "Time and memory")})
    result = plan.workspace.result(Cost())
    variants = result["variants"]
    rows = [
        (
            VARIANTS[name].title,
            one["trainable_parameters"],
            1000 * one["step_seconds"],
            one["step_seconds"] / variants["lora-rank"]["step_seconds"],
            one["step_seconds"] / variants["lora-equal"]["step_seconds"],
            one["step_bytes"] / 1e6,
            1000 * one["text_seconds"],
        )
        for name, one in variants.items()
    ]
    batch = f"a batch of {result['rows']} x {result['tokens']} tokens"
    return _Contents({"cost": Table(columns, rows, f"Medians, interleaved, {result['device']}; {batch}")})


_CONTENTS: Mapping[str, Callable[[Plan], _Contents]] = {
    function.__name__.removeprefix("_"): function
    for function in (_table1, _table2, _table3, _table4, _table5, _table6, _figure5, _figure6, _longer, _cost)
}
"""By the name of the experiment."""
