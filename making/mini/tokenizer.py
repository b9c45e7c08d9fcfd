"""Trains the byte-level BPE tokenizer of `ucuie-mini`.

    python -m making.mini.tokenizer --text DIR --output DIR [--vocabulary 16384] [--megabytes 80]

Every punctuation mark is a token of its own (with its blank), so that the borders of a filler are
always borders of tokens; digits stand in groups of up to three.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from making.mini.corpus import DOMAIN_WEIGHTS, read_documents

SPECIAL_TOKENS = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>"}
PIECES = Regex(r" ?[\p{L}\p{M}]+| ?\p{N}{1,3}| ?[^\s\p{L}\p{M}\p{N}]|\s+(?!\S)|\s+")


def train_tokenizer(documents: Iterator[str], *, vocabulary: int, context: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer with `vocabulary` tokens; any Unicode text survives a round trip."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(PIECES, behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=list(SPECIAL_TOKENS.values()),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )
    tokenizer.train_from_iterator(documents, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        model_max_length=context,
        clean_up_tokenization_spaces=False,
        **SPECIAL_TOKENS,
    )


def sample(text: Path, megabytes: float) -> Iterator[str]:
    """Documents of every domain, in proportion to the weights of pretraining."""
    for domain, weight in DOMAIN_WEIGHTS.items():
        budget = int(weight * megabytes * 1e6)
        yield from read_documents(text / f"{domain}.txt.xz", megabytes=budget / 1e6)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--text", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--vocabulary", type=int, default=16_384)
    parser.add_argument("--megabytes", type=float, default=80)
    parser.add_argument("--context", type=int, default=1024)
    options = parser.parse_args()
    documents = sample(options.text, options.megabytes)
    tokenizer = train_tokenizer(documents, vocabulary=options.vocabulary, context=options.context)
    tokenizer.save_pretrained(options.output)


if __name__ == "__main__":
    main()
