"""What an output is worth that did not come to an end, the same for a model here and for one elsewhere."""

from ucuie.schema import Dropped

RAN_ON = "the output did not come to an end"
LONGEST_QUOTE = 200
"""Characters of what a model wrote that are told of what is dropped."""
_MOST_OUTPUT_PER_TEXT = 8


def ran_on(output: str) -> Dropped:
    """What is told of an output that was cut where its model had more to write: its end."""
    return Dropped(reason=RAN_ON, value=output[-LONGEST_QUOTE:])


def is_in_circles(output_length: int, text_length: int) -> bool:
    """Whether an output that was cut is no answer, however long it may get: the model goes round in circles.

    Args:
        output_length: tokens, or characters.
        text_length: of the text it is about, in the same unit.
    """
    return output_length > _MOST_OUTPUT_PER_TEXT * text_length
