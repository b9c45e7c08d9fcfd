r"""Fills a page with what a model scores beside its peers: the embedded model, spaCy, published figures.

    python -m making.comparison --scores runs/evaluation/scores.json --mini docs/mini.json \
        --pretrained runs/spacy-pretrained.json --mixture runs/mixture/table.md --page PAGE.md \
        --readme README.md

The page has a place for each table, between `<!-- NAME -->` and `<!-- /NAME -->`, whose content is replaced.
The names are those of `SECTIONS`. Figures of spaCy trained on the same split, and published ones, are in
`peers.yaml`.
"""

import argparse
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import yaml

from making.confidence import filled
from making.evaluation import ROWS
from ucuie.files import write_text
from ucuie.templates import Table

PEERS = Path(__file__).with_name("peers.yaml")
CROSSNER = "crossner_"


@dataclass(frozen=True)
class Figures:
    """Everything that the page says.

    Args:
        scores: `scores.json` of making.evaluation.
        mini: `{set: {scorer: {row: numbers}}}` of the embedded model, as docs/mini.json has it.
        pretrained: what making.spacy_pretrained wrote.
        peers: what `peers.yaml` says.
        mixture: the table of making.mixture.
    """

    scores: Mapping[str, Any]
    mini: Mapping[str, Any]
    pretrained: Mapping[str, Any]
    peers: Mapping[str, Any]
    mixture: str = ""

    def of_mini(self, dataset: str, row: str) -> float | None:
        """F1 of the embedded model in per cent."""
        of_set: Mapping[str, Any] = self.mini.get(dataset, {}).get("offset", {})
        return of_set[row]["f1"] if row in of_set else None


def supervised(figures: Figures) -> Iterator[str]:
    """Sets that it was trained on: F1 with its interval, the embedded model, spaCy trained on the set."""
    headings = (
        "data set",
        "what",
        "texts",
        "F1",
        "95 % interval",
        "ucuie-mini",
        "spaCy, trained on this set",
    )
    rows = []
    for dataset, row, numbers, texts in _rows(figures.scores.get("supervised", {})):
        trained = figures.peers["trained"].get(dataset) if row == "NER" else None
        shared = (f"{texts:,}", *_f1(numbers), _number(figures.of_mini(dataset, row)), _number(trained))
        rows.append((dataset, row, *shared))
    yield from _table(headings, rows)


def zero_shot(figures: Figures) -> Iterator[str]:
    """Sets that it never saw: F1 on all types, on those with new names, on those with new words only."""
    headings = ("data set", "what", "texts", "F1", "95 % interval", "ucuie-mini", "new names", "new words")
    sets = figures.scores.get("zero-shot", {})
    rows = []
    for dataset, row, numbers, texts in _rows(sets):
        new = [_new(sets[dataset], kind, row) for kind in ("new names", "new words")]
        mini = _number(figures.of_mini(dataset, row))
        rows.append((dataset, row, f"{texts:,}", *_f1(numbers), mini, *new))
    yield from _table(headings, rows)
    crossner = {name: one["scores"]["NER"]["f1"] for name, one in sets.items() if name.startswith(CROSSNER)}
    if crossner:
        yield ""
        yield f"Mean F1 over {', '.join(sorted(crossner))}: {fmean(crossner.values()):.1f}."


def trials(figures: Figures) -> Iterator[str]:
    """Sets with several trials, each with its own unseen types: F1 of each, their mean and deviation."""
    rows = [
        (
            dataset,
            row,
            ", ".join(f"{f1:.1f}" for f1 in of_row["f1"]),
            f"{of_row['mean']:.1f} ± {of_row['deviation']:.1f}",
        )
        for dataset, one in figures.scores.get("zero-shot", {}).items()
        for row, of_row in one.get("trials", {}).items()
    ]
    yield from _table(("data set", "what", "F1 of each trial", "mean"), rows)


def published(figures: Figures) -> Iterator[str]:
    """What others published, with where it is from."""
    headings = ("model", "parameters", "zero-shot", "from", "")
    names = ("name", "parameters", "figure", "source", "note")
    yield from _table(headings, [tuple(one[name] for name in names) for one in figures.peers["published"]])


def pretrained(figures: Figures) -> Iterator[str]:
    """SpaCy's pretrained small English pipeline on the types that both know."""
    headings = ("data set", "F1", "95 % interval", "spaCy en_core_web_sm", "95 % interval of spaCy")
    rows = [(name, *_f1(one["model"]), *_f1(one["spaCy"])) for name, one in figures.pretrained.items()]
    yield from _table(headings, rows)


