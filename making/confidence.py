"""Makes the figures of docs/confidence.md anew: calibration errors, reliability, the bias on ending.

    python -m making.confidence --model runs/ucuie-mini --data runs/data --knob runs/data/bc5cdr

The model stays as it is; `ucuie calibrate` is what changes one.
"""

import argparse
import re
from collections.abc import Sequence
from pathlib import Path

from ucuie.data import read_gold
from ucuie.evaluation.calibrate import CalibrationReport, calibrate
from ucuie.extract.extractor import Extractor, Query
from ucuie.extract.options import AnswerOptions
from ucuie.files import write_text
from ucuie.metrics import score
from ucuie.model.folder import EMBEDDED
from ucuie.render.plots import reliability_plot
from ucuie.schema import Example
from ucuie.templates import Table

PAGE = Path(__file__).parents[1] / "docs" / "confidence.md"
BIASES = (-4.0, -2.0, -1.0, 0.0, 1.0, 2.0, 4.0)


def error_table(report: CalibrationReport) -> str:
    """Errors of every kind, task and data set, as Markdown."""
    columns = ("element", "task", "data set", "calibrator", "elements", "right %", "ECE before", "ECE after")
    rows = []
    for row in report.rows:
        names = (row.kind, row.task or "all", row.dataset or "all", row.method)
        shares = (row.accuracy, row.ece_before, row.ece_after, row.ece_by_chance)
        rows.append((*names, row.num_elements, *(f"{100 * share:.1f}" for share in shares)))
    return Table((*columns, "by chance"), rows).to_markdown()


def reliability_table(report: CalibrationReport) -> str:
    """The bins of the records of all tasks, as Markdown."""
    row = next(row for row in report.rows if row.kind == "record" and row.task is None)
    rows = [
        (
            *(f"{raw.mean_score:.3f}", f"{100 * raw.accuracy:.1f}"),
            *(f"{calibrated.mean_score:.3f}", f"{100 * calibrated.accuracy:.1f}", calibrated.num_elements),
        )
        for raw, calibrated in zip(row.bins_before, row.bins_after, strict=True)
    ]
    return Table(("raw score", "right %", "calibrated score", "right %", "records"), rows).to_markdown()


def knob_table(extractor: Extractor, examples: Sequence[Example]) -> str:
    """Precision and recall by the bias on ending, as Markdown."""
    rows = []
    for bias in BIASES:
        options = AnswerOptions(end_bias=bias)
        answers = list(extractor.answer(Query.of_example(example, options) for example in examples))
        counts = score(examples, [answer.records for answer in answers]).micro("frame")
        numbers = (f"{number:.1f}" for number in (counts.precision, counts.recall, counts.f1))
        num_cut = sum(answer.truncated for answer in answers)
        rows.append((f"{bias:+g}", counts.predicted, *numbers, num_cut))
    columns = ("end bias", "records", "precision %", "recall %", "F1 %", "answers cut")
    return Table(columns, rows).to_markdown()


def filled(page: str, name: str, content: str) -> str:
    """The page with the content between `<!-- name -->` and `<!-- /name -->`."""
    return re.sub(
        f"(?<=<!-- {name} -->\n).*?(?=<!-- /{name} -->)",
        lambda _: content.rstrip("\n") + "\n",
        page,
        flags=re.DOTALL,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", default=EMBEDDED, help="a model folder; left out, the embedded model")
    parser.add_argument("--data", type=Path, required=True, help="folder of folders made by `ucuie convert`")
    parser.add_argument("--limit", type=int, default=1000, help="at most so many texts of each data set")
    parser.add_argument("--knob", type=Path, required=True, help="the data set that the bias is shown on")
    parser.add_argument("--knob-limit", type=int, default=300)
    parser.add_argument("--page", type=Path, default=PAGE)
    options = parser.parse_args()
    extractor = Extractor.from_pretrained(options.model, device="cpu")
    gold = read_gold(options.data, split="validation", limit=options.limit)
    report = calibrate(extractor, gold, end_biases=())
    page = options.page.read_text("utf-8")
    texts = ", ".join(f"{name} {count:,}" for name, count in report.calibration.texts.items())
    page = filled(page, "texts", f"Validation texts: {texts}.")
    page = filled(page, "errors", error_table(report))
    page = filled(page, "reliability", reliability_table(report))
    examples = read_gold(options.knob, split="validation", limit=options.knob_limit)
    page = filled(page, "knob", knob_table(extractor, examples))
    write_text(options.page, page)
    write_text(options.page.with_name("reliability.svg"), reliability_plot(report))


if __name__ == "__main__":
    main()
