"""Scores: predicted records against gold records, under named rules (`scoring.md`).

    report = score(examples, predictions)            # the default scorer, "offset"
    report.mean_f1("NER"), report.micro("EAE linked").recall

Needs nothing but the standard library and the package's own words; no torch.
"""

from ucuie.metrics.counts import Counts
from ucuie.metrics.report import Report, RowScore, placing_ceiling, score
from ucuie.metrics.scorers import SCORERS, Scorer

__all__ = ["SCORERS", "Counts", "Report", "RowScore", "Scorer", "placing_ceiling", "score"]
