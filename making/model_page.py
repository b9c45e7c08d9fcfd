r"""Writes docs/mini.md, docs/mini.json and docs/mini.svg: what the packaged model scores on test texts.

    python -m making.model_page --report runs/report --data runs/data \
        --zero-shot-report runs/report-zero-shot --zero-shot-data runs/data-zero-shot --limit 500

The reports come from `ucuie evaluate` on the test splits, with the limit given here if any. `--bench` takes
what `ucuie bench extract --json` printed, for the paragraph about speed; `--peer` takes the scores of
spacy_baseline.py.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from making.confidence import filled
from ucuie.data import read_gold, read_predictions
from ucuie.files import write_text
from ucuie.render.plots import as_svg, new_figure
from ucuie.schema import Example, Record
from ucuie.templates import Table

DOCS = Path(__file__).parents[1] / "docs"
TARGETS = {
    ("bc5cdr", "NER"): 48,
    ("ncbi-disease", "NER"): 48,
    ("bc2gm", "NER"): 48,
    ("broad_twitter_corpus", "NER"): 48,
    ("genia_ner", "NER"): 48,
    ("conll04", "RE boundary"): 40,
    ("semeval2010", "RE boundary"): 55,
    ("phee", "ED"): 60,
    ("phee", "EAE pooled"): 45,
    ("casie", "ED"): 45,
}
"""F1 in per cent that a model trained without a GPU was meant to reach."""
ROWS = ("NER", "RE boundary", "ED", "EAE pooled", "EAE linked", "ABSA")


@dataclass(frozen=True)
class Evaluation:
    """What was answered to the test texts of some data sets.

    Args:
        report: of `ucuie evaluate`.
        examples: gold.
        predictions: the records of each.
    """

    report: dict[str, Any]
    examples: Sequence[Example]
    predictions: Sequence[tuple[Record, ...]]

    @classmethod
    def read(cls, report: Path, data: Path, limit: int | None) -> "Evaluation":
        """The files of an evaluation on a folder's test texts, at most `limit` of each data set."""
        examples = read_gold(data, split="test", limit=limit)
        predictions = read_predictions(report / "predictions.jsonl", examples)
        return cls(json.loads((report / "report.json").read_text("utf-8")), examples, predictions)

    def scores(self) -> Iterator[tuple[str, str, dict[str, float]]]:
        """Data set, row and numbers in per cent, of the first scorer."""
        intervals = {(one["dataset"], one["row"]): one for one in self.report["intervals"]}
        for row in self.report["scores"][0]["rows"]:
            for entry in row["datasets"] if row["row"] in ROWS else ():
                interval = intervals.get((entry["dataset"], row["row"]), {})
                numbers = {name: entry[name] for name in ("precision", "recall", "f1")}
                numbers |= {name: interval[name] for name in ("low", "high") if name in interval}
                yield entry["dataset"], row["row"], numbers

    def num_texts(self) -> dict[str, int]:
        """Of each data set."""
        counts: dict[str, int] = {}
        for example in self.examples:
            counts[example.dataset or ""] = counts.get(example.dataset or "", 0) + 1
        return counts


def score_table(evaluation: Evaluation, peer: dict[str, Any] | None = None) -> str:
    """Precision, recall and F1 with its interval, as Markdown.

    Args:
        evaluation: on test texts.
        peer: scores of spaCy by data set, for a column of their own.
    """
    columns = ["data set", "what", "texts", "precision", "recall", "F1", "95 % interval", "aimed at"]
    counts = evaluation.num_texts()
    rows = []
    for dataset, row, numbers in sorted(evaluation.scores(), key=lambda one: ROWS.index(one[1])):
        shown = [f"{numbers[name]:.1f}" for name in ("precision", "recall", "f1")]
        interval = f"{numbers['low']:.1f} to {numbers['high']:.1f}" if "low" in numbers else ""
        rows.append([dataset, row, counts[dataset], *shown, interval, TARGETS.get((dataset, row))])
        if peer:
            rows[-1].append(f"{peer[dataset]['f1']:.1f}" if row == "NER" and dataset in peer else "")
    return Table([*columns, "spaCy"] if peer else columns, rows).to_markdown()


def peer_line(evaluation: Evaluation, peer: dict[str, Any]) -> Iterator[str]:
    """The mean F1 of both over the data sets that the peer was trained on."""
    own = {dataset: numbers["f1"] for dataset, row, numbers in evaluation.scores() if row == "NER"}
    common = [dataset for dataset in peer if dataset in own]
    if not common:
        yield ""
    else:
        means = [sum(f1[one] for one in common) / len(common) for f1 in (own, _f1(peer))]
        yield (
            f"Over {', '.join(sorted(common))} the mean F1 is {means[0]:.1f}, spaCy's {means[1]:.1f}: "
            f"{100 * means[0] / means[1]:.0f} %."
        )


def _f1(scores: dict[str, Any]) -> dict[str, float]:
    return {dataset: numbers["f1"] for dataset, numbers in scores.items()}


