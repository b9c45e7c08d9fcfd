r"""The grammar of `grammar` for engines that read GBNF: llama.cpp, xgrammar, SGLang.

The same output language in another notation. GBNF has no word for "a piece of this text", so the pieces are
spelled out by the suffix automaton of the text's chunks: a rule for each of its states, fewer than two for
each chunk. Slots may come in any order here; who reads the output brings them into the schema's.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from ucuie.language.grammar import chunk_text
from ucuie.language.linearize import NULL, escape_filler, escape_name
from ucuie.schema import Schema

_ESCAPES = {code: f"\\x{code:02x}" for code in (*range(32), 127)}
_ESCAPES |= str.maketrans({'"': r"\"", "\\": r"\\", "\n": r"\n", "\r": r"\r", "\t": r"\t"})


def build_gbnf(schema: Schema, text: str) -> str:
    """The GBNF grammar of every output that is right in form for this schema and grounded in a text.

    The text is not blank.
    """
    rules = [
        'root ::= "{" ( frame ( ", " frame )* )? "}"',
        "frame ::= " + " | ".join(f"frame{index}" for index in range(len(schema.frames))),
    ]
    for index, frame in enumerate(schema.frames):
        opening = _literal(f"({escape_name(frame.name)}: ")
        if not frame.slots:
            rules.append(f'frame{index} ::= {opening} filler "): []"')
            continue
        slots = f'( slot{index} ( ", " slot{index} )* )?'
        rules.append(f'frame{index} ::= {opening} ( filler | "{NULL}" ) "): [" {slots} "]"')
        pairs = " | ".join(
            f"{_literal(f'({escape_name(slot.name)}: ')} "
            + (f'( filler | "{NULL}" )' if slot.required else "filler")
            for slot in frame.slots
        )
        rules.append(f'slot{index} ::= ( {pairs} ) ")"')
    # Without blanks at its end, so that every piece can go on until one where a filler may end.
    return "\n".join((*rules, *_filler_rules(chunk_text(text.rstrip(), "words")))) + "\n"


@dataclass
class _State:
    """All pieces of the text that end at the same places: `length` chunks the longest of them."""

    length: int
    link: int = -1
    following: dict[str, int] = field(default_factory=dict)
    is_end: bool = False
    """A filler may end here: the last chunk is no blank."""


def _filler_rules(chunks: Sequence[str]) -> Iterator[str]:
    """`filler`, and `piece{i}` for what may follow in state i of the automaton."""
    states = _suffix_automaton(chunks)
    first, *others = states
    starts = {chunk: target for chunk, target in first.following.items() if chunk.strip()}
    options = []
    for chunk, target in starts.items():
        if chunk != NULL:
            options.append(_step(chunk, target, states))
            continue
        # Alone it would mean that there is no filler; there it has a spelling of its own.
        options.append(_literal(escape_filler(NULL)))
        if longer := _steps(states[target], states):
            options.append(f"{_literal(NULL)} ( {longer} )")
    yield f"filler ::= {' | '.join(options)}"
    for index, state in enumerate(others, start=1):
        if steps := _steps(state, states):
            yield f"piece{index} ::= ( {steps} )" + ("?" if state.is_end else "")


def _steps(state: _State, states: Sequence[_State]) -> str:
    return " | ".join(_step(chunk, target, states) for chunk, target in state.following.items())


def _step(chunk: str, target: int, states: Sequence[_State]) -> str:
    written = _literal(chunk if chunk == NULL else escape_filler(chunk))
    return f"{written} piece{target}" if states[target].following else written


def _suffix_automaton(chunks: Sequence[str]) -> list[_State]:
    """The states of the smallest automaton of all pieces, the initial one first (Blumer et al. 1985)."""
    states = [_State(0)]
    last = 0
    for chunk in chunks:
        new = len(states)
        states.append(_State(states[last].length + 1, is_end=bool(chunk.strip())))
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


def _literal(string: str) -> str:
    return f'"{string.translate(_ESCAPES)}"'
