r"""PropBank frames: sentences with a predicate and its numbered roles, which each roleset describes in words.

    <roleset id="leave.11" name="depart, physically go away from a place">
      <roles><role descr="entity in motion" f="PAG" n="0"/> ...
      <example><text>This flight leaves from Nashville .</text>
        <propbank><rel relloc="2">leaves</rel>
          <arg type="ARG0" start="0" end="1">This flight</arg>  (tokens, the end is inclusive)

A frame is named by the predicate's words ("leave") or by the roleset's gloss ("depart"), the other of the two
describes it; its filler is the predicate, its slots the roles in few words and the commonest modifiers.
"""

import re
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from making.sources.numbering import Examples, Found, Left, numbered, share
from making.sources.source import Source
from ucuie.data.draft import contiguous_pieces, filled_slots, filler_at
from ucuie.data.tokens import join_tokens
from ucuie.schema import Frame, Record, Slot, Span

NAME = "propbank_frames"

_MODIFIERS = {
    "ARGM-TMP": "time",
    "ARGM-LOC": "place",
    "ARGM-MNR": "manner",
    "ARGM-CAU": "cause",
    "ARGM-PRP": "purpose",
    "ARGM-PNC": "purpose",
    "ARGM-DIR": "direction",
}
_MAX_ROLE_WORDS = 6
_MAX_DESCRIPTION_WORDS = 15
_MAX_ARGUMENT_TOKENS = 12
_MIN_TOKENS = 5
_MAX_TOKENS = 60
_GENERIC = frozenset(
    """
    agent patient theme cause causer instrument goal source location destination stimulus experiencer
    recipient beneficiary benefactive attribute attributive topic product result manner extent entity thing
    place time amount actor object subject predicate predication means
    """.split()  # noqa: SIM905  a list of quoted words says no more
)
_PLAIN = {"patient": "thing affected", "theme": "thing concerned", "attributive": "attribute"}
_TRACE = re.compile(r"\[*\*[A-Za-z0-9]*\*?(?:-\d+)?\]*(?:-\d+)?")
_UGLY = re.compile(r"[\[\]{}<>|\\*_\ufffd]|\S/$|-[LR]RB$|^-[LR]RB$")
_PREPOSITIONS = frozenset(
    "of by from with into onto in on at upon against between among within to for as during".split()  # noqa: SIM905
)
_PLAIN_PREPOSITIONS = frozenset({"at", "in", "on", "during"})
"""Of these a time or place loses nothing; "after the war" without its first word is another time."""
_RELATIVE = frozenset({"that", "which", "who", "whom", "whose", "of which", "of whom", "what"})
# Behind these three only a noun phrase may follow: "to" may begin a verb, "for" and "as" a clause.
_DOUBTFUL = frozenset({"to", "for", "as"})
_DETERMINERS = frozenset(
    """
    the a an this that these those his her its their my our your him them me us you it each every any some all
    no another
    """.split()  # noqa: SIM905
)


def read(folder: Path) -> Examples:
    """An example for each sentence; predicates that were annotated in the same sentence share it."""
    return numbered(NAME, _found(folder))


@dataclass(frozen=True)
class _Roleset:
    frame_name: str
    description: str | None
    roles: dict[str, str]
    """The name of the slot by the argument's type, such as ARG0."""


def _found(folder: Path) -> Iterator[Found | Left]:
    sentences: dict[tuple[str, ...], list[tuple[_Roleset, ElementTree.Element]]] = {}
    for path in sorted(folder.rglob("*.xml")):
        try:
            root = ElementTree.parse(path).getroot()  # noqa: S314  files of a pinned archive
        except ElementTree.ParseError:
            yield Left("file that is no XML")
            continue
        for element in root.iter("roleset"):
            roleset = _roleset(element)
            for example in element.iter("example"):
                tokens = tuple((example.findtext("text") or "").split())
                sentences.setdefault(tokens, []).append((roleset, example))
    for tokens, examples in sentences.items():
        yield _sentence(tokens, examples)