def false_alarm_table(evaluation: Evaluation) -> str:
    """In how many texts without any gold record something was found, as Markdown."""
    empty: dict[str, list[bool]] = {}
    for example, records in zip(evaluation.examples, evaluation.predictions, strict=True):
        if not example.records:
            empty.setdefault(example.dataset or "", []).append(bool(records))
    rows = [
        (dataset, len(alarms), f"{100 * sum(alarms) / len(alarms):.1f} %")
        for dataset, alarms in sorted(empty.items())
    ]
    return Table(("data set", "texts without a record", "of them with a prediction"), rows).to_markdown()


def grounding_lines(evaluations: Sequence[Evaluation]) -> Iterator[str]:
    """Whether every filler stands where it says, and whether repeated mentions have places of their own."""
    num_fillers = num_wrong = num_repeated = num_shared = 0
    for evaluation in evaluations:
        for example, records in zip(evaluation.examples, evaluation.predictions, strict=True):
            # Two frames of one name, both without slots, are two mentions.
            mentions: dict[tuple[str, str], list[int]] = {}
            for record in records:
                for filler in record.fillers():
                    num_fillers += 1
                    num_wrong += example.text[filler.start : filler.end] != filler.text
                if record.filler is not None and not record.slots:
                    starts = mentions.setdefault((record.frame, record.filler.text), [])
                    starts.append(record.filler.start)
            for starts in mentions.values():
                if len(starts) > 1:
                    num_repeated += 1
                    num_shared += len(set(starts)) < len(starts)
    yield f"- {num_fillers:,} fillers, {num_wrong:,} of them not what the text says at their offsets."
    yield (
        f"- {num_repeated:,} times the same words were found more than once in a text, "
        f"{num_shared:,} times two of them at the same place."
    )


def speed_lines(bench: dict[str, Any] | None) -> Iterator[str]:
    """The ratios of `ucuie bench extract`."""
    if bench is None:
        yield "Not measured for this model: `ucuie bench extract`."
        return
    yield "`ucuie bench extract`, one thread, interleaved, medians:"
    yield ""
    for name, value in bench.items():
        if isinstance(value, float):
            yield f"- `{name}`: {value:.2f}"


def plot(evaluation: Evaluation) -> str:
    """F1 of every data set and row as bars with their intervals and what was aimed at, as SVG."""
    scores = sorted(evaluation.scores(), key=lambda one: (ROWS.index(one[1]), -one[2]["f1"]))
    figure = new_figure(8, 0.25 * len(scores) + 1)
    axes = figure.add_subplot()
    bars = axes.barh([f"{dataset}, {row}" for dataset, row, _ in scores], [one["f1"] for *_, one in scores])
    axes.bar_label(bars, fmt="{:.1f}", padding=3)
    for place, (dataset, row, numbers) in enumerate(scores):
        if "low" in numbers:
            axes.hlines(place, numbers["low"], numbers["high"], color="black", linewidth=1)
        if (dataset, row) in TARGETS:
            axes.vlines(TARGETS[dataset, row], place - 0.5, place + 0.5, color="red")
    axes.set(xlim=(0, 100), title="F1 on test texts; thin: 95 % interval, red: aimed at")
    axes.invert_yaxis()
    return as_svg(figure)


def figures(evaluations: Sequence[Evaluation]) -> dict[str, Any]:
    """`{set: {scorer: {row: {precision, recall, f1, low, high}}}}`."""
    result: dict[str, Any] = {}
    for evaluation in evaluations:
        scorer = evaluation.report["scores"][0]["scorer"]
        for dataset, row, numbers in evaluation.scores():
            rounded = {name: round(value, 2) for name, value in numbers.items()}
            result.setdefault(dataset, {}).setdefault(scorer, {})[row] = rounded
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--report", type=Path, required=True, help="of `ucuie evaluate`, supervised sets")
    parser.add_argument("--data", type=Path, required=True, help="the folder that was evaluated on")
    parser.add_argument("--zero-shot-report", type=Path, required=True)
    parser.add_argument("--zero-shot-data", type=Path, required=True)
    parser.add_argument("--limit", type=int, help="the limit of the evaluations")
    parser.add_argument("--bench", type=Path, help="JSON of `ucuie bench extract`")
    parser.add_argument("--peer", type=Path, help="scores.json of spacy_baseline.py, for the same texts")
    parser.add_argument("--page", type=Path, default=DOCS / "mini.md")
    options = parser.parse_args()
    supervised = Evaluation.read(options.report, options.data, options.limit)
    zero_shot = Evaluation.read(options.zero_shot_report, options.zero_shot_data, options.limit)
    bench = None if options.bench is None else json.loads(options.bench.read_text("utf-8"))
    page = options.page.read_text("utf-8")
    peer = {} if options.peer is None else json.loads(options.peer.read_text("utf-8"))
    page = filled(page, "supervised", score_table(supervised, peer))
    page = filled(page, "peer", "\n".join(peer_line(supervised, peer)))
    page = filled(page, "zero-shot", score_table(zero_shot))
    page = filled(page, "false-alarms", false_alarm_table(supervised))
    page = filled(page, "grounding", "\n".join(grounding_lines([supervised, zero_shot])))
    page = filled(page, "speed", "\n".join(speed_lines(bench)))
    write_text(options.page, page)
    content = json.dumps(figures([supervised, zero_shot]), indent=1, ensure_ascii=False)
    write_text(options.page.with_suffix(".json"), content + "\n")
    write_text(options.page.with_suffix(".svg"), plot(supervised))


if __name__ == "__main__":
    main()
