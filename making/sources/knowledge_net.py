r"""KnowledgeNet: passages with the facts of 15 properties, as an HTML table inside a zip.

    <tr><td>1</td> fold, document, <td>20</td><td>328</td> range of the passage in the document,
        <td>277</td><td>282</td> subject, <td>95</td><td>98</td> object, <td>CEO</td>
        <td><p> Charles A. Agemian ... <span id="object"><a href="...">who</a></span> ...</p></td></tr>

A passage has a row for each fact, or one with "-" for a property it was annotated for in vain: its schema has
all properties of its rows. Facts are told once for each pair of mentions; of these the one of names stays.
"""

import html
import re
import zipfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from making.sources.numbering import Examples, Found, Left, numbered
from making.sources.source import Source
from ucuie.data.draft import tuple_record
from ucuie.schema import Frame, Slot, Span

NAME = "knowledge_net"

_RELATIONS = {
    "DATE_OF_BIRTH": ("date of birth", "When a person was born.", "person", "date"),
    "DATE_OF_DEATH": ("date of death", "When a person died.", "person", "date"),
    "PLACE_OF_RESIDENCE": ("place of residence", "Where a person lives or lived.", "person", "place"),
    "PLACE_OF_BIRTH": ("place of birth", "Where a person was born.", "person", "place"),
    "NATIONALITY": ("nationality", "The country that a person is a citizen of.", "person", "country"),
    "EMPLOYEE_OR_MEMBER_OF": (
        "employee or member of", "The organization that a person works for or belongs to.", "person",
        "organization",
    ),
    "EDUCATED_AT": ("educated at", "The school or university that a person attended.", "person", "school"),
    "POLITICAL_AFFILIATION": (
        "political affiliation", "The political party that a person belongs to.", "person", "party",
    ),
    "CHILD_OF": ("child of", "A person and one of their parents.", "child", "parent"),
    "SPOUSE": ("spouse", "Two people who are or were married.", "person", "spouse"),
    "DATE_FOUNDED": ("date founded", "When an organization was founded.", "organization", "date"),
    "HEADQUARTERS": ("headquarters", "Where an organization has its main office.", "organization", "place"),
    "SUBSIDIARY_OF": (
        "subsidiary of", "A company and the company that owns it.", "subsidiary", "parent company",
    ),
    "FOUNDED_BY": ("founded by", "Who founded an organization.", "organization", "founder"),
    "CEO": ("chief executive officer", "Who leads a company as its chief executive.", "company", "person"),
}  # fmt: skip
_FRAMES = {
    prop: Frame(
        name=name,
        description=description,
        slots=(Slot(name="subject", description=subject), Slot(name="object", description=object_)),
    )
    for prop, (name, description, subject, object_) in _RELATIONS.items()
}
_ROW = re.compile(r"<tr><td.*?</tr>", re.DOTALL)
_CELL = re.compile(r"<td[^>]*>(.*?)</td>", re.DOTALL)
_TAG = re.compile(r"<[^>]*>")
_ENTITY = re.compile(r'href="([^"]*)"')
_POINTERS = frozenset(
    """
    he she it they him her them his hers its their theirs i me my we us our you your who whom whose which that
    himself herself itself themselves here there where this
    """.split()  # noqa: SIM905  a list of quoted words says no more
)


def read(folder: Path) -> Examples:
    """An example for each passage."""
    return numbered(NAME, _found(folder))


@dataclass(frozen=True)
class _Mention:
    span: Span
    text: str
    entity: str
    """Its address in Wikidata, or its own words."""

    @property
    def is_pointer(self) -> bool:
        return self.text.lower() in _POINTERS


_Fact = tuple[_Mention, _Mention]


def _found(folder: Path) -> Iterator[Found | Left]:
    (archive,) = folder.rglob("*.zip")
    with zipfile.ZipFile(archive) as opened:
        (member,) = (name for name in opened.namelist() if re.fullmatch(r"[^_/][^/]*\.html", name))
        table = opened.read(member).decode()
    texts: dict[str, str] = {}
    facts: dict[str, dict[str, list[_Fact]]] = defaultdict(lambda: defaultdict(list))
    for row in _ROW.findall(table):
        cells = _CELL.findall(row)
        if len(cells) != 10 or cells[8] not in _FRAMES:
            yield Left("row that is no passage with a property")
            continue
        passage = "/".join(cells[1:4])
        text, fact = _row(cells[9])
        if text != texts.setdefault(passage, text):
            yield Left("row whose passage reads otherwise")
            continue
        known = facts[passage][cells[8]]
        if fact is None and cells[4] != "-":
            yield Left("fact without both ends in its passage")
        elif fact is not None:
            known.append(fact)
    for passage, text in texts.items():
        records = [
            tuple_record(_FRAMES[prop].name, text, [("subject", subject.span), ("object", object_.span)])
            for prop, known in facts[passage].items()
            for subject, object_ in _best(known)
        ]
        frames = tuple(_FRAMES[prop] for prop in _FRAMES if prop in facts[passage])
        yield Found("RE", text, frames, tuple(records))


def _row(cell: str) -> tuple[str, _Fact | None]:
    """The passage of a row without its tags, and the two mentions that they mark."""
    content = cell.partition("<p>")[2].partition("</p>")[0].removeprefix(" ")
    text = ""
    mentions: dict[str, _Mention] = {}
    for piece in re.split(r"(<span id=.*?</span>)", content, flags=re.DOTALL):
        plain = html.unescape(_TAG.sub("", piece))
        if (role := re.match(r'<span id="(\w+)"', piece)) and plain.strip():
            entity = _ENTITY.search(piece)
            span = len(text), len(text) + len(plain)
            mentions[role[1]] = _Mention(span, plain, entity[1] if entity else plain.lower())
        text += plain
    both = "subject" in mentions and "object" in mentions
    return text, (mentions["subject"], mentions["object"]) if both else None


def _best(facts: list[_Fact]) -> list[_Fact]:
    """Each fact by the nearest pair of names; by a pronoun only where no name stands for it."""
    pairs: dict[tuple[str, str], list[_Fact]] = defaultdict(list)
    for subject, object_ in facts:
        named_otherwise = any(
            (subject.is_pointer and other_object.span == object_.span and not other_subject.is_pointer)
            or (object_.is_pointer and other_subject.span == subject.span and not other_object.is_pointer)
            for other_subject, other_object in facts
        )
        if not named_otherwise:
            pairs[subject.entity, object_.entity].append((subject, object_))
    return [min(mentions, key=_distance) for mentions in pairs.values()]


def _distance(fact: _Fact) -> tuple[int, int]:
    subject, object_ = fact
    return subject.is_pointer + object_.is_pointer, abs(subject.span[0] - object_.span[0])


SOURCES = (
    Source(
        name=NAME,
        title="KnowledgeNet",
        licence="CC-BY-SA-4.0",
        attribution="diffbot/knowledge-net (abc4ed3)",
        read=read,
        archive="knowledge_net.tar.xz",
        cap=None,
        absent="schema",
    ),
)
