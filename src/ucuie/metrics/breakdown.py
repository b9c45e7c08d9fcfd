"""A score taken apart: labels, confidence intervals, confusions and every mistake, as data, text or a page.

`break_down` counts, `render_text` is for terminals and logs, `render_page` one HTML file that needs no other.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from ucuie.metrics.counts import Counts
from ucuie.metrics.mistakes import KINDS, Mistake, Mistakes, find_mistakes
from ucuie.metrics.report import Report, RowScore, score
from ucuie.metrics.uncertainty import Interval, bootstrap
from ucuie.schema import Example, Record, Span
from ucuie.templates import load_template

_TEMPLATE = Path(__file__).with_name("breakdown.html.jinja")
_MAX_CONFUSIONS = 20
_MAX_MISTAKES_OF_A_KIND = 200
_CONTEXT = 60
"""Characters of the text shown before and after a mistake."""


@dataclass(frozen=True)
class Breakdown:
    """What there is to know about some predictions.

    Args:
        report: the scores, with those of every label.
        intervals: of the F1 of every row.
        mistakes: by spans, whatever the scorer.
    """

    report: Report
    intervals: tuple[Interval, ...]
    mistakes: Mistakes

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain values."""
        return {
            "report": self.report.to_dict(),
            "intervals": [asdict(interval) for interval in self.intervals],
            "mistakes": self.mistakes.to_dict(),
        }


def break_down(
    examples: Iterable[Example],
    predictions: Iterable[Sequence[Record]],
    *,
    scorer: str = "offset",
    resamples: int = 1000,
    seed: int = 0,
) -> Breakdown:
    """Scores, their 95 % confidence intervals and all mistakes of some predictions.

    Args:
        examples: gold.
        predictions: one sequence of records for each example.
        scorer: a name in `SCORERS`.
        resamples: of the intervals.
        seed: of the intervals.

    Raises:
        ConfigError: there is no such scorer.
        ValueError: there are more examples than predictions, or fewer.
    """
    examples, predictions = list(examples), list(predictions)
    return Breakdown(
        report=score(examples, predictions, scorer=scorer),
        intervals=bootstrap(examples, predictions, scorer=scorer, resamples=resamples, seed=seed),
        mistakes=find_mistakes(examples, predictions),
    )


def render_text(found: Breakdown) -> str:
    """Tables of plain text."""
    parts = [f"scorer: {found.report.scorer}, F1 with 95 % confidence intervals"]
    parts.append(
        _aligned(
            ["task", "row", "data set", "F1 %", "low", "high"],
            [
                [one.task, one.row, one.dataset or "mean", *_rounded(one.f1, one.low, one.high)]
                for one in found.intervals
            ],
        )
    )
    for row in found.report.scores:
        parts.append(f"{row.task}, {row.row}, {row.dataset or '-'}")
        parts.append(
            _aligned(
                ["label", "precision %", "recall %", "F1 %", "gold", "predicted", "matched"],
                [[label, *_numbers(counts)] for label, counts in _labels(row)],
            )
        )
    kinds = [("right", found.mistakes.right), *found.mistakes.kinds.items()]
    parts.append(_aligned(["findings", "count"], [[kind, f"{count:,}"] for kind, count in kinds]))
    parts.append(
        _aligned(
            ["gold", "predicted", "count"],
            [
                [gold, predicted, f"{count:,}"]
                for (gold, predicted), count in found.mistakes.confusions[:_MAX_CONFUSIONS]
            ],
        )
    )
    return "\n\n".join(parts) + "\n"


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


def _aligned(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table: numbers to the right, words to the left."""
    columns = list(zip(headings, *rows, strict=True))
    widths = [max(map(len, column)) for column in columns]
    is_number = [bool(rows) and all(cell[:1].isdigit() for cell in column[1:]) for column in columns]
    lines = (
        "  ".join(
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(line, widths, is_number, strict=True)
        )
        for line in (headings, *rows)
    )
    return "\n".join(line.rstrip() for line in lines)
