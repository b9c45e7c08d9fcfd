"""The elements of records, such as (event type, role, span), and how many gold and prediction share.

Elements are made of records by a key, which says when two fillers are the same: at the same place, or with
the same text.
"""

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from ucuie.schema import Capability, Filler, Record, Schema, Task

Element = tuple[str, Hashable]
"""An element: its label, and all else that has to be equal in gold and prediction."""


@dataclass(frozen=True)
class Counts:
    """Numbers of elements; those of several texts add up to a micro average.

    The scores are in per cent; 0/0 is 0. They pass 100 only under `knowcoder-em`, where one gold element
    can be matched by several predictions.
    """

    gold: int = 0
    predicted: int = 0
    matched: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(self.gold + other.gold, self.predicted + other.predicted, self.matched + other.matched)

    @property
    def precision(self) -> float:
        """The share of the predicted elements that is right, in per cent."""
        return 100 * self.matched / self.predicted if self.predicted else 0.0

    @property
    def recall(self) -> float:
        """The share of the gold elements that was predicted, in per cent."""
        return 100 * self.matched / self.gold if self.gold else 0.0

    @property
    def f1(self) -> float:
        """The harmonic mean of precision and recall, in per cent."""
        total = self.gold + self.predicted
        return 200 * self.matched / total if total else 0.0


LabelCounts = Mapping[str, Counts]
"""The counts of each label; their sum is the row's."""

RowCounts = Mapping[str, LabelCounts]
"""The counts of every row of a report, such as NER or ED."""


def count_multiset(gold: Iterable[Element], predicted: Iterable[Element]) -> LabelCounts:
    """Each gold element can be matched once: two predictions of one gold element are one match."""
    golds, predictions = Counter(gold), Counter(predicted)
    return _by_label(golds, predictions, golds & predictions)


def count_set(gold: Iterable[Element], predicted: Iterable[Element]) -> LabelCounts:
    """Equal elements count once, in the gold and in the predictions."""
    return count_multiset(set(gold), set(predicted))


def count_members(gold: Iterable[Element], predicted: Iterable[Element]) -> LabelCounts:
    """Every prediction that is in the gold is a match, however often it was predicted."""
    golds, predictions = Counter(gold), Counter(predicted)
    matched = Counter({element: count for element, count in predictions.items() if element in golds})
    return _by_label(golds, predictions, matched)


def _by_label(gold: Counter[Element], predicted: Counter[Element], matched: Counter[Element]) -> LabelCounts:
    totals = {label: [0, 0, 0] for label in sorted({label for label, _ in (*gold, *predicted)})}
    for place, elements in enumerate((gold, predicted, matched)):
        for (label, _), count in elements.items():
            totals[label][place] += count
    return {label: Counts(*numbers) for label, numbers in totals.items()}


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
    return [
        (record.frame, (_own(record, key), frozenset(Counter(arguments([record], key)).items())))
        for record in records
    ]


def typed_relations(records: Iterable[Record], entities: Iterable[Record], key: Key) -> list[Element]:
    """Whole records whose fillers carry the types that the entities give them."""
    types: dict[Hashable, set[str]] = {}
    for label, filler in mentions(entities, key):
        types.setdefault(filler, set()).add(label)

    def typed_key(filler: Filler) -> Hashable:
        return frozenset(types.get(key(filler), ())), key(filler)

    return whole_records(records, typed_key)


def judged(records: Iterable[Record]) -> list[Element]:
    """(type) and (type, slot), each once: all that is there, without its text."""
    found: list[Element] = []
    for record in records:
        found.append((record.frame, None))
        found += [(record.frame, filled.slot) for filled in record.slots]
    return list(dict.fromkeys(found))


def located(records: Iterable[Record], key: Key) -> list[Element]:
    """(frame or slot, filler), each once: the fillers, whatever they belong to."""
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
    """The elements that a capability is judged by, of its own answers or of full records."""
    if capability == "judging":
        return judged(records)
    if capability == "locating":
        return located(records, key)
    return whole_records(records, key)


def _own(record: Record, key: Key) -> Hashable:
    return None if record.filler is None else key(record.filler)
