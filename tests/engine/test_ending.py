"""Where outputs end: decided by what tokens say, however they are cut."""

import pytest

from ucuie.engine.writer import endings

FRAME = "{(person: Ada): []"
EVENT = "{(Speech: said): [(Speaker: Ada)"


@pytest.mark.parametrize(
    ("output", "token", "lean"),
    [
        ("", "{}", -1), ("", "{(", 1), ("", "{", 0), ("", " {", 0), ("", " {(", 1),
        ("{", "}", -1), ("{", "(", 1), (" {", "(person", 1),
        (FRAME, "}", -1), (FRAME, ",", 1), (FRAME, ", (", 1),
        (FRAME[:-1], "]}", -1), (FRAME[:-1], "],", 1), (FRAME[:-1], "]", 0),
        (FRAME[:-5], "): []}", -1), (FRAME[:-5], "): [],", 1), (FRAME[:-5], ")", 0), (FRAME[:-5], "),", 0),
        (EVENT, "]}", -1), (EVENT, "],", 1), (EVENT, "]", 0), (EVENT, ",", 0), (EVENT, ", (", 0),
        (EVENT[:-1], ")]}", -1), (EVENT[:-1], "),", 0), (EVENT[:-1], ")],", 1),
        # Pieces of a text, within a filler.
        ("{(person: a", "}", 0), ("{(person: a", "]}", 0), ("{(person: a", "],", 0), ("{(person: ", "{(", 0),
        ("{(person: [", "]", 0), ("{(person: {", "}", 0), ("{(person: ", "(", 0), ("{(person: a]", ",", 0),
    ],
)  # fmt: skip
def test_what_a_token_says_about_the_end(output: str, token: str, lean: int) -> None:
    assert endings(output, [token.encode()]).tolist() == [lean]


def test_a_part_of_a_character_says_nothing() -> None:
    assert endings(FRAME, [b"\xe6", b"\xff]}"]).tolist() == [0, 0]
