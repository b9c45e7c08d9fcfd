r"""Schema-guided dialogue: utterances to and from services, with spans of the services' slots.

`schema.json` describes services, slots and intents; `utterances.jsonl` has distinct utterances with spans:

    {"id": "train/16_00054/4", "speaker": "USER", "utterance": "I will be leaving from Philadelphia ...",
     "frames": [{"service": "Flights_1", "intent": "ReserveOnewayFlight",
                 "slots": [{"slot": "origin_city", "start": 23, "exclusive_end": 35}]}]}

Every slot of the service that is given by words of the utterance has a span, so the schema has all of them.
Some of the user's utterances become one frame of the intent with its slots. The utterances are much alike:
they are drawn so that each slot is there about as often, and each wording at most twice.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from making.sources.numbering import Examples, Found, Left, numbered, share
from making.sources.source import Source
from ucuie.data.catalogue import natural_name
from ucuie.data.draft import entity, filled_slots
from ucuie.schema import Frame, Record, Slot, Span

NAME = "sgd"
NUM_EXAMPLES = 8_000
_MAX_OF_A_WORDING = 2
_SHARE_OF_INTENTS = 0.7
"""Of the user's utterances with an intent and at least two spans, which are drawn first."""


@dataclass(frozen=True)
class _Service:
    name: str
    slots: Mapping[str, Slot]
    """Those that are given by words, by their names in the data."""
    intents: Mapping[str, Frame]


@dataclass(frozen=True)
class _Utterance:
    id: str
    text: str
    service: _Service
    intent: str | None
    spans: tuple[tuple[str, Span], ...]

    @property
    def is_whole(self) -> bool:
        """Whether it says what is wanted, and more than one thing of it."""
        return self.intent in self.service.intents and len(self.spans) > 1

    @property
    def wording(self) -> str:
        """The text with slots for what fills them."""
        pieces, last = [], 0
        for slot, (start, end) in sorted(self.spans, key=lambda one: one[1]):
            pieces += [self.text[last:start], slot]
            last = end
        return " ".join(pieces) + self.text[last:]


def read(folder: Path) -> Examples:
    """The drawn utterances, of one service each."""
    return numbered(NAME, _found(folder))


def _found(folder: Path) -> Iterator[Found | Left]:
    utterances = []
    services = _services(folder)
    for line in (folder / "utterances.jsonl").read_text("utf-8").splitlines():
        row = json.loads(line)
        if len(row["frames"]) != 1:
            yield Left("utterance to two services")
            continue
        (frame,) = row["frames"]
        spans = tuple((one["slot"], (one["start"], one["exclusive_end"])) for one in frame["slots"])
        service = services[frame["service"]]
        if any(slot not in service.slots for slot, _ in spans):
            yield Left("utterance with a span of a slot that is chosen from a list")
            continue
        utterances.append(_Utterance(row["id"], row["utterance"], service, frame["intent"], spans))
    drawn = list(_drawn(utterances))
    yield from (Left("utterance beyond its slots' share") for _ in range(len(utterances) - len(drawn)))
    yield from map(_example, drawn)


def _services(folder: Path) -> dict[str, _Service]:
    services = {}
    for service in json.loads((folder / "schema.json").read_text("utf-8")):
        slots = {
            slot["name"]: Slot(name=natural_name(slot["name"]), description=_sentence(slot["description"]))
            for slot in service["slots"]
            if not slot["is_categorical"]
        }
        intents = {
            intent["name"]: Frame(
                name=natural_name(intent["name"]),
                description=_sentence(intent["description"]),
                # Without descriptions: several intents with all of them are longer than any utterance.
                slots=tuple(Slot(name=slot.name) for slot in slots.values()),
            )
            for intent in service["intents"]
        }
        services[service["service_name"]] = _Service(service["service_name"], slots, intents)
    return services


def _sentence(description: str) -> str:
    """A description as a sentence."""
    description = description.strip().rstrip(".")
    return description[:1].upper() + description[1:] + "."


def _drawn(utterances: Iterable[_Utterance]) -> Iterator[_Utterance]:
    """Utterances that have a slot which is not there often enough; "often" grows until there are enough."""
    remaining = sorted(utterances, key=lambda one: share(one.id) - one.is_whole)
    slots: Counter[tuple[str, str]] = Counter()
    wordings: Counter[str] = Counter()
    num_drawn, often = 0, 5
    while remaining and num_drawn < NUM_EXAMPLES:
        later = []
        for utterance in remaining:
            own = {(utterance.service.name, slot) for slot, _ in utterance.spans}
            if wordings[utterance.wording] == _MAX_OF_A_WORDING:
                continue
            if num_drawn == NUM_EXAMPLES or min(slots[slot] for slot in own) >= often:
                later.append(utterance)
                continue
            wordings[utterance.wording] += 1
            slots.update(own)
            num_drawn += 1
            yield utterance
        remaining, often = later, often + 5


def _example(utterance: _Utterance) -> Found:
    service, text = utterance.service, utterance.text
    names = [(service.slots[slot].name, span) for slot, span in utterance.spans]
    if utterance.intent and utterance.is_whole and share(utterance.id + " intent") < _SHARE_OF_INTENTS:
        intent = service.intents[utterance.intent]
        others = [one for one in service.intents.values() if one != intent]
        frames = (intent, *others[:1])
        return Found("EE", text, frames, (Record(frame=intent.name, slots=filled_slots(text, names)),))
    frames = tuple(Frame(name=slot.name, description=slot.description) for slot in service.slots.values())
    return Found("NER", text, frames, tuple(entity(name, text, span) for name, span in names))


SOURCES = (
    Source(
        name=NAME,
        title="Schema-Guided Dialogue",
        licence="CC-BY-SA-4.0",
        attribution="google-research-datasets/dstc8-schema-guided-dialogue (e852981)",
        read=read,
        archive="sgd.tar.xz",
        cap=NUM_EXAMPLES,
        absent="schema",
    ),
)
