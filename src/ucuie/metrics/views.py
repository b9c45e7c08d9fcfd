"""Other ways to look at the same predictions: gold and predictions changed alike before they are scored.

Every view takes an example and what was predicted for it, and gives the two that are to be scored.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from ucuie.schema import Example, Frame, Record, Schema, Slot

Scored = tuple[Example, Sequence[Record]]
View = Callable[[Example, Sequence[Record]], Scored | None]


def apply_views(
    examples: Iterable[Example], predictions: Iterable[Sequence[Record]], views: Sequence[View]
) -> tuple[list[Example], list[Sequence[Record]]]:
    """Examples and predictions as the views show them, one view after the other; some may be left out.

    Raises:
        ValueError: there are more examples than predictions, or fewer.
    """
    shown: list[Scored] = []
    for example, predicted in zip(examples, predictions, strict=True):
        pair: Scored | None = (example, predicted)
        for view in views:
            pair = pair and view(*pair)
        if pair is not None:
            shown.append(pair)
    return [example for example, _ in shown], [predicted for _, predicted in shown]


def gold_trigger(example: Example, predicted: Sequence[Record]) -> Scored:
    """Arguments under gold triggers: predicted events count only where type and trigger are right."""
    if example.task != "EE":
        return example, predicted
    gold = {(record.frame, record.filler and record.filler.span) for record in example.records}
    return example, [
        record for record in predicted if (record.frame, record.filler and record.filler.span) in gold
    ]


def positives_only(example: Example, predicted: Sequence[Record]) -> Scored | None:
    """Texts without any gold record are left out, as in tables of systems that were never shown any."""
    return (example, predicted) if example.records else None


def coarse_types(types: Mapping[str, str]) -> View:
    """Frames under coarser names; those that the map does not name stay as they are.

    Records that become equal stay apart, as many as there were.
    """
    return partial(_coarse, types)


def _coarse(types: Mapping[str, str], example: Example, predicted: Sequence[Record]) -> Scored:
    slots: dict[str, dict[str, Slot]] = {}
    for frame in example.schema.frames:
        of_frame = slots.setdefault(types.get(frame.name, frame.name), {})
        of_frame.update({slot.name: slot for slot in frame.slots if slot.name not in of_frame})
    frames = tuple(Frame(name=name, slots=tuple(found.values())) for name, found in slots.items())
    gold, renamed = (
        tuple(
            record.model_copy(update={"frame": types.get(record.frame, record.frame)}) for record in records
        )
        for records in (example.records, predicted)
    )
    return replace(example, schema=Schema(frames=frames), records=gold), renamed
