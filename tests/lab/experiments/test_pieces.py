"""Parts that experiments stand on: constant gates, differences between systems, readings, shares."""

import pytest
import torch

from tiny_model import make_adapted, make_backbone
from ucuie.lab.bench.timing import trainable_parameters
from ucuie.lab.experiments.figures import largest_shares
from ucuie.lab.experiments.readings import dominance_claims
from ucuie.lab.experiments.tables import Trials
from ucuie.lab.experiments.workspace import matching_ranks
from ucuie.metrics import paired_difference
from ucuie.schema import Example, Filler, Record, Schema

RECORD = Record(frame="city", filler=Filler(text="Turin", start=0, end=5))
EXAMPLES = [
    Example(id=str(number), task="NER", text="Turin", schema=Schema.of(["city"]), records=(RECORD,))
    for number in range(6)
]
PERFECT, EMPTY = [(RECORD,)] * 6, [()] * 6
HALF = [(RECORD,), ()] * 3


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")
def test_pinned_gates_are_exactly_one_and_zero_whatever_the_instruction() -> None:
    tuner = make_adapted(make_backbone()).base_model
    ids = torch.arange(3, 9)[None]
    tuner.pin_gates(["locating"])
    gates = tuner.compute_gates(ids, torch.ones_like(ids), torch.ones_like(ids).bool())
    assert gates.unique(dim=0).tolist() == [[[0.0, 1.0, 0.0]]]
    with pytest.raises(ValueError, match="unknown capability 'locatin'; did you mean 'locating'"):
        tuner.pin_gates(["locatin"])


def test_a_hard_router_has_no_gates_to_pin() -> None:
    tuner = make_adapted(make_backbone(), router="hard").base_model
    with pytest.raises(ValueError, match="no soft router"):
        tuner.pin_gates(["judging"])


def test_difference_of_a_perfect_and_an_empty_system_is_certain() -> None:
    found = paired_difference(EXAMPLES, [PERFECT], [EMPTY, EMPTY], rows=["NER"])
    assert (found.mean, found.low, found.high) == (100, 100, 100)
    assert found.is_significant


def test_equal_systems_do_not_differ() -> None:
    found = paired_difference(EXAMPLES, [HALF], [HALF], rows=["NER"])
    assert (found.mean, found.low, found.high) == (0, 0, 0)
    assert not found.is_significant


def test_difference_is_that_of_means_over_trials_and_its_interval_counts_the_trials() -> None:
    # F1 of HALF: 3 of 6 gold found, 3 predicted: 2 * 3 / (6 + 3) = 66.7.
    found = paired_difference(EXAMPLES, [PERFECT, EMPTY], [HALF], rows=["NER"])
    assert found.mean == pytest.approx(50 - 200 / 3)
    assert found.low < -60
    assert found.high > 20


def test_without_any_of_the_rows_there_is_no_difference() -> None:
    with pytest.raises(ValueError, match="no example has a row of RE"):
        paired_difference(EXAMPLES, [HALF], [HALF], rows=["RE"])


def test_matching_ranks_have_the_rank_and_nearly_the_parameters_of_all_experts() -> None:
    config = make_backbone().config
    ranks = matching_ranks(config, {})
    assert ranks["rank"] == 52
    total = trainable_parameters(config, {})
    lora = trainable_parameters(config, {"use_capability_experts": False, "r": ranks["parameters"]})
    assert abs(lora - total) / total < 0.01


def test_largest_share_is_that_of_the_busiest_sub_expert_in_its_capability() -> None:
    even = [[0.5, 0.5], [0.5, 0.5], [0.5, 0.5]]
    skewed = [[0.9, 0.1], [0.5, 0.5], [0.2, 0.8]]
    routing = {"tasks": {"NER": {"weights": [even, skewed]}}}
    assert largest_shares(routing) == pytest.approx({"judging": 0.7, "locating": 0.5, "associating": 0.65})


def test_dominance_is_claimed_only_where_the_own_expert_alone_is_best() -> None:
    def scores(**f1s: float) -> dict[str, Trials]:
        others = dict.fromkeys(("J+L", "J+A", "L+A", "J+L+A"), 50.0)
        return {name: Trials((value,)) for name, value in (others | f1s).items()}

    claims = dominance_claims(
        {
            "judging": scores(J=40, L=30, A=20),
            "locating": scores(J=30, L=30, A=20),
            "associating": {"J": Trials(()), "L": Trials(()), "A": Trials(())},
        }
    )
    assert "best under its own expert" in claims[0]
    assert "level" in claims[1]
    assert "not measured yet" in claims[2]

    uneven = {"judging": scores(J=20, L=30, A=20) | {"L": Trials((25.0, 35.0))}}
    assert "best under locating" in dominance_claims({"judging": scores(J=20, L=30, A=20)})[0]
    assert "best under locating" in dominance_claims(uneven)[0]  # a lead of 10 over a deviation of 7
