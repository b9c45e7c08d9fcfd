"""Figures of trials with matplotlib: lines with deviations, bars, heat maps; each as SVG and PNG.

The files of equal figures are equal: no date, no random identifiers.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ucuie.lab.experiments.tables import Trials

_WIDTH, _HEIGHT = 7.0, 4.2
"""Inches."""
_MOST_LETTERS = 60
"""Of all labels under an axis side by side."""
_TILTED = {"rotation": 35, "ha": "right", "rotation_mode": "anchor"}


def line_figure(
    path: Path,
    lines: Mapping[str, Mapping[int, Trials]],
    *,
    title: str,
    x_label: str,
    y_label: str,
) -> None:
    """A line for each name, with the deviation over trials; writes `path` with .svg and .png."""
    figure, axes = _figure()
    for name, points in lines.items():
        shown = {x: trials for x, trials in points.items() if trials.values}
        means = [trials.mean for trials in shown.values()]
        spread = [trials.deviation or 0.0 for trials in shown.values()]
        axes.errorbar(list(shown), means, yerr=spread, marker="o", capsize=3, label=name)
    axes.set(title=title, xlabel=x_label, ylabel=y_label)
    axes.legend()
    _save(figure, path)


def bar_figure(path: Path, bars: Mapping[str, Mapping[str, Trials]], *, title: str, y_label: str) -> None:
    """Groups of bars, a colour for each name; writes `path` with .svg and .png."""
    figure, axes = _figure()
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
    _save(figure, path)


def heat_figure(
    path: Path,
    panels: Mapping[str, Sequence[Sequence[float]]],
    *,
    rows: Sequence[str],
    columns: Sequence[str],
    title: str,
) -> None:
    """Heat maps side by side on one scale of colours; writes `path` with .svg and .png."""
    figure, axes = _figure(panels=max(len(panels), 1))
    highest = max((max(map(max, values)) for values in panels.values()), default=1.0)
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
    _save(figure, path)


def _figure(*, panels: int | None = None) -> tuple[Any, Any]:
    # The object interface: pyplot would keep figures, and ask for a display.
    import matplotlib as mpl
    from matplotlib.figure import Figure

    mpl.rcParams["svg.hashsalt"] = "ucuie"
    figure = Figure(figsize=(_WIDTH * (panels or 1) * (0.8 if panels else 1), _HEIGHT), layout="constrained")
    if panels is None:
        return figure, figure.add_subplot()
    return figure, figure.subplots(1, panels, squeeze=False)[0]


def _save(figure: Any, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path.with_suffix(".svg"), metadata={"Date": None})
    figure.savefig(path.with_suffix(".png"), dpi=120, metadata={"Software": None})
