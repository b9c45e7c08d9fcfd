"""The variants that are compared, each as its difference from UC-UIE with a soft router.

In: a name. Out: parts of a `TrainConfig` to lay over those of the scale. Knows nothing of data or sizes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

Match = Literal["rank", "parameters"]
Group = Literal["paper", "control", "other"]


@dataclass(frozen=True)
class Variant:
    """One way to train.

    Args:
        name: what the command calls it.
        title: what tables call it.
        settings: parts of a `TrainConfig`, laid over those of the scale.
        match: an adapter that takes its rank from what all experts of UC-UIE have together: the same rank, or
            as many trainable parameters as the nearest rank gives; None takes the rank of the settings.
        has_warming_steps: without a first stage, its steps are added to the second.
        times_steps: of the second stage, so many times as many.
        tuned_as: the variant whose learning rate it takes; None has one of its own.
        group: whether it is a row of the paper's ablations, a control beyond them, or another experiment's.
    """

    name: str
    title: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    match: Match | None = None
    has_warming_steps: bool = False
    times_steps: int = 1
    tuned_as: str | None = None
    group: Group = "paper"


_PLAIN = {"adapter": {"use_capability_experts": False}}
_NO_WARMING = {"warming": {"enabled": False}}
_NO_TRAINING = {**_NO_WARMING, "multitask": {"max_steps": 1, "learning_rate": 1e-12}}
MOST_SUB_EXPERTS = 8
LONGER = ("soft", "lora", "full")
"""What is trained for longer as well: all experts, the fewest parameters, the most."""
TIMES_LONGER = 4

_TRAINED_AS_LONG: Mapping[str, Variant] = {
    variant.name: variant
    for variant in (
        Variant("soft", "UC-UIE, soft router"),
        Variant("hard", "UC-UIE, hard router", {"adapter": {"router": "hard"}}),
        Variant("no-shared", "without shared expert", {"adapter": {"use_shared_expert": False}}),
        Variant(
            "lora-moe",
            "LoRA-MoE, one level, no shared expert",
            {"adapter": {"num_levels": 1, "use_shared_expert": False}},
        ),
        Variant("lora", "LoRA", _PLAIN),
        Variant("no-warming", "without capability warming", _NO_WARMING),
        Variant("no-entropy", "without entropy loss", {"loss": {"beta": 0.0}}),
        Variant("no-bce", "without BCE loss", {"loss": {"gamma": 0.0}}),
        Variant("lora-equal", "LoRA, equal parameters", _PLAIN, match="parameters", group="control"),
        Variant("full", "full fine-tuning", {"method": "full"}, has_warming_steps=True, group="control"),
        Variant(
            "no-warming-longer",
            "without warming, its steps in stage 2",
            _NO_WARMING,
            has_warming_steps=True,
            group="control",
        ),
        Variant(
            "equation-1",
            "loss of equation 1, over all tokens",
            {"loss": {"objective": "full"}},
            group="control",
        ),
        Variant("untrained", "backbone alone", {**_PLAIN, **_NO_TRAINING}, tuned_as="lora", group="control"),
        Variant("lora-rank", "LoRA, equal rank", _PLAIN, match="rank", group="other"),
        Variant(
            "no-paraphrase",
            "without paraphrased instructions",
            {"paraphrase": False},
            tuned_as="soft",
            group="other",
        ),
        *(
            Variant(
                f"sub-experts-{number}",
                f"{number} sub-experts",
                {"adapter": {"num_sub_experts": number}},
                tuned_as="soft",
                group="other",
            )
            for number in range(1, MOST_SUB_EXPERTS + 1)
        ),
    )
}


def _longer(variant: Variant) -> Variant:
    name, title = f"{variant.name}-longer", f"{variant.title}, {TIMES_LONGER} times the steps"
    return replace(
        variant, name=name, title=title, times_steps=TIMES_LONGER, tuned_as=variant.name, group="other"
    )


VARIANTS: Mapping[str, Variant] = {
    **_TRAINED_AS_LONG,
    **{f"{name}-longer": _longer(_TRAINED_AS_LONG[name]) for name in LONGER},
}
"""Every variant by name."""

ABLATIONS = tuple(variant.name for variant in VARIANTS.values() if variant.group != "other")
"""The rows of table4."""


def laid_over(settings: Mapping[str, Any], others: Mapping[str, Any]) -> dict[str, Any]:
    """Nested settings with others on top; neither is changed."""
    merged = dict(settings)
    for key, value in others.items():
        below = merged.get(key)
        if isinstance(value, Mapping) and isinstance(below, Mapping):
            value = laid_over(below, value)
        merged[key] = value
    return merged
