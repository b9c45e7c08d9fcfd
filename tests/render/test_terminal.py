"""No text steers the terminal that it is shown on."""

import io
import json
import unicodedata
from typing import Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.text import Text

from extractions import extractions
from ucuie import Extraction
from ucuie.errors import visible
from ucuie.render.formats import render
from ucuie.render.tables import SafeConsole
from ucuie.schema import FilledSlot, Filler, Record
from ucuie.templates import Table

HOSTILE = "Ada \x1b]0;PWNED\x07 \x1b[2J\x1b[31mLondon\x9b1m\0 \u202eback\u2066 \x7f\u2028"
HARMLESS = "Zoë\tسلام\u200cها 👩\u200d🔬\u00a0東\u3000京 so\u00adft\n"


def steers(character: str) -> bool:
    """The slow and obvious version: what Unicode calls control, or direction, or a separator of lines."""
    is_direction = unicodedata.bidirectional(character) in {
        *("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")
    }
    kind = unicodedata.category(character)
    return character not in "\t\n" and (is_direction or kind in {"Cc", "Zl", "Zp", "Cs"})


@given(st.characters(categories=["Cc", "Cf", "Zl", "Zp", "Zs", "Cs", "L"]))
@settings(max_examples=50)
def test_what_steers_is_written_as_json_writes_it_and_nothing_else(character: str) -> None:
    assert visible(character) == (f"\\u{ord(character):04x}" if steers(character) else character)


def test_words_in_any_script_stay_as_they_are() -> None:
    assert visible(HARMLESS) == HARMLESS


def test_json_means_the_same_afterwards() -> None:
    line = json.dumps({"text": HOSTILE + HARMLESS}, ensure_ascii=False)
    assert json.loads(visible(line)) == json.loads(line)
    assert not any(map(steers, visible(line)))


@given(extractions())
@settings(max_examples=30)
def test_no_table_of_any_extraction_steers(extraction: Extraction) -> None:
    assert not any(map(steers, render([extraction], "table")))


@pytest.mark.parametrize("color", [None, "truecolor"])
def test_tables_show_hostile_texts_names_and_fillers(color: Literal["truecolor"] | None) -> None:
    filler = Filler(text=HOSTILE, start=0, end=len(HOSTILE))
    slots = (FilledSlot(slot=f"slot {HOSTILE}", filler=filler),)
    record = Record(frame=f"frame {HOSTILE}", filler=filler, slots=slots)
    extraction = Extraction(id="1", text=HOSTILE, records=(record,), model="m", seconds=0.0)
    shown = render([extraction], "table")
    assert not any(map(steers, shown))
    assert f'"{visible(HOSTILE)}"' in " ".join(shown.split("\n"))
    table = Table((HOSTILE,), [(HOSTILE,), (Text(HOSTILE),)], title=HOSTILE, notes=[HOSTILE])
    assert not any(map(steers, table.to_text()))
    console = SafeConsole(width=200, file=io.StringIO(), color_system=color, force_terminal=color is not None)
    console.print(table.to_terminal(), HOSTILE)
    console.print(Text(HOSTILE, "bold red"))
    assert isinstance(console.file, io.StringIO)
    printed = console.file.getvalue()
    assert not any(escape in printed for escape in ("\x1b]", "\x1b[2J", "\x9b", "\0", "\u202e"))
    assert ("\x1b[1;31m" in printed) == (color is not None)
