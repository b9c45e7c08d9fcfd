"""What is compared: the elements of records, such as (event type, role, span).

Every function takes records and a key, which says when two fillers are the same (their span, their
text), and knows nothing of gold, predictions or scores.
"""

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence

from ucuie.metrics.counts import Element
from ucuie.schema import Capability, Filler, Record, Schema, Task

Key = Callable[[Filler], Hashable]


def span_key(filler: Filler) -> Hashable:
    """Fillers are the same if they stand at the same place."""
    return filler.span


def text_key(filler: Filler) -> Hashable:
    """Fillers are the same if they read the same."""
    return filler.text


def mentions(records: Iterable[Record], key: Key) -> list[Element]:
    """(type, filler) of every frame with a filler: entities, triggers."""
    return [(record.frame, key(record.filler)) for record in records if record.filler is not None]


def arguments(records: Iterable[Record], key: Key) -> list[Element]:
    """(type, role, filler) of every argument, whichever event it belongs to."""
    return [
        (f"{record.frame} / {filled.slot}", (record.frame, filled.slot, key(filled.filler)))
        for record in records
        for filled in record.slots
        if filled.filler is not None
    ]


def linked_arguments(records: Iterable[Record], key: Key) -> list[Element]:
    """(type, trigger, role, filler) of every argument."""
    return [
        (label, (_own(record, key), element))
        for record in records
        for label, element in arguments([record], key)
    ]


def whole_records(records: Iterable[Record], key: Key) -> list[Element]:
    """The frame with its filler and all its slots, in any order; slots without text do not count."""
    return [(record.frame, (_own(record, key), _multiset(arguments([record], key)))) for record in records]


def typed_relations(records: Iterable[Record], entities: Iterable[Record], key: Key) -> list[Element]:
    """Whole records whose fillers carry the types that the entities give them."""
    types: dict[Hashable, frozenset[str]] = {}
    for label, filler in mentions(entities, key):
        types[filler] = types.get(filler, frozenset()) | {label}

    def typed_key(filler: Filler) -> Hashable:
        return types.get(key(filler)), key(filler)

    return whole_records(records, typed_key)


def judged(records: Iterable[Record]) -> list[Element]:
    """(type) and (type, slot), each once: what is there, without its text."""
    found: list[Element] = []
    for record in records:
        found.append((record.frame, None))
        found += [(record.frame, filled.slot) for filled in record.slots]
    return list(dict.fromkeys(found))


def located(records: Iterable[Record], key: Key) -> list[Element]:
    """(frame or slot, filler), each once: what stands where, without what belongs together."""
    found = mentions(records, key)
    for record in records:
        found += [(filled.slot, key(filled.filler)) for filled in record.slots if filled.filler is not None]
    return list(dict.fromkeys(found))


def elements_by_row(
    task: Task | Capability, schema: Schema, records: Sequence[Record], key: Key
) -> dict[str, list[Element]]:
    """The elements of a text for every row that its task is reported with.

    `RE strict` is there where the schema has entities (frames without slots) beside the relations: their
    records give the types of the arguments.
    """
    frames = whole_records(records, key)
    if task == "NER":
        return {"NER": mentions(records, key), "frame": frames}
    if task == "RE":
        entity_names = {frame.name for frame in schema.frames if not frame.slots}
        entities = [record for record in records if record.frame in entity_names]
        relations = [record for record in records if record.frame not in entity_names]
        rows = {"RE boundary": whole_records(relations, key)}
        if entity_names:
            rows["RE strict"] = typed_relations(relations, entities, key)
        return {**rows, "frame": frames}
    if task == "EE":
        return {
            "ED": mentions(records, key),
            "EAE pooled": arguments(records, key),
            "EAE linked": linked_arguments(records, key),
            "frame": frames,
        }
    if task == "ABSA":
        return {"ABSA": frames, "frame": frames}
    return {task: elements_of_capability(task, records, key)}


def elements_of_capability(capability: Capability, records: Sequence[Record], key: Key) -> list[Element]:
    """What a capability is judged by, from its own answers or from full records (design, 2.4)."""
    if capability == "judging":
        return judged(records)
    if capability == "locating":
        return located(records, key)
    return whole_records(records, key)


def _own(record: Record, key: Key) -> Hashable:
    return None if record.filler is None else key(record.filler)


def _multiset(elements: Iterable[Hashable]) -> frozenset[tuple[Hashable, int]]:
    return frozenset(Counter(elements).items())
