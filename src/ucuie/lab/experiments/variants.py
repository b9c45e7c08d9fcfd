"""The variants that are compared, each as its difference from UC-UIE with a soft router (`variants.yaml`).

In: a name. Out: parts of a `TrainConfig` to lay over those of the scale. Knows nothing of data or sizes.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from ucuie.config import Config
from ucuie.lab.experiments.scales import named_entries


class Variant(Config):
    """One way to train; `variants.yaml` says what the fields are. Stage 2 has `times_steps` as many steps."""

    name: str
    title: str
    settings: Mapping[str, Any] = {}
    match: Literal["rank", "parameters"] | None = None
    has_warming_steps: bool = False
    times_steps: int = 1
    tuned_as: str | None = None
    group: Literal["paper", "control", "other"] = "paper"


MOST_SUB_EXPERTS = 8
LONGER = ("soft", "lora", "full")
"""What is trained for longer as well: all experts, the fewest parameters, the most."""
TIMES_LONGER = 4


def _variants() -> Iterator[Variant]:
    written = {name: Variant.model_validate(entry) for name, entry in named_entries("variants.yaml").items()}
    yield from written.values()
    for number in range(1, MOST_SUB_EXPERTS + 1):
        yield Variant(
            name=f"sub-experts-{number}",
            title=f"{number} sub-experts",
            settings={"adapter": {"num_sub_experts": number}},
            tuned_as="soft",
            group="other",
        )
    for name in LONGER:
        changes = {
            "name": f"{name}-longer",
            "title": f"{written[name].title}, {TIMES_LONGER} times the steps",
            "times_steps": TIMES_LONGER,
            "tuned_as": name,
            "group": "other",
        }
        yield written[name].model_copy(update=changes)


VARIANTS: Mapping[str, Variant] = {variant.name: variant for variant in _variants()}
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
