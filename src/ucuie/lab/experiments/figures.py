"""Figures of trials with matplotlib: lines with deviations, bars, heat maps."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ucuie.files import write_text
from ucuie.lab.experiments.tables import Trials
from ucuie.render.plots import as_svg, new_figure

_WIDTH, _HEIGHT = 7.0, 4.2
"""Inches."""
_MOST_LETTERS = 60
"""Of all labels under an axis side by side."""
_TILTED = {"rotation": 35, "ha": "right", "rotation_mode": "anchor"}


def save_figure(figure: Any, path: Path) -> None:
    """Writes a figure as `path` with .svg and .png; equal figures are equal files."""
    write_text(path.with_suffix(".svg"), as_svg(figure))
    figure.savefig(path.with_suffix(".png"), dpi=120, metadata={"Software": None})


def line_figure(lines: Mapping[str, Mapping[int, Trials]], *, title: str, x_label: str, y_label: str) -> Any:
    """A line for each name, with the deviation over trials."""
    figure = new_figure(_WIDTH, _HEIGHT)
    axes = figure.add_subplot()
    for name, points in lines.items():
        shown = {x: trials for x, trials in points.items() if trials.values}
        means = [trials.mean for trials in shown.values()]
        spread = [trials.deviation or 0.0 for trials in shown.values()]
        axes.errorbar(list(shown), means, yerr=spread, marker="o", capsize=3, label=name)
    axes.set(title=title, xlabel=x_label, ylabel=y_label)
    axes.legend()
    return figure


def bar_figure(bars: Mapping[str, Mapping[str, Trials]], *, title: str, y_label: str) -> Any:
    """Groups of bars, a colour for each name."""
    figure = new_figure(_WIDTH, _HEIGHT)
    axes = figure.add_subplot()
    width = 0.8 / max(len(bars), 1)
    groups: list[str] = []
    for index, (name, points) in enumerate(bars.items()):
        groups = list(points)
        places = [place + (index - (len(bars) - 1) / 2) * width for place in range(len(points))]
        heights = [trials.mean or 0.0 for trials in points.values()]
        spread = [trials.deviation or 0.0 for trials in points.values()]
        axes.bar(places, heights, width, yerr=spread, capsize=2, label=name)
    axes.set_xticks(range(len(groups)), groups, **(_TILTED if len("".join(groups)) > _MOST_LETTERS else {}))
    axes.set(title=title, ylabel=y_label)
    if len(bars) > 1:
        figure.legend(loc="outside lower center", ncols=len(bars))
    return figure


def heat_figure(
    panels: Mapping[str, Sequence[Sequence[float]]],
    *,
    rows: Sequence[str],
    columns: Sequence[str],
    title: str,
) -> Any:
    """Heat maps side by side on one scale of colours."""
    num_panels = max(len(panels), 1)
    figure = new_figure(0.8 * _WIDTH * num_panels, _HEIGHT)
    highest = max((max(map(max, values)) for values in panels.values()), default=1.0)
    axes = figure.subplots(1, num_panels, squeeze=False)[0]
    for axis, (name, values) in zip(axes, panels.items(), strict=False):
        image = axis.imshow(values, vmin=0, vmax=highest, cmap="viridis", aspect="auto")
        axis.set_title(name)
        axis.set_xticks(range(len(columns)), columns, rotation=90)
        axis.set_yticks(range(len(rows)), rows)
        for y, line in enumerate(values):
            for x, value in enumerate(line):
                colour = "black" if value > highest / 2 else "white"
                axis.text(x, y, f"{value:.2f}", ha="center", va="center", color=colour, fontsize=7)
        figure.colorbar(image, ax=axis)
    figure.suptitle(title)
    return figure
