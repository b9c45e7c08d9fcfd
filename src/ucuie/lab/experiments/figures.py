"""Figures of trials with matplotlib (lines with deviations, bars, heat maps), and the routing explorer.

The explorer is a page with heat maps of sub-expert weights per layer, task and token: `index.html`, with
plotly's script beside it, so that it opens without a network and several pages can share the 5 MB.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ucuie.files import write_text
from ucuie.lab.experiments.tables import Trials
from ucuie.render.plots import as_svg, new_figure
from ucuie.schema import CAPABILITIES

_WIDTH, _HEIGHT = 7.0, 4.2
"""Inches."""
_MOST_LETTERS = 60
"""Of all labels under an axis side by side."""
_TILTED = {"rotation": 35, "ha": "right", "rotation_mode": "anchor"}
_ROW, _ENTRY, _MARGIN = 22, 36, 140
"""Pixels: the height of a row and of an entry of the menu, and what is above the first."""


def save_figure(figure: Any, path: Path) -> None:
    """Writes a figure as `path` with .svg and .png; equal figures are equal files."""
    write_text(path.with_suffix(".svg"), as_svg(figure))
    figure.savefig(path.with_suffix(".png"), dpi=120, metadata={"Software": None})


def line_figure(lines: Mapping[str, Mapping[int, Trials]], *, title: str, x_label: str) -> Any:
    """A line of mean F1 for each name, with the deviation over trials."""
    figure = new_figure(_WIDTH, _HEIGHT)
    axes = figure.add_subplot()
    for name, points in lines.items():
        shown = {x: trials for x, trials in points.items() if trials.values}
        means = [trials.mean for trials in shown.values()]
        spread = [trials.deviation or 0.0 for trials in shown.values()]
        axes.errorbar(list(shown), means, yerr=spread, marker="o", capsize=3, label=name)
    axes.set(title=title, xlabel=x_label, ylabel="mean F1")
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


def write_explorer(folder: Path, models: Mapping[str, Mapping[str, Any]]) -> Path:
    """Writes the page and returns its path; a menu on it chooses model, task and text."""
    import plotly.graph_objects as graph

    folder.mkdir(parents=True, exist_ok=True)
    views = [view for name, routing in models.items() for view in _views(name, routing)]
    figure = graph.Figure()
    for index, (_, rows, columns, values) in enumerate(views):
        figure.add_heatmap(
            z=values,
            x=columns,
            y=rows,
            visible=index == 0,
            colorscale="Viridis",
            zmin=0,
            hovertemplate="%{y}<br>%{x}<br>weight %{z:.3f}<extra></extra>",
        )
    buttons = [
        {
            "label": title,
            "method": "update",
            "args": [
                {"visible": [place == index for place in range(len(views))]},
                {"height": _height(rows, views)},
            ],
        }
        for index, (title, rows, *_) in enumerate(views)
    ]
    figure.update_layout(
        title={"text": "Routing of the sub-experts" if views else "nothing is measured yet"},
        updatemenus=[{"buttons": buttons, "x": 0, "xanchor": "left", "y": 1, "yanchor": "bottom"}],
        height=_height(views[0][1] if views else (), views),
        yaxis={"autorange": "reversed", "automargin": True},
        margin={"t": _MARGIN},
    )
    page = folder / "index.html"
    figure.write_html(page, include_plotlyjs="directory", full_html=True)
    return page


def _height(rows: Sequence[str], views: Sequence[Any]) -> int:
    """So that rows can be read, and the whole menu is on the page."""
    return _MARGIN + max(_MARGIN + _ROW * len(rows), _ENTRY * len(views))


_View = tuple[str, list[str], list[str], list[list[float]]]
"""Title, names of rows and columns, values."""


def _views(model: str, routing: Mapping[str, Any]) -> list[_View]:
    views: list[_View] = []
    linears = [name.removeprefix("model.layers.").replace(".mlp.", " ") for name in routing["linears"]]
    for task, found in routing["tasks"].items():
        title, num_experts = f"{model}, {task}", len(found["weights"][0][0])
        columns = [f"{name} {one + 1}" for name in routing["capabilities"] for one in range(num_experts)]
        views.append((f"{title}: sub-experts by linear", linears, columns, flat(found["weights"])))
        if found["gates"] and found["gates"][0]:
            views.append((f"{title}: gates by linear", linears, routing["capabilities"], found["gates"]))
        for number, example in enumerate(found["examples"], start=1):
            tokens = [f"{place} {token!r}" for place, token in enumerate(example["tokens"], start=1)]
            views.append((f"{title}: tokens of text {number}", tokens, columns, flat(example["weights"])))
    return views
