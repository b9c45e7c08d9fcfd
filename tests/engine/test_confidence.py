"""Scores, counted by hand on a tokenizer of single letters plus a few merged brackets."""

import math
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from decode_cases import StubModel
from ucuie.engine.confidence import score_records
from ucuie.engine.generate import Generator
from ucuie.engine.grammar_state import GrammarFactory
from ucuie.engine.requests import Output, Request
from ucuie.language.align import align
from ucuie.language.grammar import build_grammar
from ucuie.language.linearize import parse
from ucuie.schema import Record, Schema, Task

TEXT = "Ada met Bob"
LETTERS = [*pre_tokenizers.ByteLevel.alphabet()]
MERGED = [(")", ","), ("]", "}"), ("]", ",")]


def make_grammars() -> GrammarFactory:
    tokens = ["</s>", *LETTERS, *map("".join, MERGED)]
    backend = Tokenizer(models.BPE(vocab={token: index for index, token in enumerate(tokens)}, merges=MERGED))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    return GrammarFactory(PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="</s>"))


GRAMMARS = make_grammars()
TOKENS = {GRAMMARS.token_bytes(token).decode("latin-1"): token for token in range(1, GRAMMARS.vocab_size)}


class ScriptedModel(StubModel):
    """Gives the probabilities of a script, one entry per choice, whatever it reads."""

    def __init__(self, script: list[dict[str, float]]) -> None:
        super().__init__()
        self.script = script

    def logits(self, tokens: Tensor) -> Tensor:
        logits = torch.full((len(tokens), GRAMMARS.vocab_size), -1e9)
        for token, probability in self.script.pop(0).items():
            logits[:, TOKENS[token]] = math.log(probability)
        return logits


def scored(
    script: list[dict[str, float]],
    schema: Any,
    text: str = TEXT,
    task: Task = "EE",
    end_bias: float = 0.0,
    **options: Any,
) -> tuple[Output, tuple[Record, ...]]:
    schema = Schema.of(schema)
    model = ScriptedModel(script).eval()
    request = Request([1] * 10, [1], build_grammar(schema, text, task, **options), end_bias=end_bias)
    [output] = Generator(model, GRAMMARS).generate([request])
    assert not model.script
    parsed = parse(output.text)
    return output, score_records(output, parsed.frames, align(parsed.frames, text, schema), GRAMMARS)


def test_an_entity() -> None:
    script = [
        {"(": 0.9, "}": 0.1},  # another frame, or the end
        {"p": 0.8, "c": 0.2},  # person, not city
        {"A": 0.7, "m": 0.2, "B": 0.1},
        {")": 0.6, " ": 0.4},  # Ada, not Ada met
        {"]}": 1.0},
    ]
    output, [record] = scored(script, ["person", "city"])
    assert output.text == "{(person: Ada): []}"
    assert record.filler.score == pytest.approx(0.7 * 0.6)
    assert record.score == pytest.approx(0.9 * 0.8 * 0.7 * 0.6)


def test_the_choice_of_another_frame_counts_for_that_frame() -> None:
    script = [
        {"(": 1.0},
        {"A": 0.8, "B": 0.2},
        {")": 1.0},
        {"],": 0.6, "]}": 0.4},
        {"B": 1.0},
        {"]}": 0.5, "],": 0.3, "]": 0.2},
    ]
    output, [first, second] = scored(script, ["person"])
    assert output.text == "{(person: Ada): [], (person: Bob): []}"
    assert first.score == pytest.approx(0.8)
    assert second.score == pytest.approx(0.6)
    assert second.filler.score == pytest.approx(1.0)


