"""Pictures, as SVG files that any browser shows: of a data set's statistics, and of how true scores are.

Drawn by matplotlib, which is loaded with the first of them. Equal pictures are equal files.
"""

import io
import warnings
from typing import TYPE_CHECKING, Any

from ucuie.data.statistics import FIRST_STEP, Statistics
from ucuie.errors import needs
from ucuie.schema import ELEMENT_KINDS

if TYPE_CHECKING:
    from ucuie.evaluation.calibrate import CalibrationReport, ErrorRow

EXTRA = "experiments"
_RAW, _CALIBRATED, _PERFECT = "#b0b0b0", "#4c78a8", "#d8d8d8"
_BAR, _PANEL = 0.16, 2.4
"""Inches: the height of a bar, and the sides of a reliability diagram."""
_MAX_LABELS, _MAX_LETTERS = 60, 38
"""The labels with a line of their own, and the letters of a line's name."""


def new_figure(width: float, height: float) -> Any:
    """An empty figure of matplotlib, of so many inches.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    # The object interface: pyplot would keep figures, and ask for a display.
    return needs("matplotlib.figure", EXTRA).Figure(figsize=(width, height), layout="constrained")


def as_svg(figure: Any) -> str:
    """The picture as an `<svg>` element whose words stay words, without a date or random identifiers."""
    from matplotlib import rc_context

    file = io.StringIO()
    with warnings.catch_warnings(), rc_context({"svg.hashsalt": "ucuie", "svg.fonttype": "none"}):
        # Browsers have the letters that matplotlib's own font lacks.
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        figure.savefig(file, format="svg", metadata={"Date": None})
    content = file.getvalue()
    return content[content.index("<svg") :]


def statistics_plot(statistics: Statistics, *, title: str) -> str:
    """Bars for the records of each label, the most frequent first, and for the texts of each length.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    panels = {
        "records by label": _label_lines(statistics),
        "texts by length in characters": _length_lines(statistics),
    }
    splits = statistics.splits
    heights = [_BAR * (len(lines) * (len(splits) + 1) + 3) for lines in panels.values()]
    figure = new_figure(8, sum(heights) + 1)
    figure.suptitle(_plain(title))
    parts = figure.subplots(len(panels), height_ratios=heights)
    for axes, (heading, lines) in zip(parts, panels.items(), strict=True):
        thickness = 1 / (len(splits) + 1)
        for index, (split, found) in enumerate(splits.items()):
            places = [line + index * thickness for line in range(len(lines))]
            numbers = [line[index] for line in lines.values()]
            bars = axes.barh(places, numbers, thickness, label=f"{split}: {found.examples:,}")
            axes.bar_label(bars, fmt="{:,.0f}", padding=2, fontsize=7)
        axes.set_yticks(range(len(lines)), map(_plain, lines))
        axes.set_title(heading, loc="left")
        axes.invert_yaxis()
        axes.margins(x=0.1, y=0.01)
    figure.legend(*parts[0].get_legend_handles_labels(), loc="outside upper right", ncols=3)
    return as_svg(figure)


def _label_lines(statistics: Statistics) -> dict[str, list[int]]:
    splits = statistics.splits.values()
    names = {name for split in splits for name in split.records}
    counts = {name: [split.records.get(name, 0) for split in splits] for name in names}
    ordered = sorted(counts, key=lambda name: (-sum(counts[name]), name))
    lines = {name: counts[name] for name in ordered[:_MAX_LABELS]}
    if rest := [counts[name] for name in ordered[_MAX_LABELS:]]:
        lines[f"{len(rest):,} more labels"] = [sum(column) for column in zip(*rest, strict=True)]
    return lines


def _length_lines(statistics: Statistics) -> dict[str, list[int]]:
    lengths = [split.lengths for split in statistics.splits.values()]
    lines = {}
    for step in range(max(map(len, lengths), default=0)):
        first = FIRST_STEP << (step - 1) if step else 0
        lines[f"{first:,} to {(FIRST_STEP << step) - 1:,}"] = [
            one[step] if step < len(one) else 0 for one in lengths
        ]
    return lines


def _plain(words: str) -> str:
    """Words that are not too long, and no formula to matplotlib."""
    cut = words if len(words) <= _MAX_LETTERS else f"{words[: _MAX_LETTERS - 1]}…"
    return cut.replace("$", r"\$")


def reliability_plot(report: "CalibrationReport") -> str:
    """The share of right ones among scores of a height, before and after, for each kind and task.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    rows = [row for row in report.rows if row.dataset is None and row.task is not None]
    by_kind = [of_kind for kind in ELEMENT_KINDS if (of_kind := [row for row in rows if row.kind == kind])]
    num_columns = max(map(len, by_kind), default=1)
    figure = new_figure(_PANEL * max(num_columns, 2), (_PANEL + 0.4) * max(len(by_kind), 1) + 0.6)
    figure.suptitle("share of right ones (up) by score (right)")
    panels = figure.subplots(max(len(by_kind), 1), num_columns, squeeze=False)
    for line, of_kind in zip(panels, by_kind, strict=False):
        for axes, row in zip(line, of_kind, strict=False):
            _draw_reliability(axes, row)
    for axes in panels.flat:
        axes.set_visible(axes.has_data())
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside lower left", ncols=2)
    return as_svg(figure)


def _draw_reliability(axes: Any, row: "ErrorRow") -> None:
    curves = ((row.bins_before, _RAW, "raw"), (row.bins_after, _CALIBRATED, "calibrated, cross-validated"))
    # On the diagonal scores are what they say.
    axes.plot([0, 1], [0, 1], color=_PERFECT, linestyle="dashed")
    for bins, colour, name in curves:
        scores, shares = [one.mean_score for one in bins], [one.accuracy for one in bins]
        axes.plot(scores, shares, color=colour, marker="o", markersize=4, label=name)
    error = f"error {100 * row.ece_before:.1f} -> {100 * row.ece_after:.1f} %"
    axes.set(xlim=(0, 1), ylim=(0, 1), xticks=(0, 1), yticks=(0, 1), aspect="equal", xlabel=error)
    axes.set_title(f"{row.kind}, {row.task}", fontsize=10)
