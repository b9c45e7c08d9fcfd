"""Which texts must not be trained on, by fingerprints, and how many of some texts are among them."""

import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

Fingerprints = NDArray[np.uint64]


def normalised_text(text: str) -> str:
    """What two copies of a text share whatever their tokenizer did: its letters and digits, case folded."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return "".join(filter(str.isalnum, folded)) or "".join(folded.split())


def fingerprint(text: str) -> int:
    """64 bits of a normalised text; two of a million texts share theirs with a chance of 1 in 37 million."""
    return fingerprint_normalised(normalised_text(text))


def fingerprint_normalised(text: str) -> int:
    """The fingerprint of a text that is normalised already."""
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little")


@dataclass(frozen=True)
class HeldOut:
    """The fingerprints of held-out splits, by names such as "casie/test"."""

    splits: Mapping[str, Fingerprints]

    def mask(self, texts: Fingerprints) -> NDArray[np.bool_]:
        """For each text whether it is held out, (N,)."""
        held_out = np.concatenate([np.empty(0, np.uint64), *self.splits.values()])
        return np.isin(texts, held_out)

    def counts(self, texts: Fingerprints) -> dict[str, int]:
        """How many of the texts stand in each split, where any does; a text may stand in several."""
        found = {name: int(np.isin(texts, split).sum()) for name, split in self.splits.items()}
        return {name: count for name, count in found.items() if count}