def test_a_token_that_ends_a_filler_and_begins_a_slot_is_divided() -> None:
    script = [
        {"(": 1.0},
        {"m": 0.9, "N": 0.1},  # a trigger, not Null
        {")": 1.0},
        {"(": 0.6, "]": 0.4},  # a slot, or none
        {"S": 0.8, "P": 0.2},
        {"A": 1.0},
        {"),": 0.6, ")": 0.1, " ": 0.3},  # the end, with 0.6 of 0.7 another slot
        {"P": 0.9, "S": 0.1},
        {"B": 1.0},
        {")": 0.75, "),": 0.25},  # the end in any case; 0.75 for no more slots
        {"]}": 1.0},
    ]
    output, [record] = scored(script, {"Speech": ["Speaker", "Place"]})
    assert output.text == "{(Speech: met): [(Speaker: Ada), (Place: Bob)]}"
    speaker, place = record.slots
    assert record.filler.score == pytest.approx(0.9)
    assert speaker.filler.score == pytest.approx(0.6 * 0.8 * 0.7)
    assert place.filler.score == pytest.approx(0.6 / 0.7 * 0.9)
    assert record.score == pytest.approx(0.9 * (0.6 * 0.8 * 0.7) * (0.6 / 0.7 * 0.9) * 0.75)


def test_null_is_a_choice_of_the_record_but_nobodys_filler() -> None:
    script = [{"(": 1.0}, {"N": 0.6, "A": 0.4}, {"]": 0.7, "(": 0.3}, {"}": 1.0}]
    output, [record] = scored(script, {"Speech": ["Speaker"]})
    assert output.text == "{(Speech: Null): []}"
    assert record.filler is None
    assert record.score == pytest.approx(0.6 * 0.7)


def test_what_the_grammar_left_out_is_kept_as_mass() -> None:
    script = [{"(": 0.3, "}": 0.1, "x": 0.6}, {"A": 0.9, "B": 0.1}, {")": 1.0}, {"]}": 1.0}]
    output, [record] = scored(script, ["person"])
    assert math.exp(output.choices[0].log_mass) == pytest.approx(0.4)
    assert record.score == pytest.approx(0.75 * 0.9)


def test_a_dropped_slot_does_not_count() -> None:
    script = [
        {"(": 1.0},
        {"m": 1.0},
        {")": 1.0},
        {"(": 1.0},
        {"A": 0.8, "B": 0.2},
        {"),": 1.0},
        {"A": 0.6, "B": 0.4},  # Ada again, who stands there once
        {")": 0.5, "),": 0.5},
        {"]}": 0.9, "],": 0.1},
    ]
    output, [record] = scored(script, {"Speech": ["Speaker"]})
    assert output.text == "{(Speech: met): [(Speaker: Ada), (Speaker: Ada)]}"
    [slot] = record.slots
    assert slot.filler.score == pytest.approx(0.8)
    assert record.score == pytest.approx(0.8 * 0.5)


# --- The bias on ending ----------------------------------------------------------------------------

ENTITY = [{"A": 1.0}, {")": 1.0}]


def test_a_bias_against_the_end_says_more_and_leaves_the_scores_alone() -> None:
    goes_on = [{"(": 0.4, "}": 0.6}, *ENTITY, {"]}": 0.7, "],": 0.2, "]": 0.1}, *ENTITY, {"]}": 1.0}]
    output, [first] = scored(goes_on[:1] + ENTITY + [{"]}": 1.0}], ["person"], end_bias=0.5)
    assert output.text == "{(person: Ada): []}"
    assert first.score == pytest.approx(0.4)
    output, [first, second] = scored(goes_on, ["person"], text="Ada, Ada", end_bias=2.0)
    assert output.text == "{(person: Ada): [], (person: Ada): []}"
    assert (first.score, second.score) == (pytest.approx(0.4), pytest.approx(0.2))


def test_a_bias_for_the_end_says_less() -> None:
    assert scored([{"(": 0.6, "}": 0.4}], ["person"], end_bias=-0.5)[0].text == "{}"


def test_a_brace_of_the_text_is_not_the_end() -> None:
    script = [{"(": 1.0}, {"}": 0.6, "x": 0.4}, {")": 1.0}, {"]}": 1.0}]
    output, _ = scored(script, ["person"], text="} x", end_bias=5.0)
    assert output.text == "{(person: }): []}"
