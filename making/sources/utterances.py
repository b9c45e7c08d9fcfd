"""What somebody says to an assistant: as entities, or as one frame for the intent with its slots."""

from dataclasses import replace

from making.sources.mending import mended, natural
from making.sources.numbering import share
from ucuie.data.draft import Draft
from ucuie.schema import FilledSlot, Record


def utterance(
    draft: Draft, intent: str, *, offered: tuple[str, ...], intents: tuple[str, ...], share_of_intents: float
) -> Draft:
    """The draft in one of its two shapes; its text decides which.

    Args:
        draft: an utterance with its entities.
        intent: the label of what it asks for.
        offered: the labels that such utterances are annotated for.
        intents: the labels of all intents that it is certain to have or not to have.
        share_of_intents: of all utterances.
    """
    draft = natural(mended(draft, " \t\n,?!"))
    if share(draft.text) >= share_of_intents:
        return replace(draft, offered=offered)
    slots = tuple(FilledSlot(slot=one.frame, filler=one.filler) for one in draft.records)
    return replace(draft, records=(Record(frame=intent, slots=slots),), offered=intents)
