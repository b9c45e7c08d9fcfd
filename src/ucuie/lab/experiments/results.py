"""What finished trials gave: reports of a variant, their means over seeds, and the routing in numbers.

Nothing is missing by mistake: a trial that is not finished has no report, and its cell says so.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from ucuie.lab.experiments.definitions import Plan, headline
from ucuie.lab.experiments.tables import Trials
from ucuie.lab.experiments.trials import Data, Evaluation, Gates, Training
from ucuie.metrics import HEADLINE_ROWS, Report
from ucuie.schema import CAPABILITIES


def finished_trainings(plan: Plan, variant: str) -> list[Training]:
    """Those of a variant with its learning rate, by seed."""
    return [one for one in plan.trainings(variant) if plan.workspace.state(one) == "finished"]


def finished_evaluations(
    plan: Plan, variant: str, data: Data = "test", *, gates: Gates | None = None, percent: int | None = None
) -> list[Evaluation]:
    """Those of a variant's models, by seed."""
    evaluations = [Evaluation(one, data, gates) for one in plan.trainings(variant, percent=percent)]
    return [one for one in evaluations if plan.workspace.state(one) == "finished"]


def reports_of(
    plan: Plan, variant: str, data: Data = "test", *, gates: Gates | None = None, percent: int | None = None
) -> list[Report]:
    """The finished reports of a variant, by seed."""
    found = finished_evaluations(plan, variant, data, gates=gates, percent=percent)
    return list(map(plan.workspace.report, found))


def mean_of(reports: Sequence[Report]) -> Trials:
    """The mean F1 of each."""
    return Trials(tuple(map(headline, reports)))


def row_of(reports: Sequence[Report], row: str) -> Trials:
    """The mean F1 of each in one row, over data sets."""
    return Trials(tuple(report.mean_f1(row) for report in reports if report.of(row)))


def places_of(reports: Mapping[str, Sequence[Report]]) -> list[tuple[str, str]]:
    """(data set, row) of all that is in a mean."""
    first = next((one[0] for one in reports.values() if one), None)
    if first is None:
        return []
    return sorted({(one.dataset, one.row) for one in first.scores if one.row in HEADLINE_ROWS})


def place_of(reports: Sequence[Report], place: tuple[str, str]) -> Trials:
    """The F1 of each in a row of a data set."""
    dataset, row = place
    found = [[one.counts.f1 for one in report.of(row) if one.dataset == dataset] for report in reports]
    return Trials(tuple(one[0] for one in found if one))


def largest_shares(routing: Mapping[str, Any]) -> dict[str, float]:
    """For each capability the largest mean weight of a sub-expert in a linear, over all linears and tasks."""
    tasks: Mapping[str, Mapping[str, list[list[list[float]]]]] = routing["tasks"]
    shares: dict[str, float] = {}
    for index, capability in enumerate(CAPABILITIES):
        largest = [max(linear[index]) for task in tasks.values() for linear in task["weights"]]
        shares[capability] = sum(largest) / len(largest)
    return shares


def mean_weights(routing: Mapping[str, Any]) -> list[list[float]]:
    """A line for each task: the mean over linears of the weight of every sub-expert."""
    return [
        [sum(column) / len(column) for column in zip(*flat(task["weights"]), strict=True)]
        for task in routing["tasks"].values()
    ]


def flat(weights: list[list[list[float]]]) -> list[list[float]]:
    """The weights of each linear, or token, in a row: all sub-experts of one capability after the other."""
    return [[value for capability in one for value in capability] for one in weights]
