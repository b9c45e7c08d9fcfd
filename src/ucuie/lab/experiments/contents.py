"""What the page of each experiment shows: its tables, its figure, and sentences made from them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ucuie.lab.experiments import readings
from ucuie.lab.experiments.definitions import (
    LOW_RESOURCE_OF_SUB_EXPERTS,
    ROUTED,
    ROUTERS,
    Plan,
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
from ucuie.lab.experiments.tables import NOT_GIVEN, Trials
from ucuie.lab.experiments.trials import MASKS, Cost, Data, Evaluation, RoutingTrial, Training, mask_title
from ucuie.lab.experiments.variants import LONGER, TIMES_LONGER, VARIANTS
from ucuie.metrics import HEADLINE_ROWS, Report
from ucuie.schema import CAPABILITIES
from ucuie.templates import Table

_NO_PAPER = (
    "The paper's own numbers for this experiment are not part of this project's sources, so none stand here; "
    "they would come from another backbone and other data in any case."
)
_Rows = list[tuple[object, ...]]


@dataclass(frozen=True)
class Contents:
    """What an experiment's page shows.

    Args:
        tables: in order, by the names of their files.
        claims: sentences made from the numbers, one a line.
        figure: matplotlib's, or None for a page without a picture.
        paper: what is known of the paper's numbers.
    """

    tables: Mapping[str, Table]
    claims: Sequence[str] = ()
    figure: Any = None
    paper: str = _NO_PAPER


def _by_set(columns: Mapping[str, Sequence[Report]], title: str) -> Table:
    """A row for each data set and row, a column for each variant."""
    rows: _Rows = [
        (*place, *(place_of(reports, place) for reports in columns.values())) for place in places_of(columns)
    ]
    rows.append(("all", "mean F1", *map(mean_of, columns.values())))
    return Table(("data set", "row", *columns), rows, title)


def _table1(plan: Plan) -> Contents:
    columns = {VARIANTS[name].title: reports_of(plan, name) for name in ROUTERS}
    return Contents({"table1": _by_set(columns, "F1 by data set")})


def _table2(plan: Plan) -> Contents:
    rows: _Rows = []
    lines: dict[str, dict[int, Trials]] = {VARIANTS[name].title: {} for name in ROUTERS}
    for percent in plan.workspace.scale.percents:
        for name in ROUTERS:
            title = VARIANTS[name].title
            reports = reports_of(plan, name, percent=percent)
            lines[title][percent] = mean_of(reports)
            by_row = (row_of(reports, row) for row in HEADLINE_ROWS)
            rows.append((f"{percent} %", title, mean_of(reports), *by_row))
    columns = ("training texts", "variant", "mean F1", *HEADLINE_ROWS)
    x_label = "per cent of the training split"
    return Contents(
        {"table2": Table(columns, rows, "Low-resource F1, equal numbers of steps")},
        figure=line_figure(lines, title="Low-resource extraction", x_label=x_label, y_label="mean F1"),
    )


def _table3(plan: Plan) -> Contents:
    columns = {
        "with paraphrased instructions": reports_of(plan, "soft", "zero-shot"),
        "without": reports_of(plan, "no-paraphrase", "zero-shot"),
    }
    return Contents({"table3": _by_set(columns, "F1 on sets that were never trained on")})


def _table4(plan: Plan) -> Contents:
    reports = {name: reports_of(plan, name) for name in plan.variants}
    tables = {"table4": _ablations(plan, reports), "table4-sets": _ablations_by_set(reports)}
    if len(plan.workspace.scale.learning_rates) > 1:
        tables["table4-tuning"] = _tuning(plan)
    bars = {"mean F1": {name: mean_of(of_variant) for name, of_variant in reports.items()}}
    return Contents(
        tables,
        claims=(
            *readings.ordering_claims(plan),
            "",
            (
                "Intervals are percentiles of 1,000 resamples of the texts, the same for both variants, and "
                "of the trials of each variant. With three seeds or fewer they say little about other seeds."
            ),
        ),
        figure=bar_figure(bars, title="Ablations", y_label="mean F1"),
        paper="Known of the paper are the order soft > hard > no shared expert > LoRA-MoE > LoRA, that each "
        "optimisation ablation hurts, and 84,616,608 trainable parameters (1.240 %) on LLaMA-2-7B, which the "
        "same adapter has here (`ucuie bench adapter`). Its F1 of each variant is "
        f"{NOT_GIVEN} in this project's sources.",
    )


def _ablations(plan: Plan, reports: Mapping[str, Sequence[Report]]) -> Table:
    rows: _Rows = []
    for name, of_variant in reports.items():
        results = [plan.workspace.result(one) for one in finished_trainings(plan, name)]
        rate = plan.learning_rate(name)
        rows.append(
            (
                VARIANTS[name].title,
                mean_of(of_variant),
                *(row_of(of_variant, row) for row in HEADLINE_ROWS),
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
            reports = [
                [plan.workspace.report(one)] if plan.workspace.state(one) == "finished" else []
                for one in tests
            ]
            rows.append((VARIANTS[name].title, *map(mean_of, reports)))
    columns = ("variant", *(f"rate {rate:g}" for rate in rates))
    return Table(columns, rows, "Choice of the learning rate: mean F1 on validation texts")


def _longer(plan: Plan) -> Contents:
    rows: _Rows = []
    lines: dict[str, dict[int, Trials]] = {VARIANTS[name].title: {} for name in LONGER}
    for name in LONGER:
        title = VARIANTS[name].title
        for variant, times in ((name, 1), (f"{name}-longer", TIMES_LONGER)):
            trainings = finished_trainings(plan, variant)
            lines[title][times] = mean_of(reports_of(plan, variant))
            losses = [plan.workspace.final_loss(one) for one in trainings]
            known = Trials(tuple(loss for loss in losses if loss is not None), decimals=3)
            loss = known if known.values or not losses else "not logged"
            parameters = [plan.workspace.result(one)["trainable_parameters"] for one in trainings]
            rows.append((title, parameters[0] if parameters else None, times, lines[title][times], loss))
    columns = ("variant", "trainable parameters", "times the steps", "mean F1", "last training loss, nats")
    return Contents(
        {"longer": Table(columns, rows, "Mean F1 by the length of the second stage")},
        figure=line_figure(lines, title="Longer training", x_label="times the steps", y_label="mean F1"),
        paper="The paper has no such experiment. It asks why variants of so different sizes are alike.",
    )


def _masked(plan: Plan, lines: Mapping[str, tuple[Data, str]]) -> dict[str, dict[str, Trials]]:
    """The F1 of each line (on which data which row is read) under each mask of the soft model's experts."""
    return {
        line: {
            mask_title(gates): row_of(reports_of(plan, "soft", data, gates=gates), row)
            for gates in (*MASKS, None)
        }
        for line, (data, row) in lines.items()
    }


