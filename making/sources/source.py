"""What is known of a collection that the released model learns from."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ucuie.schema import Example


@dataclass(frozen=True)
class Source:
    """A collection that the released model learns from.

    Args:
        name: of its folder and at the start of every id, such as "few_nerd".
        title: for the model card.
        licence: as SPDX writes it, where SPDX knows it.
        attribution: repository and commit.
        read: the unified examples of a folder with the unpacked archive. A generator may return a Counter of
            what it dropped and why, which the command prints.
        archive: the file that is unpacked into that folder; None for sources made from plain text.
        cap: at most so many examples go into the mixture; None takes all.
        absent: where types that a text does not have may come from. "schema": the schema of an example lists
            every type that its text was completely annotated for, so that those without a record are true
            negatives. "source": the schema lists the example's own types only, those of other examples of the
            source are negatives. "none": nothing may be added.
        is_silver: labelled by a model, not by people.
    """

    name: str
    title: str
    licence: str
    attribution: str
    read: Callable[[Path], Iterator[Example]]
    archive: str | None
    cap: int | None
    absent: Literal["schema", "source", "none"]
    is_silver: bool = False
