"""Which examples are taken, by a seed: caps, shares of a mixture, low-resource and zero-shot splits.

Everything random takes a `random.Random`; `generator_for` makes one from (seed, epoch, name), so that a
resumed run sees the same examples whatever it has drawn before.
"""

import math
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from ucuie.schema import Example, Schema

Item = TypeVar("Item")


def generator_for(seed: int, name: str, epoch: int = 0) -> random.Random:
    """The generator for an example, by its id, or for anything else that has a name."""
    return random.Random(f"{seed}/{epoch}/{name}")


def sample_examples(examples: Iterable[Item], maximum: int | None, generator: random.Random) -> list[Item]:
    """At most `maximum` examples, all equally likely, in their order; never holds more than those."""
    reservoir: list[tuple[int, Item]] = []
    for index, example in enumerate(examples):
        if maximum is None or len(reservoir) < maximum:
            reservoir.append((index, example))
            continue
        place = generator.randrange(index + 1)
        if place < maximum:
            reservoir[place] = (index, example)
    return [example for _, example in sorted(reservoir, key=lambda pair: pair[0])]


def low_resource(examples: Sequence[Item], percent: float, seed: int) -> list[Item]:
    """The first `percent` of the shuffled examples, rounded up, in their original order.

    The order depends on the seed alone, so that the 1 % of a seed are among its 5 %.

    Raises:
        ValueError: the per cent are not between 0, exclusive, and 100.
    """
    if not 0 < percent <= 100:
        raise ValueError(f"{percent} % of the examples cannot be taken")
    indices = list(range(len(examples)))
    generator_for(seed, "low-resource").shuffle(indices)
    # Rounded first: 100 * 0.07 / 0.07 is a little more than 100.
    count = math.ceil(round(len(examples) * percent / 100, 6))
    return [examples[index] for index in sorted(indices[:count])]


def shares_of(sizes: Sequence[int], total: int, temperature: float) -> list[int]:
    """How many examples each data set gives: in proportion to size ** (1 / temperature), `total` in all.

    1 keeps the proportions, a high temperature makes the data sets equal. Fractions go to the largest
    remainders, of equal ones to the first.
    """
    weights = [size ** (1 / temperature) if size else 0.0 for size in sizes]
    if not any(weights):
        return [0] * len(sizes)
    exact = [total * weight / sum(weights) for weight in weights]
    shares = [math.floor(share) for share in exact]
    by_remainder = sorted(range(len(sizes)), key=lambda index: shares[index] - exact[index])
    for index in by_remainder[: total - sum(shares)]:
        shares[index] += 1
    return shares


def repeated(items: Sequence[Item], count: int, generator: random.Random) -> list[tuple[Item, int]]:
    """`count` items, each with the number of its repetition: all as often as they fit, then a sample."""
    rounds, rest = divmod(count, len(items)) if items else (0, 0)
    taken = [(item, repetition) for repetition in range(rounds) for item in items]
    return taken + [(item, rounds) for item in sample_examples(items, rest, generator)]


@dataclass(frozen=True)
class Fold:
    """The examples of one zero-shot trial and the labels that they are all tested on."""

    schema: Schema
    examples: tuple[Example, ...]


def zero_shot_folds(examples: Iterable[Example]) -> list[Fold]:
    """The trials of a zero-shot set, in their order: one for each selection of labels that examples offer.

    FewRel and Wiki-ZSL have five: five unseen relations for each of five seeds.
    """
    folds: dict[Schema, list[Example]] = {}
    for example in examples:
        folds.setdefault(example.schema, []).append(example)
    return [Fold(schema, tuple(chosen)) for schema, chosen in folds.items()]
