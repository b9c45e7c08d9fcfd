"""Statistics as a picture: one SVG file that any browser shows, with a panel of labels and one of lengths."""

from collections.abc import Mapping, Sequence

from ucuie.data.statistics import FIRST_STEP, Statistics
from ucuie.svg import picture, rectangle, text

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
