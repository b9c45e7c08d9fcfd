"""Drafts in running text: tokens joined, fillers from end to end of what they name, documents in pieces."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace

from ucuie.data.draft import Draft, entity, filler_at, map_fillers
from ucuie.data.readers.columns import decode_tags
from ucuie.data.tokens import Spacing, join_tokens, respaced
from ucuie.language.windows import sentence_ends
from ucuie.schema import Filler, Record, Span

LOOSE_ENDS = " \t\n,;:"
_PAIRS = (("(", ")"), ("[", "]"), ("“", "”"), ('"', '"'))
_GAP = re.compile(r"\s+")
_SUPERFLUOUS = re.compile(r"\A\s+|\s+\Z|(?<=\s)\s+")
_SUPERFLUOUS_AT_MARKS = re.compile(r" (?=[,;:)\]]+\.?(?: |$))|(?<=[(\[]) | \.(?=\.(?: |$))")
"""Blanks inside brackets and before commas that stand at another mark; the second full stop of "Bros . ."."""


def tagged(place: str, tokens: Sequence[str], tags: Sequence[str], spacing: Spacing = "natural") -> Draft:
    """A draft from tokens and their tags, in any scheme that `decode_tags` knows."""
    joined = join_tokens(tokens, spacing)
    records = [
        entity(label, joined.text, joined.span(start, end)) for label, (start, end) in decode_tags(tags)
    ]
    return Draft(place, joined.text, tuple(records))


def natural(draft: Draft, spacing: Spacing = "natural") -> Draft:
    """The draft with single blanks for any gap, and none where English has none."""
    draft = without(draft, _SUPERFLUOUS)
    records = (
        map_fillers(record, lambda one: one.model_copy(update={"text": _GAP.sub(" ", one.text)}))
        for record in draft.records
    )
    text, moved = respaced(_GAP.sub(" ", draft.text), records, spacing)
    return without(replace(draft, text=text, records=moved), _SUPERFLUOUS_AT_MARKS)


def without(draft: Draft, pattern: re.Pattern[str]) -> Draft:
    """The draft without the characters that the pattern matches; records that lose all of theirs go too."""
    new_offsets: list[int] = []
    kept: list[str] = []
    position = 0
    for match in pattern.finditer(draft.text):
        new_offsets += range(len(kept), len(kept) + match.start() - position)
        kept += draft.text[position : match.start()]
        new_offsets += [len(kept)] * (match.end() - match.start())
        position = match.end()
    new_offsets += range(len(kept), len(kept) + len(draft.text) - position + 1)
    text = "".join(kept) + draft.text[position:]
    return _with_spans(draft, text, lambda one: (new_offsets[one.start], new_offsets[one.end]))


def mended(draft: Draft, loose_ends: str = LOOSE_ENDS) -> Draft:
    """The draft with fillers that begin and end with words, and have both of a pair of brackets or quotes."""
    text = draft.text

    def mend(filler: Filler) -> Span:
        span = _to_word_ends(text, _trimmed(text, filler.span, loose_ends))
        for opening, closing in _PAIRS:
            span = _with_both(text, span, opening, closing)
        return _trimmed(text, span, loose_ends)

    return _with_spans(draft, text, mend)


def _trimmed(text: str, span: Span, loose_ends: str) -> Span:
    start, end = span
    while start < end and text[start] in loose_ends:
        start += 1
    while start < end and text[end - 1] in loose_ends:
        end -= 1
    return start, end


def _to_word_ends(text: str, span: Span) -> Span:
    start, end = span
    while 0 < start < end and text[start - 1].isalpha() and text[start].isalpha():
        start -= 1
    while start < end < len(text) and text[end - 1].isalpha() and text[end].isalpha():
        end += 1
    return start, end


def _with_both(text: str, span: Span, opening: str, closing: str) -> Span:
    """The span without a bracket or quote at its end that has no partner in it, or else with the partner."""
    start, end = span
    if opening == closing:
        has_opening = has_closing = text.count(opening, start, end) % 2 == 1
    else:
        surplus = text.count(opening, start, end) - text.count(closing, start, end)
        has_opening, has_closing = surplus == 1, surplus == -1
    if has_opening and text.startswith(opening, start):
        return start + 1, end
    if has_closing and text.endswith(closing, start, end):
        return start, end - 1
    if has_opening and text.startswith(closing, end):
        return start, end + 1
    if has_closing and text.endswith(opening, 0, start):
        return start - 1, end
    return span


def _with_spans(draft: Draft, text: str, span_of: Callable[[Filler], Span]) -> Draft:
    """The draft with another text or other spans; a record with an empty one is left out, which it counts."""
    kept: list[Record] = []
    for record in draft.records:
        spans = {filler.span: span_of(filler) for filler in record.fillers()}
        if all(start < end for start, end in spans.values()):
            kept.append(map_fillers(record, lambda filler, spans=spans: filler_at(text, spans[filler.span])))
    lost = ["record without a word"] * (len(draft.records) - len(kept))
    return replace(draft, text=text, records=tuple(kept), changes=(*draft.changes, *lost))


def stretches(
    draft: Draft, *, max_sentences: int, max_characters: int, ends: Iterable[int] | None = None
) -> Iterator[Draft]:
    """The draft in pieces of some sentences each, cut nowhere within a record.

    Args:
        draft: a text of any length.
        max_sentences: in a piece; more only where records reach over their ends.
        max_characters: a sentence more is taken as long as the piece stays within so many.
        ends: where sentences end; by default as `sentence_ends` finds them.
    """
    spans = [one.span for record in draft.records for one in record.fillers()]
    start = last = count = 0
    for end in (*(sentence_ends(draft.text) if ends is None else ends), len(draft.text)):
        if end == last or any(first < end < behind for first, behind in spans):
            continue
        if count and (count == max_sentences or end - start > max_characters):
            yield _piece(draft, start, last)
            start, count = last, 0
        last, count = end, count + 1
    if draft.text[start:last].strip():
        yield _piece(draft, start, last)


def _piece(draft: Draft, start: int, end: int) -> Draft:
    text = draft.text[start:end].rstrip()
    inside = [record for record in draft.records if all(start <= one.start < end for one in record.fillers())]
    moved = (
        map_fillers(record, lambda one: filler_at(text, (one.start - start, one.end - start)))
        for record in inside
    )
    return replace(draft, text=text, records=tuple(moved))
