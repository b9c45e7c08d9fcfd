"""Extractions, scores and data sets as tables for the terminal."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from ucuie.extract.result import Extraction
from ucuie.schema import Filler, Record, Split
from ucuie.templates import counted

if TYPE_CHECKING:
    # The converters and scorers take as long to load as all the rest of the command.
    from ucuie.data import ConversionReport, Dataset, ExportReport, Format, Statistics
    from ucuie.evaluation.calibrate import CalibrationReport
    from ucuie.evaluation.choosing import ChosenPoint
    from ucuie.evaluation.evaluate import EvaluationReport
    from ucuie.metrics import Breakdown, Counts, Interval, TrialScore

_MAX_FAULTS = 5
_MAX_COLUMNS = 4
"""Records with more fillers than this are set in one column, or the columns would be too narrow."""


def extraction_table(extraction: Extraction) -> RenderableType:
    """The text and under it a line for each record: frame, fillers with their places, score."""
    title = Text(f'"{extraction.text}"', style="bold")
    others = []
    if extraction.alternatives is not None:
        others.append(Text(f"  other answers: {len(extraction.alternatives)}", style="dim"))
    if not extraction.records:
        return Group(title, Text("  nothing found", style="dim"), *others, "")
    rows = [_cells(record) for record in extraction.records]
    num_columns = max(map(len, rows))
    if num_columns > _MAX_COLUMNS:
        rows = [[Text("   ").join(cells)] for cells in rows]
        num_columns = 1
    table = Table.grid(padding=(0, 3, 0, 0))
    for record, cells in zip(extraction.records, rows, strict=True):
        blanks = [Text()] * (num_columns - len(cells))
        table.add_row(Text(f"  {record.frame}", style="cyan"), *cells, *blanks, _score(record))
    notes = []
    if extraction.truncated:
        notes.append(Text("  the answer was cut; records may be missing", style="yellow"))
    if extraction.dropped:
        notes.append(Text(f"  left out: {len(extraction.dropped)}", style="dim"))
    return Group(title, table, *notes, *others, "")


def score_table(found: "Breakdown") -> Table:
    """The rows of one scorer: each data set, then the mean over data sets where there are several."""
    report = found.report
    table = Table(title=f"scorer: {report.scorer}", title_justify="left", box=None, pad_edge=False)
    for heading in ("task", "row", "data set"):
        table.add_column(heading)
    for heading in ("precision %", "recall %", "F1 %", "95 % interval", "gold", "ceiling"):
        table.add_column(heading, justify="right")
    intervals = {(one.task, one.row, one.dataset): one for one in found.intervals}
    for task, row in report.rows:
        scores = report.of(row, task=task)
        for score in scores:
            interval = intervals[task, row, score.dataset]
            precision, recall, f1, gold = _numbers(score.counts)
            numbers = (precision, recall, f1, _range(interval), gold, _ceiling(found, interval))
            table.add_row(*map(Text, (task, row, score.dataset or "-")), *numbers)
        if len(scores) > 1:
            interval = intervals[task, row, None]
            numbers = ("", "", f"{interval.f1:.2f}", _range(interval), "", _ceiling(found, interval))
            table.add_row(Text(task), Text(row), "mean", *numbers, style="bold")
    return table


def _range(interval: "Interval") -> str:
    return f"{interval.low:.2f}-{interval.high:.2f}"


def _ceiling(found: "Breakdown", interval: "Interval") -> str:
    ceiling = found.ceiling_of(interval)
    return "-" if ceiling is None else f"{ceiling:.2f}"


def trials_table(scorer: str, trials: "Sequence[TrialScore]") -> Table:
    """Every row over several trials."""
    table = Table(title=f"scorer: {scorer}, F1 %", title_justify="left", box=None, pad_edge=False)
    for heading in ("task", "row", "data set"):
        table.add_column(heading)
    for heading in ("mean", "standard deviation", "trials"):
        table.add_column(heading, justify="right")
    for one in trials:
        name = "mean" if one.dataset is None else one.dataset or "-"
        numbers = (f"{one.mean:.2f}", f"{one.deviation:.2f}", str(len(one.f1s)))
        table.add_row(*map(Text, (one.task, one.row, name)), *numbers)
    return table


def comparison_table(found: "Breakdown") -> Table:
    """F1 under several scorers side by side; a dash where a scorer knows no such row."""
    table = Table(title="F1 % by scorer", title_justify="left", box=None, pad_edge=False)
    for heading in ("task", "row", "data set"):
        table.add_column(heading)
    for report in found.reports:
        table.add_column(report.scorer, justify="right", overflow="fold")
    for task, row, dataset, f1 in found.comparison:
        numbers = ("-" if number is None else f"{number:.2f}" for number in f1)
        table.add_row(*map(Text, (task, row, dataset or "-")), *numbers)
    return table


def calibration_tables(report: "CalibrationReport") -> RenderableType:
    """How far scores were off before and after, for each kind and task, and for data sets apart."""
    table = Table(
        title="expected calibration error, after: cross-validated",
        title_justify="left",
        box=None,
        pad_edge=False,
    )
    for heading in ("element", "task", "data set", "method"):
        table.add_column(heading)
    for heading in ("elements", "right %", "before %", "after %", "by chance %"):
        table.add_column(heading, justify="right")
    for row in report.rows:
        method = "" if row.method is None else row.method
        names = (row.kind, row.task or "all", row.dataset or "all", method)
        shares = (row.accuracy, row.ece_before, row.ece_after, row.ece_by_chance)
        numbers = (f"{row.num_elements:,}", *(f"{100 * share:.1f}" for share in shares))
        table.add_row(*map(Text, (*names, *numbers)))
    notes = [f"{counted(report.num_texts, 'text')}"]
    if report.num_unreadable:
        notes.append(f"{report.num_unreadable:,} more were too long for the model")
    chosen: list[RenderableType] = [] if report.choice is None else [*_choice_tables(report.choice), ""]
    return Group(*chosen, table, Text("; ".join(notes), style="dim"))


def _choice_tables(choice: "ChosenPoint") -> Iterator[RenderableType]:
    """The F1 of each data set before and after, and what was chosen."""
    table = Table(title="F1 %, after: cross-validated", title_justify="left", box=None, pad_edge=False)
    table.add_column("data set")
    for heading in ("texts", "before", "after"):
        table.add_column(heading, justify="right")
    for one in choice.datasets:
        numbers = (f"{one.num_texts:,}", f"{one.before:.1f}", f"{one.after:.1f}")
        table.add_row(Text(one.dataset or "-"), *numbers)
    if len(choice.datasets) > 1:
        table.add_row("mean", "", f"{choice.before:.1f}", f"{choice.after:.1f}", style="bold")
    yield table
    biases = ", ".join(f"{bias:g}" for bias in choice.end_biases)
    point = choice.point
    yield Text(f"chosen: end bias {point.end_bias:g}, of {biases}; threshold {point.threshold:g}")


def evaluation_tables(report: "EvaluationReport") -> RenderableType:
    """All that an evaluation found: several scorers side by side, the first in full, kinds of mistakes."""
    notes = [f"{counted(report.num_examples, 'text')}, {report.texts_per_second:.1f} texts/s"]
    if report.num_unreadable:
        notes.append(
            f"{report.num_unreadable:,} with a schema too large for the model, their records count as missed"
        )
    if report.num_truncated:
        notes.append(f"{counted(report.num_truncated, 'answer')} cut")
    if report.end_bias:
        notes.append(f"end bias {report.end_bias:g}")
    if report.threshold:
        values = ", ".join(f"{name}={least:g}" for name, least in report.threshold.items())
        notes.append(f"thresholds {values}")
    if report.dropped:
        notes.append(f"{counted(sum(report.dropped.values()), 'piece')} of answers left out")
    kinds = [("right", report.breakdown.mistakes.right), *report.breakdown.mistakes.kinds.items()]
    found = "fillers: " + ", ".join(f"{count:,} {kind}" for kind, count in kinds)
    tables: list[RenderableType] = []
    if len(report.scores) > 1:
        tables = [comparison_table(report.breakdown), ""]
    return Group(*tables, score_table(report.breakdown), "", found, Text("; ".join(notes), style="dim"))


def conversion_table(report: "ConversionReport") -> RenderableType:
    """What became of each split, and what was left out."""
    table = Table(box=None, pad_edge=False)
    table.add_column(report.dataset)
    for heading in ("examples", "expected", "with records", "faults"):
        table.add_column(heading, justify="right")
    faults: list[Text] = []
    for name, split in report.splits.items():
        expected = "-" if split.expected is None else f"{split.expected:,}"
        table.add_row(
            name, f"{split.examples:,}", expected, f"{split.with_records:,}", f"{len(split.faults):,}"
        )
        faults += [Text(f"  {fault}", style="yellow") for fault in split.faults[:_MAX_FAULTS]]
        if len(split.faults) > _MAX_FAULTS:
            faults.append(Text(f"  ... and {len(split.faults) - _MAX_FAULTS:,} more in report.json"))
    notes = [Text(f"  not read: {', '.join(report.not_read)}", style="yellow")] if report.not_read else []
    if not report.is_as_expected:
        notes.append(Text("  the counts differ from the catalogue's", style="yellow"))
    return Group(table, *faults, *notes)


def export_table(exports: "Mapping[Split, ExportReport]") -> RenderableType:
    """What of each split a format could not hold."""
    lines = [
        f"{split} -> {report.format}: {counted(report.examples, 'example')}"
        + "".join(f"; {count:,} x lost: {what}" for what, count in report.lost.items())
        for split, report in exports.items()
    ]
    return Text("\n".join(lines))


def statistics_table(statistics: "Statistics") -> RenderableType:
    """A column for each split: sizes, lengths, and the records of each label; then texts that stand twice."""
    splits = statistics.splits
    table = Table(box=None, pad_edge=False)
    table.add_column("")
    for split in splits:
        table.add_column(split, justify="right")
    for name in ("examples", "with_records", "repeated_texts", "nested", "mean_length", "max_length"):
        numbers = (getattr(split, name) for split in splits.values())
        table.add_row(name.replace("_", " "), *(f"{number:,}" for number in numbers))
    labels = dict.fromkeys(label for split in splits.values() for label in split.records)
    for label in labels:
        row = (f"{split.records.get(label, 0):,}" for split in splits.values())
        table.add_row(Text(label, style="cyan"), *row)
    lines = [f"{counted(count, 'text')} of {name}" for name, count in statistics.overlaps.items()]
    lines += [f"{counted(count, 'text')} of train in {name}" for name, count in statistics.leaks.items()]
    return Group(table, *(Text(line, style="yellow") for line in lines))


def catalogue_table(datasets: "Iterable[Dataset]") -> Table:
    """The data sets that `convert` knows."""
    table = Table(box=None, pad_edge=False)
    for heading in ("name", "task", "domain", "language", "setting"):
        table.add_column(heading)
    for heading in ("train", "validation", "test"):
        table.add_column(heading, justify="right")
    table.add_column("released weights")
    for dataset in datasets:
        counts = dataset.counts
        table.add_row(
            *(dataset.name, dataset.task, dataset.domain, dataset.language, dataset.setting or "extra"),
            *(f"{counts[split]:,}" if split in counts else "-" for split in ("train", "validation", "test")),
            dataset.weights,
        )
    return table


def dataset_table(dataset: "Dataset") -> Table:
    """All that the catalogue says about one data set."""
    table = Table.grid(padding=(0, 3, 0, 0))
    for field, value in dataset.model_dump(mode="json").items():
        if field == "labels":
            value = "\n".join(
                f"{source} -> {label.name}"
                + "".join(f"\n  {slot} -> {ours}" for slot, ours in label.slots.items())
                for source, label in dataset.labels.items()
            )
        elif field == "sources":
            value = "\n".join(
                f"{split}: {', '.join(files.paths)} ({files.reader}{_options(files.options)})"
                for split, files in dataset.sources.items()
            )
        elif isinstance(value, dict):
            value = ", ".join(f"{key} {number}" for key, number in value.items())
        if value:
            table.add_row(Text(field.replace("_", " "), style="dim"), Text(str(value)))
    return table


def _options(options: Mapping[str, object]) -> str:
    return "".join(f", {name} {value}" for name, value in options.items())


def format_table(formats: "Mapping[str, Format]") -> Table:
    """The formats of users' own data that `convert` reads."""
    table = Table(box=None, pad_edge=False)
    table.add_column("format")
    table.add_column("files")
    for name, one in formats.items():
        table.add_row(name, f"*{one.suffix}" if one.suffix else "*.txt with *.ann")
    return table


def _cells(record: Record) -> list[Text]:
    cells = [] if record.filler is None else [_place(record.filler)]
    for filled in record.slots:
        name = Text(f"{filled.slot} ", style="dim")
        cells.append(name + (Text("-") if filled.filler is None else _place(filled.filler)))
    return cells


def _place(filler: Filler) -> Text:
    return Text(" ".join(filler.text.split())) + Text(f" [{filler.start}:{filler.end}]", style="dim")


def _score(record: Record) -> Text:
    return Text("" if record.score is None else f"{record.score:.2f}", style="green")


def _numbers(counts: "Counts") -> tuple[str, str, str, str]:
    return f"{counts.precision:.2f}", f"{counts.recall:.2f}", f"{counts.f1:.2f}", f"{counts.gold:,}"
