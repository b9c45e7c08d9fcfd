"""Pictures, as SVG files that any browser shows: of a data set's statistics, and of how true scores are."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from ucuie.data.statistics import FIRST_STEP, Statistics
from ucuie.render import svg
from ucuie.render.svg import picture, rectangle, text
from ucuie.schema import ELEMENT_KINDS

if TYPE_CHECKING:
    from ucuie.evaluation.calibrate import CalibrationReport, ErrorRow

_COLOURS: Mapping[str, str] = {"train": "#4c78a8", "validation": "#e39c37", "test": "#54a24b"}
_BAR, _GAP = 9, 8
_NAMES, _BARS, _NUMBERS = 240, 420, 80
_MAX_LABELS = 60

_Panel = tuple[str, Sequence[tuple[str, Sequence[int]]]]
"""A heading, and lines of a name with a number for each split."""


def statistics_plot(statistics: Statistics, *, title: str) -> str:
    """Bars for the records of each label, the most frequent first, and for the texts of each length.

    Of more than 60 labels the rest is one line.
    """
    panels: list[_Panel] = [
        ("records by label", _label_lines(statistics)),
        ("texts by length in characters", _length_lines(statistics)),
    ]
    parts: list[str] = []
    y = 30.0
    for x, split in zip((0, 120, 260), statistics.splits, strict=False):
        parts.append(_bar(_NAMES + x, y, 10, split))
        examples = statistics.splits[split].examples
        parts.append(text(_NAMES + x + 16, y + 9, f"{split}: {examples:,}"))
    for heading, lines in panels:
        y += 40
        parts.append(text(0, y, heading, weight="bold"))
        y += 14
        highest = max((number for _, numbers in lines for number in numbers), default=0) or 1
        for name, numbers in lines:
            middle = y + _BAR * len(numbers) / 2 + 4
            parts.append(text(_NAMES - 8, middle, _shortened(name), anchor="end"))
            for split, number in zip(statistics.splits, numbers, strict=True):
                width = _BARS * number / highest
                parts.append(_bar(_NAMES, y, width, split))
                parts.append(text(_NAMES + width + 4, y + _BAR - 1, f"{number:,}", size=9))
                y += _BAR
            y += _GAP
    return picture(parts, width=_NAMES + _BARS + _NUMBERS, height=round(y) + 20, title=title)


def _label_lines(statistics: Statistics) -> list[tuple[str, list[int]]]:
    splits = statistics.splits.values()
    names = {name for split in splits for name in split.records}
    lines = [(name, [split.records.get(name, 0) for split in splits]) for name in names]
    lines.sort(key=lambda line: (-sum(line[1]), line[0]))
    rest = lines[_MAX_LABELS:]
    if rest:
        sums = [sum(column) for column in zip(*(numbers for _, numbers in rest), strict=True)]
        return [*lines[:_MAX_LABELS], (f"{len(rest):,} more labels", sums)]
    return lines


def _length_lines(statistics: Statistics) -> list[tuple[str, list[int]]]:
    splits = statistics.splits.values()
    num_steps = max((len(split.lengths) for split in splits), default=0)
    lines = []
    for step in range(num_steps):
        first = FIRST_STEP << (step - 1) if step else 0
        numbers = [split.lengths[step] if step < len(split.lengths) else 0 for split in splits]
        lines.append((f"{first:,} to {(FIRST_STEP << step) - 1:,}", numbers))
    return lines


def _shortened(name: str) -> str:
    return name if len(name) <= 38 else f"{name[:37]}…"


def _bar(x: float, y: float, width: float, split: str) -> str:
    return rectangle(x, y, width, _BAR, _COLOURS[split])


_PANEL, _BETWEEN = 150, 40
_RAW, _CALIBRATED, _PERFECT = "#b0b0b0", "#4c78a8", "#d8d8d8"


def reliability_plot(report: "CalibrationReport") -> str:
    """An SVG picture: for each kind and task how often scores of a height are right, before and after.

    On the diagonal scores are what they say.
    """
    rows = [row for row in report.rows if row.dataset is None and row.task is not None]
    by_kind = {kind: [row for row in rows if row.kind == kind] for kind in ELEMENT_KINDS}
    parts = [
        svg.dot(6, 36, _RAW), svg.text(14, 40, "raw"),
        svg.dot(66, 36, _CALIBRATED), svg.text(74, 40, "calibrated, cross-validated"),
    ]  # fmt: skip
    top = 75
    for kind, panels in by_kind.items():
        for index, row in enumerate(panels):
            parts += _panel(row, 30 + index * (_PANEL + _BETWEEN), top, f"{kind}, {row.task}")
        top += (_PANEL + 2 * _BETWEEN) if panels else 0
    width = 30 + max(map(len, by_kind.values()), default=1) * (_PANEL + _BETWEEN)
    return svg.picture(
        parts, width=max(width, 400), height=top, title="share of right ones (up) by score (right)"
    )


def _panel(row: "ErrorRow", left: float, top: float, heading: str) -> Iterator[str]:
    def place(score: float, accuracy: float) -> tuple[float, float]:
        return left + _PANEL * score, top + _PANEL * (1 - accuracy)

    yield svg.text(left, top - 8, heading, weight="bold")
    yield svg.line([place(0, 0), place(0, 1), place(1, 1), place(1, 0), place(0, 0)], _PERFECT)
    yield svg.line([place(0, 0), place(1, 1)], _PERFECT, is_dashed=True)
    for bins, colour in ((row.bins_before, _RAW), (row.bins_after, _CALIBRATED)):
        points = [place(one.mean_score, one.accuracy) for one in bins]
        yield svg.line(points, colour)
        yield from (svg.dot(x, y, colour) for x, y in points)
    yield svg.text(left, top + _PANEL + 13, "0", size=9)
    yield svg.text(left + _PANEL, top + _PANEL + 13, "1", size=9, anchor="end")
    error = f"{100 * row.ece_before:.1f} -> {100 * row.ece_after:.1f} %"
    yield svg.text(left + _PANEL / 2, top + _PANEL + 13, error, size=9, anchor="middle")
