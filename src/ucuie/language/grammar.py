"""The grammar of what the model may write, one for each (schema, text), in two notations.

`build_grammar` writes it for llguidance, `build_gbnf` for llama.cpp and other engines that read GBNF. It
accepts the linearised records whose types come from the schema and whose fillers are pieces of the text,
and nothing else. Nothing here knows tokens, the model, gold records or where in the text a filler stands.
"""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Literal

import regex

from ucuie.errors import TextError, show
from ucuie.language.linearize import NULL, escape_filler, escape_name
from ucuie.schema import Capability, Record, Schema, Slot, Task

Chunking = Literal["words", "characters"]
"""Where a filler may begin and end: at word boundaries, or at any character."""

MAX_UNIQUE_FRAMES = 64
"""llguidance counts in 64 bits; a judging schema with more frames may repeat them."""

SCRIPTS_WITHOUT_BLANKS = (
    r"\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\ua4cf\uac00-\ud7af\uf900-\ufaff\uff66-\uff9f"
)
"""Thai to Myanmar, Khmer, Chinese and Japanese, and Korean, which has blanks but glues particles to words."""
# Each character is a chunk: these, and everything astral.
_ALONE = rf"{SCRIPTS_WITHOUT_BLANKS}\U00010000-\U0010ffff"
_LETTER = rf"(?=[[\p{{L}}\p{{N}}]--[\p{{Nd}}{_ALONE}]])"
_DIGIT = rf"(?=[\p{{Nd}}--[{_ALONE}]])"
# Flags apart: \X counts all of a run anew for each of them. Vowels of Burmese too: \X takes them for letters.
_GRAPHEME = r"(?:\p{RI}{2}[\p{GCB=Extend}\p{GCB=ZWJ}]*+|\X)(?:(?=[\p{M}&&\p{GCB=Other}])\X)*+"
# The soft hyphen, the word joiner and the Mongolian vowel separator stand within words.
_WORD = rf"{_LETTER}{_GRAPHEME}(?:[\u00ad\u2060\u180e]*+{_LETTER}{_GRAPHEME})*+"
_CHUNK = regex.compile(rf"(?V1){_WORD}|(?:{_DIGIT}{_GRAPHEME})++|(?:(?= )\X)++|{_GRAPHEME}")
_ASCII_CHUNK = re.compile(r"[a-zA-Z]+|[0-9]+| +|.", re.DOTALL)
# Exactly the characters that str.strip() removes: Rust's \s lacks the four separators.
_BLANK = r"\s\x1c-\x1f"
# What else shows nothing: controls, what may be ignored (but in Hangul syllables), the blank of Braille and
# the marks of annotations. Of these, joiners, selectors and tags go along with the character before them.
_HIDDEN = r"[\p{Cc}[\p{DI}--[\u115f\u1160]]\u2800\ufff9-\ufffb]"
_ATTACHED = r"[\p{DI}&&[\p{GCB=Extend}\p{GCB=ZWJ}]]"
_SHOWN = rf"[^{_BLANK}{_HIDDEN}]"
_BEGIN = regex.compile(rf"(?V1){_SHOWN}")
_END = regex.compile(rf"(?V1){_SHOWN}{_ATTACHED}*+\Z")
_HIDDEN_CHARACTER = regex.compile(rf"(?V1)[{_HIDDEN}--[{_BLANK}]]")
_ATTACHED_CHARACTER = regex.compile(rf"(?V1){_ATTACHED}")


