"""Whatever a data set holds, a format gives it back, or counts to the unit what it does not.

`UCUIE_EXAMPLES=2000` makes the run long.
"""

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ucuie.data import FORMATS, convert_format, export, read_examples
from ucuie.data.tokens import words_of
from ucuie.schema import Example, FilledSlot, Filler, Frame, Record, Schema, Slot, Span, Task

PIECES = (
    *"aB1. ,;:\"'|\\_-/()[]{}<>&#\t\n\r\x0b\x0c\x00\x1b\x1c\x1f\x7f\x85",
    *"\u00a0\u00ad\u2028\u2029\u3000\u200b\u200d\ufeff\u0301",
    "-LRB-", "&amp;", "\\n", "\r\n", "  ", "T1\t", "B-x", "O",
    "राहुल ", "น้ำ", "مُ", "שָׁ", "東京", "👩‍🔬", "🇩🇪", "💩", "𝒳",
)  # fmt: skip
NAMES = (*"aB1 _:-,;\"'\t\n\r\\\u2028\u0301é東💩", "Theme2", "subject", "NAN", "O", "B-")
PAIR = {"RE": ("subject", "object"), "ABSA": ("aspect", "opinion")}

longer = settings(
    max_examples=int(os.environ.get("UCUIE_EXAMPLES", "10")),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
texts = st.lists(st.sampled_from(PIECES), min_size=1, max_size=12).map("".join).filter(str.strip)
names = st.lists(st.sampled_from(NAMES), min_size=1, max_size=3).map("".join).map(str.strip).filter(bool)


@st.composite
def annotated(draw: st.DrawFn, task: Task) -> Example:
    """A text with records of a task, and some of no task: without a trigger, an end, or a slot's text."""
    text = draw(texts)
    frames = draw(st.lists(names, min_size=1, max_size=3, unique=True))
    roles = [*PAIR.get(task, ()), *draw(st.lists(names, max_size=2, unique=True))]
    roles = [] if task == "NER" else list(dict.fromkeys(draw(st.permutations(roles))))

    def filler() -> Filler:
        start = draw(st.integers(0, len(text) - 1))
        end = draw(st.integers(start + 1, len(text)))
        return Filler(text=text[start:end], start=start, end=end)

    records = {}
    for frame in draw(st.lists(st.sampled_from(frames), max_size=5)):
        chosen = draw(st.lists(st.sampled_from(roles), max_size=4)) if roles else []
        slots = tuple(
            FilledSlot(slot=slot, filler=filler() if draw(st.integers(0, 5)) else None) for slot in chosen
        )
        has_own = draw(st.integers(0, 5)) > (0 if task in ("NER", "EE") else 4)
        if task in PAIR and not any(slot.filler for slot in slots):
            has_own = False  # an entity among pairs is written, though not read for their task
        record = Record(frame=frame, filler=filler() if has_own else None, slots=slots)
        records[str(what_comes_back(record, task)) or str(record)] = record
    return Example(
        id=draw(st.sampled_from(["1", "", "a,b", "é\n", "\r"])),
        task=task,
        text=text,
        schema=Schema(
            frames=tuple(Frame(name=name, slots=tuple(Slot(name=role) for role in roles)) for name in frames)
        ),
        records=tuple(records.values()),
    )


Key = tuple[str, Span | None, tuple[tuple[str, Span | None], ...]]


def key_of(record: Record) -> Key:
    slots = ((slot.slot, span_of(slot.filler)) for slot in record.slots)
    return record.frame, span_of(record.filler), tuple(sorted(slots, key=str))


def span_of(filler: Filler | None) -> Span | None:
    return None if filler is None else filler.span


def what_comes_back(record: Record, task: Task) -> tuple[Key, int] | None:
    """What spans and links hold of a record, with the number of losses; None where that is all of it."""
    filled = [slot for slot in record.slots if slot.filler is not None]
    if task in PAIR:
        first, second = PAIR[task]
        order = {first: 0, second: 2}
        filled.sort(key=lambda slot: order.get(slot.slot, 1))
        if record.filler is not None or len(filled) != 2 or filled[0].slot == filled[1].slot:
            return None
        changed = sum(slot.slot != name for slot, name in zip(filled, PAIR[task], strict=True))
        filled = [
            slot.model_copy(update={"slot": name}) for slot, name in zip(filled, PAIR[task], strict=True)
        ]
    elif record.filler is None or (task == "NER" and filled):
        return None
    else:
        changed = 0
    lost = len(record.slots) - len(filled) + changed
    return key_of(record.model_copy(update={"slots": tuple(filled)})), lost


def good_one(task: Task) -> Example:
    """An example that every format holds, as a file without annotation is refused."""
    ada, bob = Filler(text="Ada", start=0, end=3), Filler(text="Bob", start=8, end=11)
    ends = tuple(
        FilledSlot(slot=slot, filler=filler)
        for slot, filler in zip(PAIR.get(task, ()), (ada, bob), strict=False)
    )
    frame = Frame(name="x", slots=tuple(Slot(name=end.slot) for end in ends))
    record = Record(frame="x", filler=None if ends else ada, slots=ends)
    return Example(id="z", task=task, text="Ada met Bob", schema=Schema(frames=(frame,)), records=(record,))


def there_and_back(
    examples: Sequence[Example], format_name: str, folder: Path, *, changes: Iterable[str] = ()
) -> tuple[list[Example], dict[str, int]]:
    """What is read of what was written, and what was said to be lost; nothing else is said."""
    file = folder / f"data{FORMATS[format_name].suffix}"
    if not FORMATS[format_name].suffix:
        for path in file.glob("*"):
            path.unlink()
    task = examples[0].task
    assert task in ("NER", "RE", "EE", "ABSA")
    lost = export(examples, format_name, file).lost
    report = convert_format(format_name, file, folder / "back", task=task, spacing="blank", strict=True)
    said = report.splits["train"].changes
    assert {change for change in said if change not in ("repeated record left out", *changes)} == set()
    return list(read_examples(folder / "back")), lost


TASKS: tuple[Task, ...] = ("NER", "RE", "EE", "ABSA")


@pytest.mark.parametrize("task", TASKS)
@longer
@given(data=st.data())
def test_tables_give_back_every_record(task: Task, tmp_path: Path, data: st.DataObject) -> None:
    examples = [*data.draw(st.lists(annotated(task), min_size=1, max_size=3)), good_one(task)]
    back, lost = there_and_back(examples, "csv", tmp_path)
    assert [one.text for one in back] == [one.text for one in examples]
    assert [sorted(map(str, map(key_of, one.records))) for one in back] == [
        sorted({str(key_of(record)) for record in one.records}) for one in examples
    ]
    assert set(lost) <= {"id equal to the one before"}


CUTS = "offsets that cut words, and would not in UTF-16"


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("format_name", ["doccano", "label-studio", "prodigy", "instructuie"])
@longer
@given(data=st.data())
def test_spans_and_links_come_back_or_are_counted(
    format_name: str, task: Task, tmp_path: Path, data: st.DataObject
) -> None:
    examples = [data.draw(annotated(task)), good_one(task)]
    back, lost = there_and_back(examples, format_name, tmp_path, changes=[CUTS])
    assert [one.text for one in back] == [one.text for one in examples]
    found = {key_of(record) for record in back[0].records}
    kept = [what_comes_back(record, task) for record in examples[0].records]
    shared = lost.pop("record with a span and label of another", 0)
    if not shared:
        assert found == {key for key, _ in filter(None, kept)}
        assert sum(lost.values()) == sum(1 if one is None else one[1] for one in kept)
    else:
        assert format_name == "prodigy"
        assert found <= {key for key, _ in filter(None, kept)}
        assert len(found) == len(kept) - kept.count(None) - shared


def brat_name(name: str, *, is_role: bool = False) -> str:
    written = re.sub(r"\s", "_", name).replace(":", "-")
    if set(written) == {"_"}:
        written = "-"
    return (re.sub(r"([^\W\d_])[0-9]+$", r"\1", written) if is_role else written).replace("_", " ").strip()


@pytest.mark.parametrize("task", TASKS)
@longer
@given(data=st.data())
def test_brat_gives_back_records_with_names_of_its_own(
    task: Task, tmp_path: Path, data: st.DataObject
) -> None:
    source = data.draw(annotated(task))
    back, lost = there_and_back([source, good_one(task)], "brat", tmp_path, changes=["R line left out"])
    assert back[0].text == source.text
    kept = [(record, what_comes_back(record, task)) for record in source.records]
    expected = set[Key]()
    roles, others = set[str](), set[str]()
    for record, held in kept:
        is_relation = task == "EE" and record.filler is None
        filled = {slot.slot for slot in record.slots if slot.filler is not None}
        if held is not None:
            (frame, span, slots), _ = held
            renamed = ((brat_name(slot, is_role=task == "EE"), place) for slot, place in slots)
            expected.add((brat_name(frame), span, tuple(sorted(renamed, key=str))))
        if held is not None or (
            is_relation and len(filled) == 2 == sum(bool(s.filler) for s in record.slots)
        ):
            others.add(record.frame)
            (roles if task == "EE" and not is_relation else others).update(filled)
    assert {key_of(record) for record in back[0].records} == expected
    changed = {name for name in roles if brat_name(name, is_role=True) != name}
    changed |= {name for name in others - roles if brat_name(name) != name}
    assert lost.get("name written otherwise", 0) == len(changed)
    if task != "EE":
        assert sum(lost.values()) - len(changed) == sum(1 if one is None else one[1] for _, one in kept)


@pytest.mark.parametrize("format_name", ["conll", "gliner"])
@longer
@given(source=annotated("NER"))
def test_formats_of_words_give_back_words_and_their_entities(
    format_name: str, source: Example, tmp_path: Path
) -> None:
    (found, _), lost = there_and_back([source, good_one("NER")], format_name, tmp_path)
    words = words_of(source)
    strings = [source.text[slice(*word)] for word in words]
    assert "".join(strings) == "".join(source.text.split())
    assert found.text == " ".join(strings)
    expected, taken = set(), set[int]()
    for record in source.records:
        if record.filler is None:
            continue
        start, end = record.filler.span
        inside = {index for index, word in enumerate(words) if start <= word[0] and word[1] <= end}
        if inside and not (format_name == "conll" and inside & taken):
            taken |= inside
            name = re.sub(r"[\t\n\r]", " ", record.frame) if format_name == "conll" else record.frame
            expected.add((name, " ".join(strings[index] for index in sorted(inside)), record))
    assert {(one.frame, one.filler and one.filler.text) for one in found.records} == {
        one[:2] for one in expected
    }
    lost.pop("name written otherwise", None)
    assert sum(lost.values()) == len(source.records) - len(expected)


@longer
@given(source=annotated("NER"))
def test_documents_of_spacy_give_back_every_entity(source: Example, tmp_path: Path) -> None:
    pytest.importorskip("spacy", reason="the extra `spacy` is not installed")
    (found, _), lost = there_and_back([source, good_one("NER")], "spacy", tmp_path)
    assert found.text == source.text
    kept = [key for key, _ in filter(None, (what_comes_back(record, "NER") for record in source.records))]
    assert {key_of(record) for record in found.records} == set(kept)
    assert sum(lost.values()) == len(source.records) - len(kept)


@pytest.mark.parametrize("task", TASKS)
@longer
@given(data=st.data())
def test_strings_of_iepile_stand_for_no_record_that_was_not_there(
    task: Task, tmp_path: Path, data: st.DataObject
) -> None:
    source = data.draw(annotated(task))
    changes = ["record not in the text left out", "slot not in the text left out"]
    (found, _), lost = there_and_back([source, good_one(task)], "iepile", tmp_path, changes=changes)
    assert found.text == source.text
    held = [what_comes_back(record, task) for record in source.records]
    fillers = {filler.text.strip() for record in source.records for filler in record.fillers()}
    assert {filler.text.strip() for record in found.records for filler in record.fillers()} <= fillers
    assert len(found.records) <= len(held) - held.count(None)
    assert lost.get("record that is neither entity, pair nor event", 0) == held.count(None)
