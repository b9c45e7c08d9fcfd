"""What the page of each experiment shows: its tables, its figures, and sentences made from them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ucuie.lab.experiments import readings
from ucuie.lab.experiments.definitions import (
    LOW_RESOURCE_OF_SUB_EXPERTS,
    ROUTED,
    ROUTERS,
    Plan,
    headline,
    routed_training,
)
from ucuie.lab.experiments.explorer import write_explorer
from ucuie.lab.experiments.figures import bar_figure, heat_figure, line_figure
from ucuie.lab.experiments.results import (
    finished_trainings,
    largest_shares,
    mean_of,
    mean_weights,
    place_of,
    places_of,
    reports_of,
    row_of,
)
from ucuie.lab.experiments.tables import NOT_GIVEN, Cell, Table, Trials
from ucuie.lab.experiments.trials import MASKS, Cost, Data, Evaluation, Routing, Training, mask_title
from ucuie.lab.experiments.variants import LONGER, TIMES_LONGER, VARIANTS
from ucuie.metrics import HEADLINE_ROWS, Report
from ucuie.schema import CAPABILITIES

_NO_PAPER = (
    "The paper's own numbers for this experiment are not part of this project's sources, so none stand here; "
    "they would come from another backbone and other data in any case."
)


@dataclass(frozen=True)
class Contents:
    """What an experiment's page shows.

    Args:
        tables: in order.
        claims: sentences made from the numbers, one a line.
        figures: their paths without the suffix, below the folder of the pages.
        paper: what is known of the paper's numbers.
    """

    tables: tuple[Table, ...]
    claims: tuple[str, ...] = ()
    figures: tuple[str, ...] = ()
    paper: str = _NO_PAPER


def _by_set(name: str, title: str, columns: Mapping[str, Sequence[Report]]) -> Table:
    """A row for each data set and row, a column for each variant."""
    rows: list[tuple[Cell, ...]] = [
        (*place, *(place_of(reports, place) for reports in columns.values())) for place in places_of(columns)
    ]
    rows.append(("all", "mean F1", *(mean_of(reports) for reports in columns.values())))
    return Table(name, title, ("data set", "row", *columns), tuple(rows))


def _table1(plan: Plan, _folder: Path) -> Contents:
    columns = {VARIANTS[name].title: reports_of(plan, name) for name in ROUTERS}
    return Contents((_by_set("table1", "F1 by data set", columns),))


def _table2(plan: Plan, folder: Path) -> Contents:
    percents = plan.workspace.scale.percents
    rows: list[tuple[Cell, ...]] = []
    lines: dict[str, dict[int, Trials]] = {VARIANTS[name].title: {} for name in ROUTERS}
    for percent in percents:
        for name in ROUTERS:
            reports = reports_of(plan, name, percent=percent)
            lines[VARIANTS[name].title][percent] = mean_of(reports)
            by_row = (row_of(reports, row) for row in HEADLINE_ROWS)
            rows.append((f"{percent} %", VARIANTS[name].title, mean_of(reports), *by_row))
    headings = ("training texts", "variant", "mean F1", *HEADLINE_ROWS)
    line_figure(
        folder / "figures" / "table2",
        lines,
        title="Low-resource extraction",
        x_label="per cent of the training split",
        y_label="mean F1",
    )
    return Contents(
        (Table("table2", "Low-resource F1, equal numbers of steps", headings, tuple(rows)),),
        figures=("figures/table2",),
    )


def _table3(plan: Plan, _folder: Path) -> Contents:
    columns = {
        "with paraphrased instructions": reports_of(plan, "soft", "zero-shot"),
        "without": reports_of(plan, "no-paraphrase", "zero-shot"),
    }
    return Contents((_by_set("table3", "F1 on sets that were never trained on", columns),))


def _table4(plan: Plan, folder: Path) -> Contents:
    rows: list[tuple[Cell, ...]] = []
    bars: dict[str, Trials] = {}
    for name in plan.variants:
        reports = reports_of(plan, name)
        bars[name] = mean_of(reports)
        results = [plan.workspace.result(one) for one in finished_trainings(plan, name)]
        rate = plan.learning_rate(name)
        rows.append(
            (
                VARIANTS[name].title,
                mean_of(reports),
                *(row_of(reports, row) for row in HEADLINE_ROWS),
                len(reports),
                None if rate is None else f"{rate:g}",
                results[0]["trainable_parameters"] if results else None,
                Trials(tuple(one["processor_seconds"] for one in results)),
                NOT_GIVEN,
            )
        )
    headings = (
        "variant",
        "mean F1",
        *HEADLINE_ROWS,
        "trials",
        "learning rate",
        "trainable parameters",
        "training, processor seconds",
        "paper",
    )
    tables = [Table("table4", "Ablations", headings, tuple(rows))]
    tables.append(_sets_table(plan))
    if len(plan.workspace.scale.learning_rates) > 1:
        tables.append(_tuning_table(plan))
    bar_figure(folder / "figures" / "table4", {"mean F1": bars}, title="Ablations", y_label="mean F1")
    return Contents(
        tuple(tables),
        claims=(
            *readings.ordering_claims(plan),
            "",
            (
                "Intervals are percentiles of 1,000 resamples of the texts, the same for both variants, and "
                "of the trials of each variant. With three seeds or fewer they say little about other seeds."
            ),
        ),
        figures=("figures/table4",),
        paper="Known of the paper are the order soft > hard > no shared expert > LoRA-MoE > LoRA, that each "
        "optimisation ablation hurts, and 84,616,608 trainable parameters (1.240 %) on LLaMA-2-7B, which the "
        "same adapter has here (`ucuie bench adapter`). Its F1 of each variant is "
        f"{NOT_GIVEN} in this project's sources.",
    )


def _sets_table(plan: Plan) -> Table:
    """A row for each variant: some data sets are new to a backbone, others it knows."""
    found = {name: reports_of(plan, name) for name in plan.variants}
    places = places_of(found)
    rows: list[tuple[Cell, ...]] = [
        (VARIANTS[name].title, *(place_of(reports, place) for place in places))
        for name, reports in found.items()
    ]
    return Table("table4-sets", "F1 by data set", ("variant", *map(" ".join, places)), tuple(rows))


def _tuning_table(plan: Plan) -> Table:
    rates = plan.workspace.scale.learning_rates
    rows: list[tuple[Cell, ...]] = []
    for name in plan.variants:
        if VARIANTS[name].tuned_as is not None:
            continue
        cells: list[Cell] = []
        for rate in rates:
            evaluation = Evaluation(Training(name, rate, seed=0), "validation")
            is_there = plan.workspace.state(evaluation) == "finished"
            cells.append(Trials((headline(plan.workspace.report(evaluation)),) if is_there else ()))
        rows.append((VARIANTS[name].title, *cells))
    headings = ("variant", *(f"rate {rate:g}" for rate in rates))
    return Table(
        "table4-tuning", "Choice of the learning rate: mean F1 on validation texts", headings, tuple(rows)
    )


def _longer(plan: Plan, folder: Path) -> Contents:
    rows: list[tuple[Cell, ...]] = []
    lines: dict[str, dict[int, Trials]] = {}
    for name in LONGER:
        points = lines.setdefault(VARIANTS[name].title, {})
        for variant, times in ((name, 1), (f"{name}-longer", TIMES_LONGER)):
            trainings = finished_trainings(plan, variant)
            points[times] = mean_of(reports_of(plan, variant))
            losses = [plan.workspace.final_loss(one) for one in trainings]
            known = Trials(tuple(loss for loss in losses if loss is not None), decimals=3)
            parameters = [plan.workspace.result(one)["trainable_parameters"] for one in trainings]
            rows.append(
                (
                    VARIANTS[name].title,
                    parameters[0] if parameters else None,
                    times,
                    points[times],
                    known if known.values or not losses else "not logged",
                )
            )
    headings = ("variant", "trainable parameters", "times the steps", "mean F1", "last training loss, nats")
    line_figure(
        folder / "figures" / "longer",
        lines,
        title="Longer training",
        x_label="times the steps",
        y_label="mean F1",
    )
    return Contents(
        (Table("longer", "Mean F1 by the length of the second stage", headings, tuple(rows)),),
        figures=("figures/longer",),
        paper="The paper has no such experiment. It asks why variants of so different sizes are alike.",
    )


def _masked(
    plan: Plan, name: str, title: str, lines: Mapping[str, tuple[Data, str]]
) -> tuple[Table, dict[str, dict[str, Trials]]]:
    """A row for each line, a column for each mask of the soft model's capabilities.

    Args:
        plan: of the experiment.
        name: of the table.
        title: of the table.
        lines: on which data which row is read.
    """
    scores = {
        line: {
            mask_title(gates): row_of(reports_of(plan, "soft", data, gates=gates), row)
            for gates in (*MASKS, None)
        }
        for line, (data, row) in lines.items()
    }
    columns = [mask_title(gates) for gates in (*MASKS, None)]
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (line, *(by_mask[column] for column in columns)) for line, by_mask in scores.items()
    )
    return Table(name, title, ("task", *columns), rows), scores


def _table5(plan: Plan, folder: Path) -> Contents:
    lines: dict[str, tuple[Data, str]] = {name: (name, name) for name in CAPABILITIES}
    table, scores = _masked(
        plan, "table5", "F1 of capability tasks; gates are 1 for the named, 0 for the others", lines
    )
    bar_figure(
        folder / "figures" / "table5", scores, title="Capability tasks by active experts", y_label="F1"
    )
    return Contents((table,), tuple(readings.dominance_claims(scores)), ("figures/table5",))


def _table6(plan: Plan, folder: Path) -> Contents:
    lines: dict[str, tuple[Data, str]] = {row: ("test", row) for row in HEADLINE_ROWS}
    table, scores = _masked(
        plan, "table6", "F1 of extraction; gates are 1 for the named, 0 for the others", lines
    )
    bar_figure(folder / "figures" / "table6", scores, title="Extraction by active experts", y_label="F1")
    return Contents((table,), figures=("figures/table6",))


def _figure5(plan: Plan, folder: Path) -> Contents:
    percent = LOW_RESOURCE_OF_SUB_EXPERTS
    lines: dict[str, dict[int, Trials]] = {"supervised": {}, f"{percent} % of the data": {}, "zero-shot": {}}
    for number in plan.workspace.scale.sub_experts:
        name = f"sub-experts-{number}"
        found = (
            reports_of(plan, name),
            reports_of(plan, name, percent=percent),
            reports_of(plan, name, "zero-shot"),
        )
        for line, reports in zip(lines.values(), found, strict=True):
            line[number] = mean_of(reports)
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (number, *(line[number] for line in lines.values())) for number in plan.workspace.scale.sub_experts
    )
    line_figure(
        folder / "figures" / "figure5", lines, title="Sub-experts", x_label="sub-experts", y_label="mean F1"
    )
    table = Table("figure5", "Mean F1 by the number of sub-experts", ("sub-experts", *lines), rows)
    return Contents((table,), figures=("figures/figure5",))


def _figure6(plan: Plan, folder: Path) -> Contents:
    routed = {}
    shares: dict[str, dict[str, list[float]]] = {}
    panels: dict[str, list[list[float]]] = {}
    columns: list[str] = []
    for name in ROUTED:
        trainings = [routed_training(plan, name, seed) for seed in range(plan.num_seeds)]
        jobs = [Routing(one) for one in trainings if one is not None]
        found = [plan.workspace.result(job) for job in jobs if plan.workspace.state(job) == "finished"]
        shares[name] = {}
        for routing in found:
            for capability, share in largest_shares(routing).items():
                shares[name].setdefault(capability, []).append(100 * share)
        if found:
            routed[VARIANTS[name].title] = found[0]
            panels[VARIANTS[name].title] = mean_weights(found[0])
            num_experts = len(found[0]["tasks"][next(iter(found[0]["tasks"]))]["weights"][0][0])
            columns = [f"{one[0].upper()}{place + 1}" for one in CAPABILITIES for place in range(num_experts)]
    rows: tuple[tuple[Cell, ...], ...] = tuple(
        (VARIANTS[name].title, *(Trials(tuple(by_capability.get(one, ()))) for one in CAPABILITIES))
        for name, by_capability in shares.items()
    )
    table = Table(
        "figure6",
        "Largest share of a sub-expert in its capability, per cent, mean over linears and tasks (evenly: 25)",
        ("variant", *CAPABILITIES),
        rows,
    )
    tasks = list(next(iter(routed.values()))["tasks"]) if routed else []
    heat_figure(
        folder / "figures" / "figure6",
        panels,
        rows=tasks,
        columns=columns,
        title="Weights of the sub-experts",
    )
    if routed:
        write_explorer(plan.workspace.folder / "explorer", routed)
    return Contents((table,), figures=("figures/figure6",))


def _cost(plan: Plan, _folder: Path) -> Contents:
    job = Cost()
    headings = (
        "variant",
        "trainable parameters",
        "training step, ms",
        "of LoRA at equal rank",
        "of LoRA at equal parameters",
        "kept for the backward, MB",
        "extraction, ms a text",
    )
    if plan.workspace.state(job) != "finished":
        return Contents((Table("cost", "Time and memory", headings, ()),))
    result = plan.workspace.result(job)
    variants = result["variants"]
    rows: tuple[tuple[Cell, ...], ...] = tuple(
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
    )
    title = (
        f"Medians, interleaved, {result['device']}; a batch of {result['rows']} x {result['tokens']} tokens"
    )
    return Contents((Table("cost", title, headings, rows),))


CONTENTS: Mapping[str, Callable[[Plan, Path], Contents]] = {
    "table1": _table1,
    "table2": _table2,
    "table3": _table3,
    "table4": _table4,
    "table5": _table5,
    "table6": _table6,
    "figure5": _figure5,
    "figure6": _figure6,
    "longer": _longer,
    "cost": _cost,
}
"""By the name of the experiment; each writes its figures into the folder that it is given."""
