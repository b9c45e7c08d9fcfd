"""What is read in one forward for one beam."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from ucuie.decode.prefix import Prefix
from ucuie.decode.writer import Search, Writer


@dataclass(eq=False)
class Row:
    """A beam in its slot.

    Args:
        index: of the request.
        text_ids: of the request.
        writer: writes the output.
        search: that the beam is part of.
        prefix: of the instruction.
        length: tokens in the slot.
        draft: guessed tokens that are read along with the pending ones.
        is_lost: other beams of the search are likelier.
    """

    index: int
    text_ids: Sequence[int]
    writer: Writer
    search: Search
    prefix: Prefix
    length: int = 0
    draft: list[list[int]] = field(default_factory=list)
    is_lost: bool = False

    @property
    def reads(self) -> list[int]:
        """The tokens of the next forward."""
        return [*self.writer.pending, *(token for step in self.draft for token in step)]

    @property
    def ends(self) -> list[int]:
        """After which of them the model is asked."""
        ends = [len(self.writer.pending) - 1]
        for step in self.draft:
            ends.append(ends[-1] + len(step))
        return ends
