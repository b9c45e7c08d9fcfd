"""The JSON line of an extraction."""

import sys
from types import FrameType
from typing import Any

from ucuie import Extraction
from ucuie.schema import Filler, Record

RECORD = Record(frame="person", filler=Filler(text="Ada", start=0, end=3))
EXTRACTION = Extraction(id="1", text="Ada met Bob.", records=(RECORD,), model="tiny", seconds=0)


def test_what_is_not_given_is_left_out() -> None:
    assert "alternatives" not in EXTRACTION.to_dict()
    assert "score" not in EXTRACTION.to_dict()["records"][0]
    assert EXTRACTION.model_copy(update={"alternatives": ()}).to_dict()["alternatives"] == []


def test_no_code_that_ctrl_c_could_interrupt_is_run_while_a_line_is_made() -> None:
    # Pydantic would turn the KeyboardInterrupt into an error of its own.
    called = []

    def note(frame: FrameType, event: str, _: Any) -> None:
        if event == "call":
            called.append(frame.f_code.co_name)

    sys.setprofile(note)
    try:
        EXTRACTION.to_json()
    finally:
        sys.setprofile(None)
    assert called == ["to_json", "model_dump_json"]
