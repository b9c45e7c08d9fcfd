"""Extractions, scores and data sets as tables for the terminal."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.segment import Segment
from rich.table import Table as RichTable
from rich.text import Text

from ucuie.errors import visible
from ucuie.extract.result import Extraction
from ucuie.schema import SPLITS, Filler, Record, Split
from ucuie.templates import Table, counted

if TYPE_CHECKING:
    # The converters and scorers take as long to load as all the rest of the command.
    from ucuie.data import ConversionReport, Dataset, ExportReport, Format, Statistics
    from ucuie.evaluation.calibrate import CalibrationReport
    from ucuie.evaluation.choosing import ChosenPoint
    from ucuie.evaluation.evaluate import EvaluationReport
    from ucuie.metrics import TrialScore

_MAX_FAULTS = 5
_MAX_COLUMNS = 4
"""Records with more fillers than this are set in one column, or the columns would be too narrow."""


class SafeConsole(Console):
    """A console whose terminal obeys no text that it shows."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """The segments of rich, with the control characters of texts in words."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(visible(segment.text), segment.style)


def extraction_table(extraction: Extraction) -> RenderableType:
    """The text and under it a line for each record: frame, fillers with their places, score."""
    title = Text(visible(f'"{extraction.text}"'), style="bold")
    others = []
    if extraction.alternatives is not None:
        others.append(Text(f"  other answers: {len(extraction.alternatives)}", style="dim"))
    if not extraction.records:
        return Group(title, Text("  nothing found", style="dim"), *others, "")
    rows = [_cells(record) for record in extraction.records]
    if max(map(len, rows)) > _MAX_COLUMNS:
        rows = [[Text("   ").join(cells)] for cells in rows]
    table = RichTable.grid(padding=(0, 3, 0, 0))
    for record, cells in zip(extraction.records, rows, strict=True):
        blanks = [Text()] * (max(map(len, rows)) - len(cells))
        score = Text("" if record.score is None else f"{record.score:.2f}", style="green")
        table.add_row(Text(visible(f"  {record.frame}"), style="cyan"), *cells, *blanks, score)
    notes = []
    if extraction.truncated:
        notes.append(Text("  the answer was cut; records may be missing", style="yellow"))
    if extraction.dropped:
        notes.append(Text(f"  left out: {len(extraction.dropped)}", style="dim"))
    return Group(title, table, *notes, *others, "")


def trials_table(scorer: str, trials: "Sequence[TrialScore]") -> Table:
    """Every row over several trials."""
    columns = ("task", "row", "data set", "mean", "standard deviation", "trials")
    rows = [
        (
            *(one.task, one.row, "mean" if one.dataset is None else one.dataset or "-"),
            *(f"{one.mean:.2f}", f"{one.deviation:.2f}", len(one.f1s)),
        )
        for one in trials
    ]
    return Table(columns, rows, title=f"scorer: {scorer}, F1 %")


def calibration_tables(report: "CalibrationReport") -> RenderableType:
    """The errors of scores before and after, for each kind and task, and for data sets apart."""
    note = counted(report.num_texts, "text")
    if report.num_unreadable:
        note += f"; {report.num_unreadable:,} more were too long for the model"
    rows = []
    for row in report.rows:
        shares = (row.accuracy, row.ece_before, row.ece_after, row.ece_by_chance)
        names = (row.kind, row.task or "all", row.dataset or "all", row.method, row.num_elements)
        rows.append((*names, *(f"{100 * share:.1f}" for share in shares)))
    columns = ("element", "task", "data set", "method", "elements")
    errors = Table(
        (*columns, "right %", "before %", "after %", "by chance %"),
        rows,
        title="expected calibration error, after: cross-validated",
        notes=[note],
    )
    chosen = [] if report.choice is None else [_choice_table(report.choice).to_terminal(), ""]
    return Group(*chosen, errors.to_terminal())


def _choice_table(choice: "ChosenPoint") -> Table:
    rows: list[tuple[object, ...]] = [
        (one.dataset or "-", one.num_texts, f"{one.before:.1f}", f"{one.after:.1f}")
        for one in choice.datasets
    ]
    if len(choice.datasets) > 1:
        rows.append(("mean", None, f"{choice.before:.1f}", f"{choice.after:.1f}"))
    biases = ", ".join(f"{bias:g}" for bias in choice.end_biases)
    chosen = f"chosen: {choice.point}; of the end biases {biases}"
    found = choice.false_finds_before, choice.false_finds_after
    silence = (
        [] if None in found else ["found where there is nothing: {:.1f} %, after: {:.1f} %".format(*found)]
    )
    return Table(
        ("data set", "texts", "before", "after"),
        rows,
        title="F1 %, after: cross-validated",
        notes=[chosen, *silence],
    )


