"""The pretraining text as packed tokens: read, tokenised once, kept on disk, sampled by domain.

A domain is one `NAME.txt.xz` file with a document on every line. Its tokens lie in `NAME.train.bin` and
`NAME.validation.bin` (uint16, documents separated by the end token) beside `corpus.json`, which says how
they were made. Batches are a function of (seed, step), so an interrupted run goes on with the same data.
"""

import json
import lzma
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer

DOMAIN_WEIGHTS = {
    "enwiki_main": 0.45,
    "enwiki_2018": 0.10,
    "pmc_rct_fulltext": 0.12,
    "medquad": 0.03,
    "craft_articles": 0.03,
    "arxiv_abstracts": 0.10,
    "eltec_eng_novels": 0.07,
    "openstax_textbooks": 0.05,
    "cia_factbook": 0.01,
    "task_dialogues": 0.04,
}
VALIDATION_STRIDE = 200  # every 200th document is held out
VALIDATION_TOKENS = 8_192  # per domain and evaluation
TOKENIZER_BATCH = 1_000


def read_documents(path: Path, *, megabytes: float | None = None) -> Iterator[str]:
    """The documents of a `.txt.xz` file; with a budget, evenly spread over the whole file."""
    stride = 1
    if megabytes is not None:
        # xz shrinks this text about 3.6-fold; an exact size would cost a pass over the file.
        stride = max(1, round(path.stat().st_size * 3.6 / 1e6 / max(megabytes, 1e-3)))
    with lzma.open(path, "rt", encoding="utf-8") as lines:
        for index, line in enumerate(lines):
            if index % stride == 0 and (document := line.strip()):
                yield document


def pack_corpus(text: Path, tokenizer: Tokenizer, output: Path, *, megabytes: float | None, end: int) -> None:
    """Tokenises every domain into `output`; what is there already is kept."""
    output.mkdir(parents=True, exist_ok=True)
    summary_path = output / "corpus.json"
    summary = json.loads(summary_path.read_text()) if summary_path.exists() else {}
    for domain, weight in DOMAIN_WEIGHTS.items():
        if domain in summary:
            continue
        budget = None if megabytes is None else megabytes * weight
        documents = read_documents(text / f"{domain}.txt.xz", megabytes=budget)
        summary[domain] = _pack_domain(documents, tokenizer, output / domain, end=end)
        summary_path.write_text(json.dumps(summary, indent=1))


def _pack_domain(documents: Iterator[str], tokenizer: Tokenizer, stem: Path, *, end: int) -> dict[str, int]:
    counts = {"train_tokens": 0, "validation_tokens": 0, "validation_bytes": 0}
    with (
        Path(f"{stem}.train.bin").open("wb") as train,
        Path(f"{stem}.validation.bin").open("wb") as validation,
    ):
        for first, batch in _batched(documents, TOKENIZER_BATCH):
            for offset, encoding in enumerate(tokenizer.encode_batch_fast(batch, add_special_tokens=False)):
                tokens = np.array([*encoding.ids, end], dtype=np.uint16)
                is_held_out = (first + offset) % VALIDATION_STRIDE == 0
                (validation if is_held_out else train).write(tokens.tobytes())
                counts["validation_tokens" if is_held_out else "train_tokens"] += len(tokens)
                counts["validation_bytes"] += len(batch[offset].encode()) + 1 if is_held_out else 0
    return counts


def _batched(documents: Iterator[str], size: int) -> Iterator[tuple[int, list[str]]]:
    first, batch = 0, []
    for document in documents:
        batch.append(document)
        if len(batch) == size:
            yield first, batch
            first, batch = first + size, []
    if batch:
        yield first, batch


@dataclass(frozen=True)
class Corpus:
    """Packed tokens on disk."""

    folder: Path
    length: int
    """Tokens of one row."""

    def batch(self, *, rows: int, seed: int, step: int) -> torch.Tensor:
        """Token ids (rows, length): domains drawn by weight, places drawn uniformly."""
        generator = np.random.default_rng((seed, step))
        weights = np.array(list(DOMAIN_WEIGHTS.values()))
        domains = generator.choice(list(DOMAIN_WEIGHTS), size=rows, p=weights / weights.sum())
        picked = []
        for domain in domains:
            tokens = self._tokens(str(domain), "train")
            start = generator.integers(0, max(1, len(tokens) - self.length))
            picked.append(np.resize(tokens[start : start + self.length], self.length).astype(np.int64))
        return torch.from_numpy(np.stack(picked))

    def validation(self, domain: str) -> torch.Tensor:
        """Held-out rows (n, length) of a domain, always the same."""
        tokens = self._tokens(domain, "validation")[:VALIDATION_TOKENS].astype(np.int64)
        rows = max(1, len(tokens) // self.length)
        return torch.from_numpy(np.resize(tokens, (rows, self.length)))

    def bytes_per_token(self, domain: str) -> float:
        """Average length of a held-out token, which turns nats per token into bits per byte."""
        counts = json.loads((self.folder / "corpus.json").read_text())[domain]
        return counts["validation_bytes"] / max(1, counts["validation_tokens"])

    def _tokens(self, domain: str, split: str) -> np.ndarray:
        return np.memmap(self.folder / f"{domain}.{split}.bin", dtype=np.uint16, mode="r")
