"""CyNER: reports of security researchers, five types.

Columns of token and tag. Addresses are made harmless with brackets (188.165[.]28), at whose point the corpus
ends a sentence; such sentences are put together again:

    DroidJack<tab>B-Malware
    RAT<tab>I-Malware
    Gamers<tab>O

The test split stays unread, for whoever wants to measure with it.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from making.sources.mending import tagged, without
from making.sources.numbering import Examples
from making.sources.source import Source
from making.sources.unify import types_of, unified
from ucuie.data.draft import Draft

TYPES = types_of("""
    Malware | malware | A piece or family of malicious software by name.
    Indicator | indicator of compromise | A hash, address, domain, file or port that betrays an attack.
    System | system or software | An operating system, program, app or device that is attacked or used.
    Organization | organization | A company, security vendor, authority or group of attackers.
    Vulnerability | vulnerability | A weakness of software, by number or by name.
""")

_CUT_POINT = re.compile(r"(?m)^(\[\s\S+\n\.\s\S+)\n\n(?=\]\s)")
_BLANKS_IN_ADDRESSES = re.compile(r" (?=\[\.\])|(?<=\[\.\]) |(?<=http:) (?=//)|(?<=https:) (?=//)|(?<=://) ")


def read(folder: Path) -> Examples:
    """The sentences of the splits for training and validation."""
    return unified("cyner", _drafts(folder), TYPES)


def _drafts(folder: Path) -> Iterator[Draft]:
    for split in ("train", "valid"):
        path = next(folder.rglob(f"mitre/{split}.txt"))
        whole = _CUT_POINT.sub(r"\1\n", path.read_text(encoding="utf-8"))
        for number, block in enumerate(filter(str.strip, whole.split("\n\n")), start=1):
            lines = [line.split() for line in block.splitlines() if line.strip()]
            place = f"{split} {number}"
            tokens, tags = [line[0] for line in lines], [line[-1] for line in lines]
            yield without(tagged(place, tokens, tags), _BLANKS_IN_ADDRESSES)


SOURCES = (
    Source(
        name="cyner",
        title="CyNER",
        licence="MIT",
        attribution="aiforsec/CyNER (37aff53)",
        read=read,
        archive="cyner.tar.xz",
        cap=None,
        absent="schema",
    ),
)
