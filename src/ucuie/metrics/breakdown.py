"""A score taken apart: labels, confidence intervals, confusions and every mistake, as data, text or a page.

`break_down` counts, `render_text` is for terminals and logs, `render_page` one HTML file that needs no other;
`write_breakdown` writes all three.
"""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from ucuie.files import staged_files, write_text
from ucuie.metrics.counts import Counts
from ucuie.metrics.mistakes import KINDS, Mistake, Mistakes, find_mistakes
from ucuie.metrics.report import Report, RowScore, placing_ceiling, score
from ucuie.metrics.uncertainty import Interval, bootstrap
from ucuie.schema import Example, Record, Span
from ucuie.templates import load_template

_TEMPLATE = Path(__file__).with_name("breakdown.html.jinja")
_MAX_CONFUSIONS = 20
_MAX_LISTED_OF_A_KIND = 5
_MAX_MISTAKES_OF_A_KIND = 200
_CONTEXT = 60
"""Characters of the text shown before and after a mistake."""
_NUMBER = re.compile(r"[\d,]+(\.\d+)?")


@dataclass(frozen=True)
class Breakdown:
    """What there is to know about some predictions.

    Args:
        reports: the scores under each scorer, with those of every label.
        intervals: of the F1 of every row, under the first scorer.
        mistakes: by spans, whatever the scorer.
        ceiling: what perfect predictions without offsets would score, under `offset`.
    """

    reports: tuple[Report, ...]
    intervals: tuple[Interval, ...]
    mistakes: Mistakes
    ceiling: Report

    @property
    def report(self) -> Report:
        """The scores under the first scorer."""
        return self.reports[0]

    def ceiling_of(self, interval: Interval) -> float | None:
        """What placing alone lets the row of an interval reach, in per cent; None under another scorer."""
        if self.report.scorer != "offset":
            return None
        scores = self.ceiling.of(interval.row, task=interval.task)
        by_dataset = {score.dataset: score.counts.f1 for score in scores}
        if interval.dataset is None:
            return self.ceiling.mean_f1(interval.row, task=interval.task)
        return by_dataset[interval.dataset]

    @property
    def comparison(self) -> list[tuple[str, str, str, list[float | None]]]:
        """(task, row, data set, F1 under each scorer); None where a scorer knows no such row."""
        f1 = {
            (one.task, one.row, one.dataset, report.scorer): one.counts.f1
            for report in self.reports
            for one in report.scores
        }
        places = dict.fromkeys(place[:3] for place in f1)
        return [(*place, [f1.get((*place, report.scorer)) for report in self.reports]) for place in places]

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain values."""
        return {
            "scores": [report.to_dict() for report in self.reports],
            "placing_ceiling": self.ceiling.to_dict(),
            "intervals": [asdict(interval) for interval in self.intervals],
            "mistakes": self.mistakes.to_dict(),
        }


def break_down(
    examples: Iterable[Example],
    predictions: Iterable[Sequence[Record]],
    *,
    scorers: Sequence[str] = ("offset",),
    resamples: int = 1000,
    seed: int = 0,
) -> Breakdown:
    """Scores, the 95 % confidence intervals of the first scorer, and all mistakes of some predictions.

    Args:
        examples: gold.
        predictions: one sequence of records for each example.
        scorers: names in `SCORERS`, at least one.
        resamples: of the intervals.
        seed: of the intervals.

    Raises:
        ConfigError: there is no such scorer.
        ValueError: there are more examples than predictions, or fewer.
    """
    examples, predictions = list(examples), list(predictions)
    return Breakdown(
        reports=tuple(score(examples, predictions, scorer=scorer) for scorer in scorers),
        intervals=bootstrap(examples, predictions, scorer=scorers[0], resamples=resamples, seed=seed),
        mistakes=find_mistakes(examples, predictions),
        ceiling=placing_ceiling(examples),
    )


def write_breakdown(found: Breakdown, folder: Path, *, title: str) -> None:
    """Writes `breakdown.json`, `breakdown.txt` and `breakdown.html` into a folder, all of them or none."""
    content = json.dumps(found.to_dict(), indent=1, ensure_ascii=False) + "\n"
    with staged_files(folder, last="breakdown.json") as staging:
        write_text(staging / "breakdown.json", content)
        write_text(staging / "breakdown.txt", render_text(found))
        write_text(staging / "breakdown.html", render_page(found, title=title))


def render_text(found: Breakdown) -> str:
    """Tables of plain text, and of each kind of mistake the first five."""
    parts = []
    if len(found.reports) > 1:
        parts += ["F1 % by scorer", _comparison_table(found)]
    parts.append(
        f"scorer: {found.report.scorer}, F1 with 95 % confidence intervals; "
        "ceiling: F1 of the gold placed again by its strings"
    )
    parts.append(_interval_table(found))
    for row in found.report.scores:
        parts += [f"{row.task}, {row.row}, {row.dataset or '-'}", _label_table(row)]
    parts += [_kind_table(found.mistakes), _confusion_table(found.mistakes)]
    parts += _listed_mistakes(found.mistakes)
    return "\n\n".join(parts) + "\n"


def _comparison_table(found: Breakdown) -> str:
    return _aligned(
        ["task", "row", "data set", *(report.scorer for report in found.reports)],
        [[task, row, dataset or "-", *map(_or_dash, f1)] for task, row, dataset, f1 in found.comparison],
    )


def _interval_table(found: Breakdown) -> str:
    rows = []
    for one in found.intervals:
        numbers = (*_rounded(one.f1, one.low, one.high), _or_dash(found.ceiling_of(one)))
        rows.append([one.task, one.row, _name_of(one), *numbers])
    return _aligned(["task", "row", "data set", "F1 %", "low", "high", "ceiling"], rows)


def _label_table(row: RowScore) -> str:
    return _aligned(
        ["label", "precision %", "recall %", "F1 %", "gold", "predicted", "matched"],
        [[label, *_numbers(counts)] for label, counts in _labels(row)],
    )


def _kind_table(mistakes: Mistakes) -> str:
    kinds = [("right", mistakes.right), *mistakes.kinds.items()]
    return _aligned(["findings", "count"], [[kind, f"{count:,}"] for kind, count in kinds])


def _confusion_table(mistakes: Mistakes) -> str:
    rows = [
        [gold, predicted, f"{count:,}"] for (gold, predicted), count in mistakes.confusions[:_MAX_CONFUSIONS]
    ]
    return _aligned(["gold", "predicted", "count"], rows)


def _listed_mistakes(mistakes: Mistakes) -> list[str]:
    """The first mistakes of each kind, a line each."""
    parts = []
    for kind in KINDS:
        of_kind = [one for one in mistakes.mistakes if one.kind == kind]
        if of_kind:
            rows = [[one.example.id, *one.labels, _marked(one)] for one in of_kind[:_MAX_LISTED_OF_A_KIND]]
            table = _aligned(["id", "gold", "predicted", "[gold] {predicted}"], rows)
            more = len(of_kind) - len(rows)
            parts.append(f"{kind}\n{table}" + (f"\nand {more:,} more" if more else ""))
    return parts


def _marked(mistake: Mistake) -> str:
    """The text around a mistake in one line, gold in square brackets, predictions in braces."""
    marks = {"": "{}", "gold": "[{}]", "predicted": "{{{}}}", "both": "[{{{}}}]"}
    pieces = (marks[name].format(piece) for name, piece in mistake_pieces(mistake))
    return " ".join("".join(pieces).split())


def render_page(found: Breakdown, *, title: str = "Evaluation") -> str:
    """One HTML page with everything in it; of each kind of mistake the first 200."""
    mistakes = found.mistakes.mistakes
    by_kind = {kind: [one for one in mistakes if one.kind == kind] for kind in KINDS}
    return load_template(_TEMPLATE).render(
        title=title,
        found=found,
        labels=_labels,
        numbers=_numbers,
        rounded=_rounded,
        or_dash=_or_dash,
        name_of=_name_of,
        by_kind=by_kind,
        maximum=_MAX_MISTAKES_OF_A_KIND,
        pieces=mistake_pieces,
        matrix=_matrix(found.mistakes),
    )


def mistake_pieces(mistake: Mistake) -> list[tuple[str, str]]:
    """The text around a mistake in pieces, each with its class: "", "gold", "predicted" or "both"."""
    spans: list[Span] = [one.span for one in (mistake.gold, mistake.predicted) if one is not None]
    text = mistake.example.text
    start = max(0, min(span[0] for span in spans) - _CONTEXT)
    end = min(len(text), max(span[1] for span in spans) + _CONTEXT)
    borders = sorted({start, end, *(offset for span in spans for offset in span)})
    pieces = [("", "…")] if start else []
    for left, right in pairwise(borders):
        names = [
            name
            for name, one in (("gold", mistake.gold), ("predicted", mistake.predicted))
            if one is not None and one.span[0] <= left and right <= one.span[1]
        ]
        pieces.append(("both" if len(names) == 2 else "".join(names), text[left:right]))
    return pieces + ([("", "…")] if end < len(text) else [])


def _labels(row: RowScore) -> list[tuple[str, Counts]]:
    """The labels of a row, those with most gold first."""
    return sorted(row.labels.items(), key=lambda item: (-item[1].gold, item[0]))


def _matrix(mistakes: Mistakes) -> tuple[list[str], list[list[int]]]:
    """The labels that were confused, and how often each (gold, predicted) pair came."""
    names = sorted({name for pair, _ in mistakes.confusions for name in pair})
    return names, [[mistakes.confusion[gold, predicted] for predicted in names] for gold in names]


def _numbers(counts: Counts) -> list[str]:
    whole = (counts.gold, counts.predicted, counts.matched)
    return [*_rounded(counts.precision, counts.recall, counts.f1), *(f"{number:,}" for number in whole)]


def _rounded(*numbers: float) -> list[str]:
    return [f"{number:.2f}" for number in numbers]


def _or_dash(number: float | None) -> str:
    return "-" if number is None else f"{number:.2f}"


def _name_of(interval: Interval) -> str:
    return "mean" if interval.dataset is None else interval.dataset or "-"


def _aligned(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table: numbers to the right, words to the left."""
    columns = list(zip(headings, *rows, strict=True))
    widths = [max(map(len, column)) for column in columns]
    is_number = [
        bool(rows) and all(cell == "-" or _NUMBER.fullmatch(cell) for cell in column[1:])
        for column in columns
    ]
    lines = (
        "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(line, widths, is_number, strict=True)
        )
        for line in (headings, *rows)
    )
    return "\n".join(line.rstrip() for line in lines)
