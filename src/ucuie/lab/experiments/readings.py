"""What the numbers say, in sentences: the paper's claims, each with whether it holds in these trials.

Sentences are made from results, so they change with them. Nothing is said of trials that are not there.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise

from ucuie.data import read_predictions
from ucuie.lab.experiments.definitions import Plan
from ucuie.lab.experiments.results import finished_evaluations
from ucuie.lab.experiments.samples import gold
from ucuie.lab.experiments.tables import Trials
from ucuie.lab.experiments.trials import MASKS, Gates, mask_title
from ucuie.lab.experiments.variants import VARIANTS
from ucuie.metrics import HEADLINE_ROWS, Difference, paired_difference
from ucuie.schema import CAPABILITIES, Capability, Record

ORDER = ("soft", "hard", "no-shared", "lora-moe", "lora")
"""The paper's order of the variants, best first."""
OPTIMISATION = ("no-warming", "no-entropy", "no-bce")
"""What the paper takes out of the training, each of which hurts there."""
CONTROLS = ("lora-equal", "full", "no-warming-longer", "equation-1", "untrained")


def difference(plan: Plan, first: str, second: str) -> Difference | None:
    """How much better a variant is than another in mean F1; None without trials of both."""
    examples = gold(plan.workspace.folder, "test")
    predictions: list[list[Sequence[Sequence[Record]]]] = []
    for variant in (first, second):
        paths = [
            plan.workspace.folder / one.folder / "predictions.jsonl"
            for one in finished_evaluations(plan, variant)
        ]
        if not paths:
            return None
        predictions.append([read_predictions(path, examples) for path in paths])
    return paired_difference(examples, predictions[0], predictions[1], rows=HEADLINE_ROWS)


def ordering_claims(plan: Plan) -> list[str]:
    """Says of each of the paper's orderings whether it holds here, and how surely."""
    claims = [
        _claim(plan, first, second, f"{VARIANTS[first].title} > {VARIANTS[second].title}")
        for first, second in pairwise(ORDER)
    ]
    claims += [_claim(plan, "soft", other, f"{VARIANTS[other].title}: hurts") for other in OPTIMISATION]
    claims += [
        _claim(plan, "soft", other, f"control: UC-UIE, soft router > {VARIANTS[other].title}")
        for other in CONTROLS
    ]
    return claims


def _claim(plan: Plan, first: str, second: str, words: str) -> str:
    if not {first, second} <= set(plan.variants):
        return f"- {words}: not run."
    found = difference(plan, first, second)
    if found is None:
        return f"- {words}: not measured yet."
    holds = "holds" if found.mean > 0 else "does not hold"
    surely = "significant" if found.is_significant else "not significant"
    numbers = [len(finished_evaluations(plan, one)) for one in (first, second)]
    trials = f"trials: {numbers[0]} and {numbers[1]}"
    return (
        f"- {words}: **{holds}** here, {surely} ({found.mean:+.1f} points, 95 % interval {found.low:+.1f} to "
        f"{found.high:+.1f}; {trials})."
    )


def dominance_claims(scores: Mapping[str, Mapping[str, Trials]]) -> list[str]:
    """Whether each capability task is best under its own expert, of the three experts alone.

    A lead no larger than the standard deviation over seeds is none.

    Args:
        scores: F1 by capability task, then by the title of the mask.
    """
    claims = []
    for capability in CAPABILITIES:
        alone = {
            one: scores[capability][mask_title((one,))]
            for one in CAPABILITIES
            if mask_title((one,)) in scores.get(capability, {})
        }
        known = {one: trials.mean for one, trials in alone.items() if trials.mean is not None}
        if len(known) < len(CAPABILITIES):
            claims.append(f"- {capability}: not measured yet.")
            continue
        own = known[capability]
        others = [mean for one, mean in known.items() if one != capability]
        spread = max(alone[one].deviation or 0.0 for one in CAPABILITIES)
        without = scores[capability][mask_title(_without(capability))].mean or 0.0
        both = scores[capability][mask_title(CAPABILITIES)].mean or 0.0
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


def _without(capability: Capability) -> Gates:
    return next(mask for mask in MASKS if len(mask) == 2 and capability not in mask)
