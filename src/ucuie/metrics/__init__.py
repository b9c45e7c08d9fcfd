"""Scores: predicted records against gold records, under named rules (`scoring.md`).

    report = score(examples, predictions)            # the default scorer, "offset"
    report.mean_f1("NER"), report.micro("EAE linked").recall

    print(render_text(break_down(examples, predictions)))    # labels, intervals, confusions, mistakes
    bootstrap(examples, predictions), over_trials([report, ...])

Loads no torch.
"""

from ucuie.metrics.breakdown import Breakdown, break_down, render_page, render_text, write_breakdown
from ucuie.metrics.counts import Counts
from ucuie.metrics.mistakes import Mark, find_mistakes, mark_elements
from ucuie.metrics.report import HEADLINE_ROWS, Report, placing_ceiling, score, scorer_names
from ucuie.metrics.scorers import SCORERS
from ucuie.metrics.uncertainty import (
    Difference,
    Interval,
    TrialScore,
    bootstrap,
    over_trials,
    paired_difference,
)
from ucuie.metrics.views import View, apply_views, coarse_types, gold_trigger, positives_only

__all__ = [
    "HEADLINE_ROWS",
    "SCORERS",
    "Breakdown",
    "Counts",
    "Difference",
    "Interval",
    "Mark",
    "Report",
    "TrialScore",
    "View",
    "apply_views",
    "bootstrap",
    "break_down",
    "coarse_types",
    "find_mistakes",
    "gold_trigger",
    "mark_elements",
    "over_trials",
    "paired_difference",
    "placing_ceiling",
    "positives_only",
    "render_page",
    "render_text",
    "score",
    "scorer_names",
    "write_breakdown",
]