def _sentence(
    tokens: Sequence[str], examples: Sequence[tuple[_Roleset, ElementTree.Element]]
) -> Found | Left:
    kept = [index for index, token in enumerate(tokens) if not _TRACE.fullmatch(token)]
    # Quotes with a direction often lost their other half.
    words = ['"' if tokens[index] in ("``", "''") else tokens[index] for index in kept]
    if not _MIN_TOKENS <= len(words) <= _MAX_TOKENS:
        return Left("sentence too short or too long")
    if any(_UGLY.search(word) and word not in ("-LRB-", "-RRB-", "/") for word in words):
        return Left("sentence with marks of its annotation")
    joined = join_tokens(words, "tight")
    plain = set(_MODIFIERS.values())
    frames: dict[str, Frame] = {}
    records = []
    for roleset, example in examples:
        try:
            arguments = _arguments(example, tokens, kept)
        except ValueError as error:
            return Left(str(error))
        if roleset.frame_name in frames:
            continue
        slots = {roleset.roles[kind]: tokens_ for kind, tokens_ in arguments if kind in roleset.roles}
        slots |= {_MODIFIERS[kind]: tokens_ for kind, tokens_ in arguments if kind in _MODIFIERS}
        unasked = {slot for slot, tokens_ in slots.items() if _is_unwieldy(words, tokens_)}
        offered = [name for name in dict.fromkeys((*roleset.roles.values(), *slots)) if name not in unasked]
        filled = [
            (slot, joined.span(*_without_function_words(words, tokens_, is_modifier=slot in plain)))
            for slot, tokens_ in slots.items()
            if slot not in unasked
        ]
        predicate = next((tokens_ for kind, tokens_ in arguments if kind == "rel"), None)
        if predicate is None or not filled:
            continue
        frames[roleset.frame_name] = Frame(
            name=roleset.frame_name,
            description=roleset.description,
            slots=tuple(Slot(name=name) for name in offered),
        )
        records.append(
            Record(
                frame=roleset.frame_name,
                filler=filler_at(joined.text, joined.span(*predicate)),
                slots=filled_slots(joined.text, filled),
            )
        )
    if not records:
        return Left("no predicate with a short argument")
    return Found("EE", joined.text, tuple(frames.values()), tuple(records))


def _arguments(
    example: ElementTree.Element, tokens: Sequence[str], kept: Sequence[int]
) -> list[tuple[str, Span]]:
    """Type and range of kept tokens of the predicate ("rel") and of each argument.

    Raises:
        ValueError: an argument is in pieces, or its words are not the sentence's.
    """
    places = {index: place for place, index in enumerate(kept)}
    found: list[tuple[str, Span]] = []
    for element in example.findall("propbank/*"):
        is_predicate = element.tag == "rel"
        kind = "rel" if is_predicate else element.get("type", "")
        if not is_predicate and kind.startswith("C-ARG") and not kind.startswith("C-ARGM"):
            raise ValueError("argument in pieces")
        try:
            indices = (
                [int(one) for one in element.get("relloc", "").split()]
                if is_predicate
                else list(range(int(element.get("start", "")), int(element.get("end", "")) + 1))
            )
        except ValueError:
            raise ValueError("argument without a place") from None
        if not indices or indices[-1] >= len(tokens):
            raise ValueError("argument outside of its sentence")
        if [tokens[index] for index in indices] != (element.text or "").split():
            raise ValueError("argument that says other words")
        pieces = contiguous_pieces([places[index] for index in indices if index in places])
        if pieces:
            # Of "took his shoes off" the verb; a predicate has no filler of two pieces.
            found.append((kind, pieces[0]))
    kinds = Counter(kind for kind, _ in found if kind == "rel" or re.fullmatch(r"ARG\d", kind))
    if any(count > 1 for count in kinds.values()):
        raise ValueError("argument in pieces")
    return found


def _is_unwieldy(words: Sequence[str], span: Span) -> bool:
    """Whether an argument is too long for an answer, or a pronoun that only points to it."""
    start, end = span
    return end - start > _MAX_ARGUMENT_TOKENS or " ".join(words[start:end]).lower() in _RELATIVE


