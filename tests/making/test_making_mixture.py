"""The training file of the released model: what goes in, what is held out, and what is told of it."""

import json
import sys
from itertools import groupby
from pathlib import Path
from typing import Any

import pytest
import yaml

from making import mixture
from making.mixture import MixtureConfig, is_held_out
from making.sources import SOURCES
from making.stretches import first_stretch
from ucuie.data.examples import fingerprint
from ucuie.schema import Example

ROOT = Path(__file__).parents[2]
WORDS = [
    "amber",
    "birch",
    "cedar",
    "delta",
    "ember",
    "fjord",
    "grove",
    "heath",
    "islet",
    "jetty",
    "knoll",
    "larch",
    "maple",
    "north",
    "ocean",
    "plain",
]


def _text(name: str, number: int) -> str:
    return f"Ada saw {WORDS[number % 16]} {WORDS[number // 16]} in {name} together with her brother."


def _line(name: str, split: str, number: int, text: str | None = None, **changed: Any) -> str:
    text = text or _text(name, number)
    records = [
        {
            "frame": "person",
            "filler": {"text": "Ada", "start": text.index("Ada"), "end": text.index("Ada") + 3},
        }
    ]
    return json.dumps(
        {"id": f"{name}/{split}/{number}", "dataset": name, "task": "NER", "split": split, "text": text,
         "schema": {"frames": [{"name": "person"}, {"name": "location"}, {"name": "organization"}]},
         "records": records} | changed
    )  # fmt: skip