def build_grammar(
    schema: Schema,
    text: str,
    task: Task | Capability,
    *,
    elements: Sequence[Record] | None = None,
    chunking: Chunking = "words",
) -> str:
    """The lark grammar of every output that is right in form for this schema and grounded in this text.

    Frames without slots have a span as filler; frames with slots have a span or Null. Slots come in schema
    order, each any number of times, a required one at least once (Null where nothing fills it).
    The task "judging" names types only: each frame at most once, in any order, every filler Null.

    Args:
        schema: the frames and slots to choose from.
        text: the source of fillers.
        task: judging needs its own grammar; all others write the same language.
        elements: where given, only their strings may fill a frame or slot (the task "associating").
        chunking: "words" forces more tokens; "characters" also accepts spans inside words and spans that
            begin or end with white space.

    Raises:
        TextError: the text is blank.
    """
    if not text.strip():
        raise TextError(f"the text {show(text)} is empty; there is nothing to extract from")
    rules: tuple[str, ...] = ('start: "{}"',)
    if task == "judging":
        rules = _judging_rules(schema)
    elif elements is None:
        chunks = chunk_text(text, chunking)
        if chunking == "characters" or any(map(_is_filler, chunks)):
            rules = *_extraction_rules(schema), *_span_rules(text, chunks, chunking)
    elif strings := dict.fromkeys(filler.text for element in elements for filler in element.fillers()):
        fillers = " | ".join(_literal(escape_filler(string)) for string in strings)
        rules = *_extraction_rules(schema), f"FILLER: {fillers}"
    return "\n".join(("%llguidance {}", *rules))


def chunk_text(text: str, chunking: Chunking) -> list[str]:
    """The text in pieces; a filler begins and ends where a piece does.

    Words are runs of letters, of digits or of blanks; every other character stands alone, and so does each
    character of scripts without blanks between words. A character is what a reader takes for one, with its
    accents and joined emoji.
    Measured on 49,000 gold spans that were annotated by character (ADE, SemEval, PHEE, DuIE, DuEE): fewer
    than 1 in 1,000 begin or end inside a word.
    """
    if chunking == "characters":
        return list(text)
    return _ASCII_CHUNK.findall(text) if text.isascii() else _CHUNK.findall(text)


def _is_filler(chunk: str) -> bool:
    """Whether a chunk alone can be a filler: it begins and ends with something that shows."""
    return _BEGIN.match(chunk) is not None and _END.search(chunk) is not None


def _any_frames(schema: Schema) -> list[str]:
    frames = " | ".join(f"frame_{index}" for index in range(len(schema.frames)))
    return ['start: "{" ( frame ( ", " frame )* )? "}"', f"frame: {frames}"]


@lru_cache(maxsize=256)
def _extraction_rules(schema: Schema) -> tuple[str, ...]:
    rules = _any_frames(schema)
    if any(frame.slots for frame in schema.frames):
        rules.append(f'null_or_filler: "{NULL}" | FILLER')
    names_of_slots: dict[tuple[Slot, ...], str] = {}
    for index, frame in enumerate(schema.frames):
        opening = _literal(f"({escape_name(frame.name)}: ")
        if not frame.slots:
            rules.append(f'frame_{index}: {opening} FILLER "): []"')
            continue
        if frame.slots not in names_of_slots:
            name = names_of_slots[frame.slots] = f"slots_{len(names_of_slots)}"
            rules += _ordered_slots(name, [_slot_rule(slot) for slot in frame.slots])
        rules.append(f'frame_{index}: {opening} null_or_filler "): [" {names_of_slots[frame.slots]} "]"')
    return tuple(rules)


def _slot_rule(slot: Slot) -> tuple[str, bool]:
    """The rule of one slot, commas between repetitions included; and if it is required."""
    opening = _literal(f"({escape_name(slot.name)}: ")
    pair = f'{opening} FILLER ")"'
    many = f'{pair} ( ", " {pair} )*'
    if not slot.required:
        return many, False
    # The opening apart from Null: the lexer is greedy, one literal must not begin another.
    return f'{opening} "{NULL})" | {many}', True