def nothing(figures: Figures) -> Iterator[str]:
    """Texts without anything to find: in how many of them something was found."""
    found = figures.scores.get("nothing to find", {})
    rows = [(name, str(one["texts"]), f"{one['with a record %']:.1f} %") for name, one in found.items()]
    yield from _table(("what was asked for", "texts", "with a record"), rows)


def calibration(figures: Figures) -> Iterator[str]:
    """Expected calibration errors before and after."""
    rows = [
        (kind, f"{one['elements']:,}", f"{one['before']:.1f}", f"{one['after']:.1f}")
        for kind, one in figures.scores.get("calibration", {}).items()
    ]
    yield from _table(("element", "elements", "ECE % before", "ECE % after"), rows)


def mixture(figures: Figures) -> Iterator[str]:
    """What it learned from."""
    yield from figures.mixture.splitlines()


def headline(figures: Figures) -> Iterator[str]:
    """The headline row of every set, for the README."""
    rows = []
    for kind, name in (("supervised", "trained on"), ("zero-shot", "never trained on")):
        for dataset, row, numbers, _ in _rows(figures.scores.get(kind, {})):
            if row != "EAE linked":
                counts = (f"{numbers[one]:.1f}" for one in ("precision", "recall", "f1"))
                rows.append((name, dataset, row, *counts, _number(figures.of_mini(dataset, row))))
    headings = ("", "test split", "counted", "precision %", "recall %", "F1 %", "ucuie-mini F1 %")
    yield from _table(headings, rows)


SECTIONS: Mapping[str, Callable[[Figures], Iterator[str]]] = {
    "supervised": supervised,
    "zero-shot": zero_shot,
    "trials": trials,
    "published": published,
    "pretrained": pretrained,
    "nothing": nothing,
    "calibration": calibration,
    "mixture": mixture,
}
"""The tables by the names of their places."""


def filled_page(page: str, figures: Figures) -> str:
    """The page with every table in its place.

    Raises:
        ValueError: a table has no place; all of them.
    """
    without = [name for name in SECTIONS if f"<!-- {name} -->" not in page]
    if without:
        raise ValueError(
            f"the page has no place for {', '.join(without)}; put <!-- NAME --> and <!-- /NAME --> there"
        )
    for name, lines in SECTIONS.items():
        page = filled(page, name, "\n".join(lines(figures)))
    return page


def _rows(sets: Mapping[str, Any]) -> Iterator[tuple[str, str, dict[str, float], int]]:
    """Data set, row, numbers and texts, rows of a kind together."""
    rows = [
        (dataset, row, numbers, one["texts"])
        for dataset, one in sets.items()
        for row, numbers in one["scores"].items()
    ]
    return iter(sorted(rows, key=lambda one: (ROWS.index(one[1]), one[0])))


def _new(of_set: Mapping[str, Any], kind: str, row: str) -> str:
    """F1 on new types and how many of all these are."""
    new = of_set.get(kind, {})
    numbers = new.get("scores", {}).get(row)
    return f"{numbers['f1']:.1f} ({len(new['types'])} of {new['of']} types)" if numbers else "no such type"


def _f1(numbers: Mapping[str, float]) -> tuple[str, str]:
    return f"{numbers['f1']:.1f}", f"{numbers['low']:.1f} to {numbers['high']:.1f}"


def _number(number: float | None) -> str:
    return "" if number is None else f"{number:.1f}"


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield from Table(headings, list(rows)).to_markdown().splitlines()


def _json(path: Path | None) -> Any:
    return {} if path is None else json.loads(path.read_text("utf-8"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--scores", type=Path, required=True, help="scores.json of making.evaluation")
    parser.add_argument("--mini", type=Path, help="figures of the embedded model, docs/mini.json")
    parser.add_argument("--pretrained", type=Path, help="JSON of making.spacy_pretrained")
    parser.add_argument("--mixture", type=Path, help="table.md of making.mixture")
    parser.add_argument("--page", type=Path, required=True)
    parser.add_argument("--readme", type=Path, help="a page that gets the headline rows")
    options = parser.parse_args()
    figures = Figures(
        scores=_json(options.scores),
        mini=_json(options.mini),
        pretrained=_json(options.pretrained),
        peers=yaml.safe_load(PEERS.read_text("utf-8")),
        mixture="" if options.mixture is None else options.mixture.read_text("utf-8").strip(),
    )
    write_text(options.page, filled_page(options.page.read_text("utf-8"), figures))
    if options.readme is not None:
        readme = options.readme.read_text("utf-8")
        write_text(options.readme, filled(readme, "scores", "\n".join(headline(figures))))


if __name__ == "__main__":
    main()