def _write(folder: Path, split: str, lines: list[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{split}.jsonl").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("UCUIE_CACHE", str(tmp_path / "cache"))
    data = tmp_path / "data"
    leaked = [_line("bc2gm", "train", 100 + number, _text("mit", number)) for number in range(3)]
    inside = f"Some words before. {_text('conll', 7)} Some words after."
    leaked.append(_line("bc2gm", "train", 104, inside))
    leaked.append(_line("bc2gm", "train", 105, _text("bc2gm", 250).upper().replace("ADA", "Ada")))
    _write(data / "bc2gm", "train", [_line("bc2gm", "train", number) for number in range(60)] + leaked)
    _write(data / "bc2gm", "test", [_line("bc2gm", "test", 250)])
    _write(data / "conll04", "test", [_line("conll04", "test", 7, _text("conll", 7))])
    _write(data / "mit_restaurant", "train", [_line("m", "train", n, _text("mit", n)) for n in range(9)])
    _write(tmp_path / "sources" / "wnut17", "train", [_line("wnut17", "train", n) for n in range(40)])
    config = {
        "unseen": ["mit_restaurant"],
        "sets": {"bc2gm": {"repeat": 2}},
        "sources": {"wnut17": {"cap": 20}},
        "foreign": [],
    }
    (tmp_path / "mixture.yaml").write_text(yaml.safe_dump(config))
    return tmp_path


def _made(folder: Path, output: str, monkeypatch: pytest.MonkeyPatch, *, seed: int = 7) -> list[Example]:
    sets = map(str, sorted((folder / "data").iterdir()))
    arguments = ["--config", folder / "mixture.yaml", "--sets", *sets, "--sources", folder / "sources"]
    arguments += ["--output", folder / output, "--rows", "1000", "--seed", seed]
    monkeypatch.setattr(sys, "argv", ["mixture", *map(str, arguments)])
    mixture.main()
    lines = (folder / output / "train.jsonl").read_text("utf-8").splitlines()
    return [Example.from_json(line) for line in lines]


def test_no_text_that_is_held_out_comes_through(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = _made(folders, "out", monkeypatch)
    texts = {row.text for row in rows}
    assert not texts & {_text("mit", number) for number in range(9)}
    assert all("fjord" not in text or "conll" not in text for text in texts)
    assert not any(text.startswith("Some words") for text in texts)
    assert texts <= {_text(name, n) for name in ("bc2gm", "wnut17") for n in range(60)}
    assert len(texts) == 60 + 20
    (bc2gm, wnut17) = json.loads((folders / "out" / "table.json").read_text("utf-8"))
    assert (bc2gm["available"], bc2gm["dropped"], bc2gm["used"]) == (65, 5, 60)
    assert (wnut17["available"], wnut17["dropped"], wnut17["used"]) == (40, 0, 20)


def test_bundles_stand_together_in_the_file(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = _made(folders, "out", monkeypatch)
    bundles = [list(bundle) for _, bundle in groupby(rows, key=lambda row: (row.dataset, row.schema))]
    assert 3 <= len(rows) / len(bundles) <= 8
    assert len({row.id for row in rows}) == len(rows)
    assert {row.id.partition("#")[2] for row in rows if row.dataset == "bc2gm"} == {"", "2"}


def test_the_file_is_a_function_of_its_seed(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = _made(folders, "first", monkeypatch)
    assert _made(folders, "again", monkeypatch) == rows
    assert _made(folders, "other", monkeypatch, seed=8) != rows


def test_what_went_in_is_told(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = _made(folders, "out", monkeypatch)
    table = (folders / "out" / "table.md").read_text("utf-8")
    assert (
        "| bc2gm | BioCreative II gene mention recognition | MIT (repository); PubMed sentences | 65 | 5 |"
        in table
    )
    assert "| wnut17 | WNUT 2017, emerging entities | CC-BY-4.0 | 40 | 0 | 20 |" in table
    types = json.loads((folders / "out" / "types.json").read_text("utf-8"))
    assert types == sorted({frame.name for row in rows for frame in row.schema.frames})


def test_a_set_without_a_folder_is_named(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = yaml.safe_load((folders / "mixture.yaml").read_text())
    config["sets"]["conll40"] = {}
    (folders / "mixture.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(Exception, match=r"'conll40'.*conll04"):
        _made(folders, "out", monkeypatch)


def test_a_longer_text_is_held_out_by_its_sentences() -> None:
    held_out = {
        fingerprint("This sentence is in the test split of some other set."),
        fingerprint("No, thanks."),
    }
    assert is_held_out("This sentence is in the test split - of some other set", held_out)
    assert is_held_out("Not here. This sentence is in the test split of some other set. Nor here.", held_out)
    assert not is_held_out("No, thanks. I have some already.", held_out)  # too short to tell anything


def test_a_document_is_cut_behind_a_sentence_and_no_record_is_cut() -> None:
    text = "Ada lived in Rome. Bob lived in Oslo, she knew. They never met."
    schema = {"frames": [{"name": "met", "slots": [{"name": "subject"}, {"name": "object"}]}]}

    def pair(first: str, second: str) -> dict[str, Any]:
        fillers = [
            {"text": one, "start": text.index(one), "end": text.index(one) + len(one)}
            for one in (first, second)
        ]
        return {
            "frame": "met",
            "slots": [{"slot": "subject", "filler": fillers[0]}, {"slot": "object", "filler": fillers[1]}],
        }

    line = {
        "id": "1",
        "task": "RE",
        "text": text,
        "schema": schema,
        "records": [pair("Ada", "Rome"), pair("Ada", "They")],
    }
    cut = first_stretch(Example.from_json(json.dumps(line)), 10)
    assert cut.text == "Ada lived in Rome. Bob lived in Oslo, she knew."
    assert [record.slots[1].filler.text for record in cut.records] == ["Rome"]
    assert first_stretch(Example.from_json(json.dumps(line)), 2).text == "Ada lived in Rome."


def test_texts_of_two_sets_are_asked_for_what_both_annotate(
    folders: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = {"frames": [{"name": "disease"}]}
    lines = [_line("genia_ner", "train", n, _text("bc2gm", n), schema=other, records=[]) for n in range(60)]
    _write(folders / "data" / "genia_ner", "train", lines)
    config = yaml.safe_load((folders / "mixture.yaml").read_text())
    config["sets"] = {"bc2gm": {"joined": "genia_ner"}, "genia_ner": {}}
    (folders / "mixture.yaml").write_text(yaml.safe_dump(config))
    rows = _made(folders, "out", monkeypatch)
    names = {frame.name.casefold() for row in rows if row.dataset == "bc2gm" for frame in row.schema.frames}
    assert any("disease" in name or "disorder" in name or "condition" in name for name in names)


def test_the_configuration_of_the_release_names_sets_and_sources_that_exist() -> None:
    config = MixtureConfig.model_validate(
        yaml.safe_load((ROOT / "making" / "mixture.yaml").read_text("utf-8"))
    )
    assert not set(config.unseen) & set(config.sets)
    assert config.sources.keys() <= SOURCES.keys()
    fields = {options.field for options in (*config.sets.values(), *config.sources.values())}
    for foreign in config.foreign:
        assert foreign.types.keys() <= config.sets.keys() | config.sources.keys()
        assert set(foreign.fields) <= fields
        assert not set(foreign.types) & set(config.unseen)