@lru_cache(maxsize=256)
def _judging_rules(schema: Schema) -> tuple[str, ...]:
    rules = []
    for index, frame in enumerate(schema.frames):
        opening = f"({escape_name(frame.name)}: {NULL}): ["
        if not frame.slots:
            rules.append(f"frame_{index}: {_literal(opening + ']')}")
            continue
        pairs = [(_literal(f"({escape_name(slot.name)}: {NULL})"), False) for slot in frame.slots]
        rules += _ordered_slots(f"slots_{index}", pairs)
        rules.append(f'frame_{index}: {_literal(opening)} slots_{index} "]"')

    num_frames = len(schema.frames)
    if num_frames > MAX_UNIQUE_FRAMES:
        return (*_any_frames(schema), *rules)
    unused = " | ".join(
        f"frame_{index} more::set_bit({index}) %if bit_clear({index})" for index in range(num_frames)
    )
    return (
        'start: "{" unused::0x0 "}" | "{}"',
        f"unused::_: {unused}",
        f'more::_: "" | ", " unused::_ %if not(is_ones([0:{num_frames}]))',
        *rules,
    )


def _ordered_slots(name: str, slots: Sequence[tuple[str, bool]]) -> Iterator[str]:
    """Rules for the slots of a frame in their order, each left out unless required, with commas between.

    `{name}_{i}` is slot i, `{name}_from_{i}` a list whose first entry is slot i or a later one, and
    `{name}_after_{i}` what may follow slot i.
    """
    is_optional = not any(is_required for _, is_required in slots)
    yield f"{name}: {name}_from_0" + (' | ""' if is_optional else "")
    last = len(slots) - 1
    for index, (rule, is_required) in enumerate(slots):
        yield f"{name}_{index}: {rule}"
        start_later = "" if is_required or index == last else f" | {name}_from_{index + 1}"
        yield f"{name}_from_{index}: {name}_{index} {name}_after_{index}{start_later}"
        if index > 0:
            skip = "" if is_required else f" | {name}_after_{index}"
            yield f'{name}_after_{index - 1}: ", " {name}_{index} {name}_after_{index}{skip}'
    yield f'{name}_after_{last}: ""'


def _edges(text: str, chunking: Chunking) -> str:
    """How a filler begins and ends, of what the text has: most texts hide nothing."""
    if chunking == "characters":
        return "/(?s:.+)/"
    hidden = sorted(set(_HIDDEN_CHARACTER.findall(text)))
    shown = f"[^{_BLANK}{''.join(map(_code, hidden))}]"
    attached = "".join(_code(one) for one in hidden if _ATTACHED_CHARACTER.match(one))
    return f"/{shown}((?s:.*){shown})?{f'[{attached}]*' if attached else ''}/"


def _code(character: str) -> str:
    return rf"\u{{{ord(character):x}}}"


def _span_rules(text: str, chunks: Sequence[str], chunking: Chunking) -> Iterator[str]:
    """FILLER: any run of chunks of the text, escaped."""
    # Only a filler that is "Null" as a whole needs its own spelling, not a chunk of a longer one.
    escaped = [chunk if chunk == NULL else escape_filler(chunk) for chunk in chunks]
    yield f'SPAN: %regex {{"substring_chunks": {json.dumps(escaped)}}}'
    edges = _edges(text, chunking)
    if NULL in (text if chunking == "characters" else chunks):
        yield f"FILLER: ( SPAN & {edges} & ~/{NULL}/ ) | {_literal(escape_filler(NULL))}"
    else:
        yield f"FILLER: SPAN & {edges}"


def _literal(string: str) -> str:
    return json.dumps(string).replace("\x7f", r"\u007f")


_GBNF_ESCAPES = {code: f"\\x{code:02x}" for code in (*range(32), 127)}
_GBNF_ESCAPES |= str.maketrans({'"': r"\"", "\\": r"\\", "\n": r"\n", "\r": r"\r", "\t": r"\t"})