def _mask_table(scores: Mapping[str, Mapping[str, Trials]], tasks: str) -> Table:
    columns = [mask_title(gates) for gates in (*MASKS, None)]
    rows = [(line, *by_mask.values()) for line, by_mask in scores.items()]
    return Table(("task", *columns), rows, f"F1 of {tasks}; gates are 1 for the named, 0 for the others")


def _table5(plan: Plan) -> Contents:
    scores = _masked(plan, {name: (name, name) for name in CAPABILITIES})
    return Contents(
        {"table5": _mask_table(scores, "capability tasks")},
        claims=readings.dominance_claims(scores),
        figure=bar_figure(scores, title="Capability tasks by active experts", y_label="F1"),
    )


def _table6(plan: Plan) -> Contents:
    scores = _masked(plan, {row: ("test", row) for row in HEADLINE_ROWS})
    return Contents(
        {"table6": _mask_table(scores, "extraction")},
        figure=bar_figure(scores, title="Extraction by active experts", y_label="F1"),
    )


def _figure5(plan: Plan) -> Contents:
    percent = LOW_RESOURCE_OF_SUB_EXPERTS
    lines: dict[str, dict[int, Trials]] = {"supervised": {}, f"{percent} % of the data": {}, "zero-shot": {}}
    numbers = plan.workspace.scale.sub_experts
    for number in numbers:
        name = f"sub-experts-{number}"
        found = (
            reports_of(plan, name),
            reports_of(plan, name, percent=percent),
            reports_of(plan, name, "zero-shot"),
        )
        for line, reports in zip(lines.values(), found, strict=True):
            line[number] = mean_of(reports)
    rows = [(number, *(line[number] for line in lines.values())) for number in numbers]
    return Contents(
        {"figure5": Table(("sub-experts", *lines), rows, "Mean F1 by the number of sub-experts")},
        figure=line_figure(lines, title="Sub-experts", x_label="sub-experts", y_label="mean F1"),
    )


def _figure6(plan: Plan) -> Contents:
    routed = {}
    rows: _Rows = []
    for name in ROUTED:
        trainings = [routed_training(plan, name, seed) for seed in range(plan.num_seeds)]
        jobs = [RoutingTrial(one) for one in trainings if one is not None]
        found = [plan.workspace.result(job) for job in jobs if plan.workspace.state(job) == "finished"]
        shares = [largest_shares(routing) for routing in found]
        by_capability = (
            Trials(tuple(100 * one[capability] for one in shares)) for capability in CAPABILITIES
        )
        rows.append((VARIANTS[name].title, *by_capability))
        if found:
            routed[VARIANTS[name].title] = found[0]
    if routed:
        write_explorer(plan.workspace.folder / "explorer", routed)
    title = (
        "Largest share of a sub-expert in its capability, per cent, mean over linears and tasks (evenly: 25)"
    )
    return Contents(
        {"figure6": Table(("variant", *CAPABILITIES), rows, title)}, figure=_weights_figure(routed)
    )


def _weights_figure(routed: Mapping[str, Mapping[str, Any]]) -> Any:
    """The mean weights of the sub-experts, by task and variant."""
    tasks: dict[str, Any] = next(iter(routed.values()))["tasks"] if routed else {}
    num_experts = len(next(iter(tasks.values()))["weights"][0][0]) if tasks else 0
    return heat_figure(
        {name: mean_weights(routing) for name, routing in routed.items()},
        rows=list(tasks),
        columns=[f"{one[0].upper()}{place + 1}" for one in CAPABILITIES for place in range(num_experts)],
        title="Weights of the sub-experts",
    )


def _cost(plan: Plan) -> Contents:
    columns = (
        *("variant", "trainable parameters", "training step, ms", "of LoRA at equal rank"),
        *("of LoRA at equal parameters", "kept for the backward, MB", "extraction, ms a text"),
    )
    job = Cost()
    if plan.workspace.state(job) != "finished":
        return Contents({"cost": Table(columns, (), "Time and memory")})
    result = plan.workspace.result(job)
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
    return Contents({"cost": Table(columns, rows, f"Medians, interleaved, {result['device']}; {batch}")})


CONTENTS: Mapping[str, Callable[[Plan], Contents]] = {
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
"""By the name of the experiment."""
