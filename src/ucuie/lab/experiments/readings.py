"""What the numbers say, in sentences: the paper's claims, each with whether it holds in these trials.

Sentences are made from results, so they change with them. Nothing is said of trials that are not there.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise

from ucuie.data import read_predictions
from ucuie.lab.experiments.definitions import Plan
from ucuie.lab.experiments.samples import gold
from ucuie.lab.experiments.tables import Trials
from ucuie.lab.experiments.trials import MASKS, mask_title
from ucuie.lab.experiments.variants import VARIANTS
from ucuie.metrics import HEADLINE_ROWS, Difference, paired_difference
from ucuie.schema import CAPABILITIES, Record

ORDER = ("soft", "hard", "no-shared", "lora-moe", "lora")
"""The paper's order of the variants, best first."""
OPTIMISATION = ("no-warming", "no-entropy", "no-bce")
"""What the paper takes out of the training, each of which hurts there."""


def difference(plan: Plan, first: str, second: str) -> Difference | None:
    """How much better a variant is than another in mean F1; None without trials of both."""
    examples = gold(plan.workspace.folder, "test")
    predictions: list[list[Sequence[Sequence[Record]]]] = []
    for variant in (first, second):
        folders = [plan.workspace.folder / one.folder for one in plan.finished(variant)]
        if not folders:
            return None
        predictions.append([read_predictions(one / "predictions.jsonl", examples) for one in folders])
    return paired_difference(examples, *predictions, rows=HEADLINE_ROWS)


def ordering_claims(plan: Plan) -> list[str]:
    """Says of each of the paper's orderings whether it holds here, and how surely."""
    titles = {name: variant.title for name, variant in VARIANTS.items()}
    controls = [name for name, variant in VARIANTS.items() if variant.group == "control"]
    return [
        *(_claim(plan, one, two, f"{titles[one]} > {titles[two]}") for one, two in pairwise(ORDER)),
        *(_claim(plan, "soft", other, f"{titles[other]}: hurts") for other in OPTIMISATION),
        *(
            _claim(plan, "soft", other, f"control: UC-UIE, soft router > {titles[other]}")
            for other in controls
        ),
    ]


def _claim(plan: Plan, first: str, second: str, words: str) -> str:
    if not {first, second} <= set(plan.variants):
        return f"- {words}: not run."
    found = difference(plan, first, second)
    if found is None:
        return f"- {words}: not measured yet."
    holds = "holds" if found.mean > 0 else "does not hold"
    surely = "significant" if found.is_significant else "not significant"
    trials = f"trials: {len(plan.finished(first))} and {len(plan.finished(second))}"
    return (
        f"- {words}: **{holds}** here, {surely} ({found.mean:+.1f} points, 95 % interval {found.low:+.1f} to "
        f"{found.high:+.1f}; {trials})."
    )


def dominance_claims(scores: Mapping[str, Mapping[str, Trials]]) -> list[str]:
    """Tell whether each capability task is best under its own expert, of the three experts alone.

    A lead no larger than the standard deviation over seeds is none.

    Args:
        scores: F1 by capability task, then by the title of the mask.
    """
    claims = []
    for capability in CAPABILITIES:
        by_mask = scores.get(capability, {})
        alone = {one: by_mask.get(mask_title((one,)), Trials(())) for one in CAPABILITIES}
        known = {one: trials.mean for one, trials in alone.items() if trials.mean is not None}
        if len(known) < len(CAPABILITIES):
            claims.append(f"- {capability}: not measured yet.")
            continue
        own = known[capability]
        others = [mean for one, mean in known.items() if one != capability]
        spread = max(trials.deviation or 0.0 for trials in alone.values())
        two = next(mask for mask in MASKS if len(mask) == 2 and capability not in mask)
        without, both = (by_mask[mask_title(mask)].mean or 0.0 for mask in (two, CAPABILITIES))
        if abs(own - max(others)) <= spread:
            verdict = "level, within the deviation over seeds, under its own expert and the best other"
        elif own > max(others):
            verdict = "best under its own expert"
        else:
            verdict = f"best under {max(known, key=known.__getitem__)}"
        alone_others = ", ".join(f"{one:.1f}" for one in others)
        claims.append(
            f"- {capability}: **{verdict}** ({own:.1f}; the other two alone give {alone_others})."
            f" Taking its expert from all three: {both:.1f} to {without:.1f} ({without - both:+.1f} points)."
        )
    return claims
