"""The routing explorer: a page with heat maps of sub-expert weights per layer, task and token.

In: what `routing` measured, by the name of the model. Out: `index.html`, with plotly's script beside it, so
that it opens without a network and several pages can share the 5 MB.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ucuie.lab.experiments.results import flat

_ROW, _ENTRY, _MARGIN = 22, 36, 140
"""Pixels: the height of a row and of an entry of the menu, and what is above the first."""


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
