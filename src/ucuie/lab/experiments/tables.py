"""Scores over trials, made of reports, as cells of tables and in CSV and JSON."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean, stdev

from ucuie.metrics import HEADLINE_ROWS, Report
from ucuie.schema import CAPABILITIES
from ucuie.templates import Table

NOT_GIVEN = "not given"
"""Of numbers of the paper that this project does not know."""


@dataclass(frozen=True)
class Trials:
    """One number in several trials; none of them where nothing is finished."""

    values: tuple[float, ...]
    decimals: int = 1

    @property
    def mean(self) -> float | None:
        """The mean over trials."""
        return fmean(self.values) if self.values else None

    @property
    def deviation(self) -> float | None:
        """The sample standard deviation; None for fewer than two trials."""
        return stdev(self.values) if len(self.values) > 1 else None

    def __str__(self) -> str:
        if not self.values:
            return "missing"
        spread = "" if self.deviation is None else f" ± {self.deviation:.{self.decimals}f}"
        return f"{fmean(self.values):.{self.decimals}f}{spread}"


def headline(report: Report) -> float:
    """The unweighted mean F1 over data sets and their rows, in per cent; capability tasks count as rows."""
    scores = [one.counts.f1 for one in report.scores if one.row in (*HEADLINE_ROWS, *CAPABILITIES)]
    return sum(scores) / len(scores) if scores else 0.0


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


def to_csv(table: Table) -> str:
    """The table as CSV; of trials the mean, the deviation and their number in three columns."""
    are_trials = [
        any(isinstance(row[index], Trials) for row in table.rows) for index in range(len(table.columns))
    ]
    columns: list[str] = []
    for heading, is_wide in zip(table.columns, are_trials, strict=True):
        columns += [heading, f"{heading} deviation", f"{heading} trials"] if is_wide else [heading]
    rows: list[list[object]] = []
    for row in table.rows:
        rows.append([])
        for cell, is_wide in zip(row, are_trials, strict=True):
            if isinstance(cell, Trials):
                rows[-1] += [cell.mean, cell.deviation, len(cell.values)]
            else:
                rows[-1] += [cell, None, None] if is_wide else [cell]
    return Table(columns, rows).to_csv()


def to_json(table: Table) -> str:
    """The table as JSON, every trial's number included."""
    rows = [dict(zip(table.columns, map(_plain, row), strict=True)) for row in table.rows]
    return json.dumps({"title": table.title, "rows": rows}, indent=1, ensure_ascii=False) + "\n"


def _plain(cell: object) -> object:
    if isinstance(cell, Trials):
        return asdict(cell) | {"mean": cell.mean, "deviation": cell.deviation}
    return cell
