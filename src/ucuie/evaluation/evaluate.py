"""Evaluation: a model on gold data, its predictions and their scores.

In: an extractor and unified JSONL. Out: `predictions.jsonl`, one extraction a line, `report.json`, and the
score taken apart in `breakdown.json`, `.txt` and `.html`; all of them or none. An interrupted evaluation goes
on where it was when it is started again.
"""

import json
import os
import platform
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ucuie.extract.extractor import Extractor, Query
from ucuie.extract.options import AnswerOptions
from ucuie.extract.query import Progress, answer_staged, resume_key
from ucuie.extract.result import Extraction
from ucuie.files import StagedLines, staged_files, write_text
from ucuie.metrics import Breakdown, Report, break_down, scorer_names, write_breakdown
from ucuie.schema import Dropped, Example

DEFAULT_SCORER = "offset"
PREDICTIONS_FILE = "predictions.jsonl"
REPORT_FILE = "report.json"


@dataclass(frozen=True)
class EvaluationReport:
    """The findings of an evaluation; `report.json` holds the same.

    Args:
        model: the name that extractions call it.
        end_bias: its own and the one asked for together.
        threshold: the least scores of whole answers that were kept, by task and by the names of types; `*` is
            all others.
        num_examples: texts, those included that the model could not read.
        num_unreadable: texts with a type too large for the model; all their records count as missed.
        num_truncated: texts of which an output was cut at the limit asked for.
        dropped: outputs that were no records, counted by reason.
        seconds: wall-clock time of all extractions.
        breakdown: one report for each scorer, and the first of them taken apart.
    """

    model: str
    end_bias: float
    threshold: Mapping[str, Mapping[str, float]]
    num_examples: int
    num_unreadable: int
    num_truncated: int
    dropped: Mapping[str, int]
    seconds: float
    breakdown: Breakdown

    @property
    def scores(self) -> tuple[Report, ...]:
        """One report for each scorer."""
        return self.breakdown.reports

    @property
    def texts_per_second(self) -> float:
        """Throughput on this machine; 0 without any time."""
        return self.num_examples / self.seconds if self.seconds else 0.0

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain values."""
        return {
            "model": self.model,
            "end_bias": self.end_bias,
            "threshold": self.threshold,
            "examples": self.num_examples,
            "unreadable": self.num_unreadable,
            "truncated": self.num_truncated,
            "dropped": dict(self.dropped),
            "seconds": self.seconds,
            "texts_per_second": self.texts_per_second,
            "scores": [report.to_dict() for report in self.scores],
            "intervals": [asdict(interval) for interval in self.breakdown.intervals],
            "placing_ceiling": self.breakdown.ceiling.to_dict(),
        }


def evaluate(
    extractor: Extractor,
    examples: Sequence[Example],
    output: Path,
    *,
    scorer: str = DEFAULT_SCORER,
    options: AnswerOptions | None = None,
    progress: Progress | None = None,
) -> EvaluationReport:
    """Extracts from every example with its own schema, scores, and writes all files.

    Args:
        extractor: the model.
        examples: gold, of one or several data sets; see `ucuie.data.read_gold`.
        output: folder to write into; files of earlier evaluations are replaced.
        scorer: a name in `SCORERS`, or "all", whose first is taken apart.
        options: those of all answers; None uses the model as it is.
        progress: is shown every extraction on its way.

    Raises:
        ConfigError: there is no such scorer, or another run is writing there.
    """
    scorers = scorer_names(scorer)
    options = options or AnswerOptions()
    queries = [Query.of_example(example, options) for example in examples]
    faults = extractor.faults(queries)
    readable = [query for index, query in enumerate(queries) if index not in faults]
    with StagedLines(output / PREDICTIONS_FILE, key=resume_key(extractor, readable)) as staged:
        answers = answer_staged(extractor, readable, staged)
        if progress is not None:
            answers = progress(answers, len(readable))
        extractions = list(answers)
        by_example = _with_unreadable(extractions, queries, faults, extractor.model_name)
        used = {example.task: options.at(extractor.operating_point, example.task) for example in examples}
        report = EvaluationReport(
            model=extractor.model_name,
            end_bias=options.end_bias + extractor.operating_point.end_bias,
            threshold={
                task: dict(one.threshold.values) for task, one in used.items() if one.threshold.values
            },
            num_examples=len(examples),
            num_unreadable=len(faults),
            num_truncated=sum(extraction.truncated for extraction in extractions),
            dropped=Counter(dropped.reason for extraction in extractions for dropped in extraction.dropped),
            seconds=sum(extraction.seconds for extraction in extractions),
            breakdown=break_down(examples, [one.records for one in by_example], scorers=scorers),
        )
        with staged_files(output, last=REPORT_FILE) as folder:
            lines = (f"{extraction.to_json()}\n" for extraction in by_example)
            write_text(folder / PREDICTIONS_FILE, "".join(lines))
            names = ", ".join(dict.fromkeys(example.dataset or "data without a name" for example in examples))
            write_breakdown(report.breakdown, folder, title=f"{report.model} on {names}")
            content = report.to_dict() | {"environment": _environment()}
            write_text(folder / REPORT_FILE, json.dumps(content, indent=1, ensure_ascii=False) + "\n")
        staged.discard()
    return report


def _with_unreadable(
    extractions: Iterable[Extraction], queries: Sequence[Query], faults: Mapping[int, Exception], model: str
) -> list[Extraction]:
    """An extraction for every query: an empty one, with the reason, where the model could not read it."""
    whole = list(extractions)
    for index, fault in sorted(faults.items()):
        query, why = queries[index], Dropped(reason="the model cannot read it", value=str(fault))
        unread = Extraction(id=query.id, text=query.text, dropped=(why,), model=model, seconds=0)
        whole.insert(index, unread)
    return whole


def _environment() -> dict[str, Any]:
    """The machine and the packages that the times depend on."""
    import torch

    packages = ("ucuie", "torch", "transformers", "peft", "llguidance")
    return {
        "python": platform.python_version(),
        **{name: version(name) for name in packages},
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else platform.machine(),
        "date": time.strftime("%Y-%m-%d"),
    }