def evaluation_tables(report: "EvaluationReport") -> RenderableType:
    """All that an evaluation found: several scorers side by side, the first in full, kinds of mistakes."""
    from ucuie.metrics.breakdown import comparison_table, score_table

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
        values = [
            f"{name}={least:g} for {task}"
            for task, by_name in report.threshold.items()
            for name, least in by_name.items()
        ]
        notes.append(f"thresholds {', '.join(values)}")
    if report.dropped:
        notes.append(f"{counted(sum(report.dropped.values()), 'piece')} of answers left out")
    kinds = [("right", report.breakdown.mistakes.right), *report.breakdown.mistakes.kinds.items()]
    found = "fillers: " + ", ".join(f"{count:,} {kind}" for kind, count in kinds)
    compared = [comparison_table(report.breakdown).to_terminal(), ""] if len(report.scores) > 1 else []
    scores = score_table(report.breakdown).to_terminal()
    return Group(*compared, scores, "", found, Text("; ".join(notes), style="dim"))


def conversion_table(report: "ConversionReport") -> RenderableType:
    """The counts of each split, and the first faults."""
    rows, faults = [], []
    for name, split in report.splits.items():
        expected = "-" if split.expected is None else split.expected
        rows.append((name, split.examples, expected, split.with_records, len(split.faults)))
        faults += [f"  {fault}" for fault in split.faults[:_MAX_FAULTS]]
        if len(split.faults) > _MAX_FAULTS:
            faults.append(f"  ... and {len(split.faults) - _MAX_FAULTS:,} more in report.json")
    if report.not_read:
        faults.append(f"  not read: {', '.join(report.not_read)}")
    if not report.is_as_expected:
        faults.append("  the counts differ from the catalogue's")
    table = Table((report.dataset, "examples", "expected", "with records", "faults"), rows)
    return Group(table.to_terminal(), *_warnings(faults))


def export_table(exports: "Mapping[Split, ExportReport]") -> RenderableType:
    """The size of each split, with all that a format could not hold."""
    lines = []
    for split, report in exports.items():
        lost = "".join(f"; {count:,} x lost: {what}" for what, count in report.lost.items())
        lines.append(f"{split} -> {report.format}: {counted(report.examples, 'example')}{lost}")
    return Text("\n".join(lines))


def statistics_table(statistics: "Statistics") -> RenderableType:
    """A column for each split: sizes, lengths, and the records of each label; then texts that stand twice."""
    splits = statistics.splits
    names = ("examples", "with_records", "repeated_texts", "nested", "mean_length", "max_length")
    labels = dict.fromkeys(label for split in splits.values() for label in split.records)
    rows: list[tuple[object, ...]] = [
        (name.replace("_", " "), *(f"{getattr(split, name):,}" for split in splits.values()))
        for name in names
    ]
    rows += [
        (Text(label, style="cyan"), *(split.records.get(label, 0) for split in splits.values()))
        for label in labels
    ]
    lines = [f"{counted(count, 'text')} of {name}" for name, count in statistics.overlaps.items()]
    lines += [f"{counted(count, 'text')} of train in {name}" for name, count in statistics.leaks.items()]
    return Group(Table(("", *splits), rows).to_terminal(), *_warnings(lines))


def _warnings(lines: Iterable[str]) -> list[Text]:
    return [Text(line, style="yellow") for line in lines]


def catalogue_table(datasets: "Iterable[Dataset]") -> Table:
    """The data sets that `convert` knows."""
    rows = [
        (
            *(one.name, one.task, one.domain, one.language, one.setting or "extra"),
            *(one.counts.get(split, "-") for split in SPLITS),
            one.weights,
        )
        for one in datasets
    ]
    return Table(("name", "task", "domain", "language", "setting", *SPLITS, "released weights"), rows)


def dataset_table(dataset: "Dataset") -> Table:
    """All that the catalogue says about one data set."""
    rows = []
    for field, value in dataset.model_dump(mode="json").items():
        if field == "labels":
            value = "\n".join(
                f"{source} -> {label.name}"
                + "".join(f"\n  {slot} -> {ours}" for slot, ours in label.slots.items())
                for source, label in dataset.labels.items()
            )
        elif field == "sources":
            value = "\n".join(
                f"{split}: {', '.join(files.paths)} ("
                + ", ".join([files.reader, *(f"{name} {option}" for name, option in files.options.items())])
                + ")"
                for split, files in dataset.sources.items()
            )
        elif isinstance(value, dict):
            value = ", ".join(f"{key} {number}" for key, number in value.items())
        if value:
            rows.append((Text(field.replace("_", " "), style="dim"), str(value)))
    return Table((), rows)


def format_table(formats: "Mapping[str, Format]") -> Table:
    """The formats of users' own data that `convert` reads."""
    rows = [(name, f"*{one.suffix}" if one.suffix else "*.txt with *.ann") for name, one in formats.items()]
    return Table(("format", "files"), rows)


def _cells(record: Record) -> list[Text]:
    cells = [] if record.filler is None else [_place(record.filler)]
    for filled in record.slots:
        name = Text(visible(f"{filled.slot} "), style="dim")
        cells.append(name + (Text("-") if filled.filler is None else _place(filled.filler)))
    return cells


def _place(filler: Filler) -> Text:
    return Text(visible(" ".join(filler.text.split()))) + Text(f" [{filler.start}:{filler.end}]", style="dim")
