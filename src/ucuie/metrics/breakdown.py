"""A score taken apart: labels, confidence intervals, confusions and every mistake, as data, text or a page.

`break_down` counts, `render_text` is for terminals and logs, `render_page` one HTML file that needs no other;
`write_breakdown` writes all three.
"""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from ucuie.files import staged_files, write_text
from ucuie.metrics.mistakes import KINDS, Mistake, Mistakes, find_mistakes
from ucuie.metrics.report import Report, RowScore, placing_ceiling, score
from ucuie.metrics.uncertainty import Interval, bootstrap
from ucuie.schema import Example, Record, Span
from ucuie.templates import Table, load_template

_TEMPLATE = Path(__file__).with_name("breakdown.html.jinja")
_MAX_CONFUSIONS = 20
_MAX_LISTED_OF_A_KIND = 5
_MAX_MISTAKES_OF_A_KIND = 200
_CONTEXT = 60
"""Characters of the text shown before and after a mistake."""


@dataclass(frozen=True)
class Breakdown:
    """The scores, intervals and mistakes of some predictions.

    Args:
        reports: the scores under each scorer, with those of every label.
        intervals: those of the F1 of every row, under the first scorer.
        mistakes: all of them by spans, whatever the scorer.
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
        """The F1 of the ceiling in the row of an interval, in per cent; None under another scorer."""
        if self.report.scorer != "offset":
            return None
        if interval.dataset is None:
            return self.ceiling.mean_f1(interval.row, task=interval.task)
        scores = self.ceiling.of(interval.row, task=interval.task)
        return next(score.counts.f1 for score in scores if score.dataset == interval.dataset)

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
        resamples: draws for each confidence interval.
        seed: makes the draws repeatable.

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
    tables = [comparison_table(found)] if len(found.reports) > 1 else []
    tables += [score_table(found), *map(_label_table, found.report.scores), *_mistake_tables(found.mistakes)]
    return "\n\n".join(table.to_text() for table in tables) + "\n"


def comparison_table(found: Breakdown) -> Table:
    """F1 under several scorers side by side; a dash where a scorer knows no such row."""
    scorers = [report.scorer for report in found.reports]
    f1: dict[tuple[str, str, str], dict[str, float]] = {}
    for report in found.reports:
        for one in report.scores:
            f1.setdefault((one.task, one.row, one.dataset or "-"), {})[report.scorer] = one.counts.f1
    rows = [(*place, *(_or_dash(by_scorer.get(name)) for name in scorers)) for place, by_scorer in f1.items()]
    columns = ("task", "row", "data set", *scorers)
    return Table(columns, rows, title="F1 % by scorer")


def score_table(found: Breakdown) -> Table:
    """The rows of the first scorer: each data set, then the mean over data sets where there are several."""
    intervals = {(one.task, one.row, one.dataset): one for one in found.intervals}
    rows: list[tuple[str, ...]] = []
    for task, row in found.report.rows:
        scores = found.report.of(row, task=task)
        parts: list[tuple[str | None, Sequence[str]]] = [
            (one.dataset, (f"{one.counts.precision:.2f}", f"{one.counts.recall:.2f}", f"{one.counts.gold:,}"))
            for one in scores
        ]
        parts += [(None, ("", "", ""))] if len(scores) > 1 else []
        for dataset, (precision, recall, gold) in parts:
            one = intervals[task, row, dataset]
            name = "mean" if dataset is None else dataset or "-"
            numbers = (precision, recall, f"{one.f1:.2f}", f"{one.low:.2f}-{one.high:.2f}", gold)
            rows.append((task, row, name, *numbers, _or_dash(found.ceiling_of(one))))
    columns = ("task", "row", "data set", "precision %", "recall %", "F1 %", "95 % interval", "gold")
    notes = ["ceiling: F1 of the gold placed again by its strings"]
    return Table((*columns, "ceiling"), rows, title=f"scorer: {found.report.scorer}", notes=notes)


def _label_table(row: RowScore) -> Table:
    """The labels of a row, those with most gold first."""
    labels = sorted(row.labels.items(), key=lambda item: (-item[1].gold, item[0]))
    rows = [
        (
            label,
            *(f"{number:.2f}" for number in (counts.precision, counts.recall, counts.f1)),
            *(counts.gold, counts.predicted, counts.matched),
        )
        for label, counts in labels
    ]
    columns = ("label", "precision %", "recall %", "F1 %", "gold", "predicted", "matched")
    return Table(columns, rows, title=f"{row.task}, {row.row}, {row.dataset or '-'}")


def _mistake_tables(mistakes: Mistakes) -> Iterator[Table]:
    """The numbers of each kind, the most frequent confusions, and the first of each kind, a line each."""
    yield Table(("findings", "count"), [("right", mistakes.right), *mistakes.kinds.items()])
    confusions = [(*pair, count) for pair, count in mistakes.confusions[:_MAX_CONFUSIONS]]
    yield Table(("gold", "predicted", "count"), confusions)
    for kind in KINDS:
        of_kind = [one for one in mistakes.mistakes if one.kind == kind]
        if of_kind:
            rows = [(one.example.id, *one.labels, _marked(one)) for one in of_kind[:_MAX_LISTED_OF_A_KIND]]
            more = len(of_kind) - len(rows)
            notes = [f"and {more:,} more"] if more else []
            yield Table(("id", "gold", "predicted", "[gold] {predicted}"), rows, title=kind, notes=notes)


def _marked(mistake: Mistake) -> str:
    """The text around a mistake in one line, gold in square brackets, predictions in braces."""
    marks = {"": "{}", "gold": "[{}]", "predicted": "{{{}}}", "both": "[{{{}}}]"}
    pieces = (marks[name].format(piece) for name, piece in mistake_pieces(mistake))
    return " ".join("".join(pieces).split())


def render_page(found: Breakdown, *, title: str = "Evaluation") -> str:
    """One HTML page with everything in it; of each kind of mistake the first 200."""
    mistakes = found.mistakes.mistakes
    return load_template(_TEMPLATE).render(
        title=title,
        scorer=found.report.scorer,
        num_right=found.mistakes.right,
        comparison=comparison_table(found) if len(found.reports) > 1 else None,
        scores=score_table(found),
        labels=[_label_table(row) for row in found.report.scores],
        by_kind={kind: [one for one in mistakes if one.kind == kind] for kind in KINDS},
        maximum=_MAX_MISTAKES_OF_A_KIND,
        pieces=mistake_pieces,
        confusion=_confusion_matrix(found.mistakes),
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


def _confusion_matrix(mistakes: Mistakes) -> Table:
    names = sorted({name for pair, _ in mistakes.confusions for name in pair})
    rows = [(gold, *(mistakes.confusion[gold, name] or None for name in names)) for gold in names]
    return Table(("", *names), rows)


def _or_dash(number: float | None) -> str:
    return "-" if number is None else f"{number:.2f}"