def _without_function_words(words: Sequence[str], span: Span, *, is_modifier: bool) -> Span:
    """The argument without its preposition ("from Nashville") or the clitic behind it ("Ravi 's")."""
    start, end = span
    if end - start > 1 and words[end - 1] in ("'s", "’s", ",", "."):
        end -= 1
    first = words[start].lower()
    if end - start > 1 and first in (_PLAIN_PREPOSITIONS if is_modifier else _PREPOSITIONS):
        second = words[start + 1]
        if (
            first not in _DOUBTFUL
            or second.lower() in _DETERMINERS
            or second[0].isupper()
            or second[0].isdigit()
        ):
            start += 1
    return start, end


def _roleset(element: ElementTree.Element) -> _Roleset:
    identifier = element.get("id", "")
    words = re.sub(r"[_-]+", " ", identifier.partition(".")[0]).strip().lower() or "event"
    gloss = _without_notes(element.get("name", ""))
    glosses = [piece for piece in _pieces(gloss) if piece != words and len(piece.split()) <= 5]
    description: str | None
    if glosses and share(identifier) < 0.4:
        name, description = glosses[0], None
        if share(identifier + " described") < 0.5:
            description = gloss if gloss != name else words
    else:
        name, description = words, gloss
    if description in (name, "") or (description and len(description.split()) > _MAX_DESCRIPTION_WORDS):
        description = None
    roles: dict[str, str] = {}
    for role in element.iter("role"):
        if (number := role.get("n", "").lower()).isdigit():
            roles[f"ARG{number}"] = _role_name(role.get("descr", ""))
    # Two roles in the same words cannot be told apart: neither is asked for.
    counts = Counter(roles.values())
    taken = {"", *_MODIFIERS.values(), *(role for role, count in counts.items() if count > 1)}
    return _Roleset(name, description, {kind: role for kind, role in roles.items() if role not in taken})


def _without_notes(gloss: str) -> str:
    """A gloss such as "mist_up: obscure with mist (rare)" without the lemma and the note."""
    gloss = re.sub(r"\([^)]*\)?|\[[^\]]*\]?|\"", " ", gloss.replace("_", " ").lower())
    gloss = re.sub(r"^[a-z -]{1,30}:", " ", gloss).partition("=")[0].partition(";")[0]
    return " ".join(gloss.split()).strip(" ,.:?-/").replace(" ,", ",")


def _pieces(words: str) -> list[str]:
    """The alternatives of a gloss or a role: what commas and slashes part, without "to" and articles."""
    pieces = re.split(r",| - |- |--|:|;|\?|=|\be\.g\.|\bi\.e\.|\bor\b(?= (?:ext|mnr|loc|tmp|dir))", words)
    plain = [
        re.sub(
            r"^(?:to|the|a|an|explicit mention of|mention of)\s+",
            "",
            re.sub(r"\s*/\s*[\w-]+", "", piece).strip(),
        )
        for piece in pieces
    ]
    return [piece for piece in (" ".join(one.split()).strip(" .-/'") for one in plain) if piece]


def _role_name(description: str) -> str:
    """A role in few plain words; "" where it needs more, or tells of another role by its number."""
    pieces = [
        piece
        for piece in _pieces(_without_notes(description))
        if len(piece.split()) <= _MAX_ROLE_WORDS and not re.search(r"\barg|\d|\bext\b|\bprd\b", piece)
    ]
    if not pieces:
        return ""
    name = next((piece for piece in pieces if piece not in _GENERIC), pieces[0])
    if re.fullmatch(r"[a-z]+ed", name):
        return f"who or what is {name}"
    return _PLAIN.get(name, name)


SOURCES = (
    Source(
        name=NAME,
        title="PropBank frames",
        licence="CC-BY-SA-4.0",
        attribution="propbank/propbank-frames (c66e0ccf2)",
        read=read,
        archive="propbank_frames.tar.xz",
        cap=None,
        absent="source",
    ),
)