def build_gbnf(schema: Schema, text: str) -> str:
    """The GBNF grammar of every output that is right in form for this schema and grounded in a text.

    The text is not blank. GBNF has no word for "a piece of this text", so the pieces are spelled out by the
    suffix automaton of the text's chunks: a rule for each of its states, fewer than two for each chunk. Slots
    may come in any order; who reads the output brings them into the schema's.
    """
    chunks = chunk_text(text, "words")
    # So that every piece can go on until one where a filler may end.
    while chunks and not _END.search(chunks[-1]):
        chunks.pop()
    if not any(map(_is_filler, chunks)):
        return 'root ::= "{}"\n'
    rules = [
        'root ::= "{" ( frame ( ", " frame )* )? "}"',
        "frame ::= " + " | ".join(f"frame{index}" for index in range(len(schema.frames))),
    ]
    for index, frame in enumerate(schema.frames):
        opening = _gbnf_literal(f"({escape_name(frame.name)}: ")
        if not frame.slots:
            rules.append(f'frame{index} ::= {opening} filler "): []"')
            continue
        slots = f'( slot{index} ( ", " slot{index} )* )?'
        rules.append(f'frame{index} ::= {opening} ( filler | "{NULL}" ) "): [" {slots} "]"')
        pairs = " | ".join(
            f"{_gbnf_literal(f'({escape_name(slot.name)}: ')} "
            + (f'( filler | "{NULL}" )' if slot.required else "filler")
            for slot in frame.slots
        )
        rules.append(f'slot{index} ::= ( {pairs} ) ")"')
    return "\n".join((*rules, *_filler_rules(chunks))) + "\n"


@dataclass
class _Suffixes:
    """All pieces of the text that end at the same places: `length` chunks the longest of them."""

    length: int
    link: int = -1
    following: dict[str, int] = field(default_factory=dict)
    is_end: bool = False
    """A filler may end here: the last chunk ends with something that shows."""


def _filler_rules(chunks: Sequence[str]) -> Iterator[str]:
    """`filler`, and `piece{i}` for what may follow in state i of the automaton."""
    states = _suffix_automaton(chunks)
    first, *others = states
    starts = {chunk: target for chunk, target in first.following.items() if _BEGIN.match(chunk)}
    options = []
    for chunk, target in starts.items():
        if chunk != NULL:
            options.append(_step(chunk, target, states))
            continue
        # Alone it would mean that there is no filler; there it has a spelling of its own.
        options.append(_gbnf_literal(escape_filler(NULL)))
        if longer := _steps(states[target], states):
            options.append(f"{_gbnf_literal(NULL)} ( {longer} )")
    yield f"filler ::= {' | '.join(options)}"
    for index, state in enumerate(others, start=1):
        if steps := _steps(state, states):
            yield f"piece{index} ::= ( {steps} )" + ("?" if state.is_end else "")


def _steps(state: _Suffixes, states: Sequence[_Suffixes]) -> str:
    return " | ".join(_step(chunk, target, states) for chunk, target in state.following.items())


def _step(chunk: str, target: int, states: Sequence[_Suffixes]) -> str:
    written = _gbnf_literal(chunk if chunk == NULL else escape_filler(chunk))
    return f"{written} piece{target}" if states[target].following else written


def _suffix_automaton(chunks: Sequence[str]) -> list[_Suffixes]:
    """The states of the smallest automaton of all pieces, the initial one first (Blumer et al. 1985)."""
    states = [_Suffixes(0)]
    last = 0
    for chunk in chunks:
        new = len(states)
        states.append(_Suffixes(states[last].length + 1, is_end=_END.search(chunk) is not None))
        state = last
        while state >= 0 and chunk not in states[state].following:
            states[state].following[chunk] = new
            state = states[state].link
        if state < 0:
            states[new].link = 0
        else:
            target = states[state].following[chunk]
            if states[target].length == states[state].length + 1:
                states[new].link = target
            else:
                copy = len(states)
                following = dict(states[target].following)
                states.append(replace(states[target], length=states[state].length + 1, following=following))
                while state >= 0 and states[state].following.get(chunk) == target:
                    states[state].following[chunk] = copy
                    state = states[state].link
                states[target].link = states[new].link = copy
        last = new
    return states


def _gbnf_literal(string: str) -> str:
    return f'"{string.translate(_GBNF_ESCAPES)}"'
