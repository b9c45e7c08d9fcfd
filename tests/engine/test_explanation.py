"""Explanations: the means over a record's own tokens of what one whole forward routed."""

from pathlib import Path

import pytest
import torch

from tiny_model import CONTEXT, answer_of, save_plain, tiny_model, tokenizer
from ucuie import Extractor
from ucuie.engine.generate import Generator
from ucuie.engine.grammar_state import GrammarFactory
from ucuie.errors import ConfigError
from ucuie.extract.extractor import Query
from ucuie.extract.prompts import Prompts
from ucuie.language.encode import PromptEncoder
from ucuie.schema import CAPABILITIES, Schema

TEXTS = ["Ada Lovelace lived in London.", "naïve 東京 🙂 (a) \\ Null", "Charles met Ada in Turin."]
SCHEMA = {"live in": ["subject", "object"]}


def make_extractor(**settings: object) -> Extractor:
    return Extractor(tiny_model(**settings), max_new_tokens=120)


@pytest.fixture(scope="module")
def extractor() -> Extractor:
    return make_extractor()


def test_explanations_change_nothing_else(extractor: Extractor) -> None:
    plain = extractor.extract_batch(TEXTS, SCHEMA)
    explained = extractor.extract_batch(TEXTS, SCHEMA, explain=True)
    assert any(extraction.records for extraction in plain)
    for one, other in zip(plain, explained, strict=True):
        assert "explanation" not in one.to_json()
        without = tuple(record.model_copy(update={"explanation": None}) for record in other.records)
        assert answer_of(one) == answer_of(other.model_copy(update={"records": without}))


def test_gates_and_weights_are_what_they_are_called(extractor: Extractor) -> None:
    for extraction in extractor.extract_batch(TEXTS, SCHEMA, explain="linears"):
        for record in extraction.records:
            explanation = record.explanation
            assert explanation is not None
            assert explanation.linears is not None
            assert len(explanation.linears) == 6
            for use in (explanation, *explanation.linears.values()):
                assert tuple(use.gates) == tuple(use.experts) == CAPABILITIES
                assert all(0 <= gate <= 1 for gate in use.gates.values())
                assert all(sum(weights) == pytest.approx(1, abs=1e-3) for weights in use.experts.values())
            mean = sum(use.gates["locating"] for use in explanation.linears.values()) / 6
            assert explanation.gates["locating"] == pytest.approx(mean, abs=1e-3)


def test_the_weights_are_the_means_over_the_records_own_tokens(extractor: Extractor) -> None:
    """Against the long way: the tokens are found by writing the output again, one by one."""
    query = Query("1", TEXTS[0], Schema.of(SCHEMA), "RE")
    model = tiny_model()
    [document] = Prompts(PromptEncoder(tokenizer(), pool=model.pool), CONTEXT, None).documents(query)
    [part] = document.parts()
    request = part.request
    grammars = GrammarFactory(tokenizer(), len(tokenizer()))
    [output] = Generator(model.model, grammars, max_new_tokens=120).generate([request])
    [extraction] = extractor.answer([Query(*vars(query).values())])
    explained = extractor.extract(TEXTS[0], SCHEMA, explain=True)
    assert len(explained.records) == len(extraction.records) > 0
    tokens = torch.tensor([[*request.instruction_ids, *request.text_ids, *output.tokens]])
    mask = torch.arange(tokens.shape[1])[None] < len(request.instruction_ids)
    routing = model.model.base_model.route_tokens(tokens, None, mask)
    weights = torch.stack([one.sub_expert_weights[0] for one in routing.values()]).mean(dim=0)[
        -len(output.tokens) :
    ]
    pieces = [grammars.token_bytes(token) for token in output.tokens]
    for record in explained.records:
        explanation = record.explanation
        assert explanation is not None
        means = [
            weights[start : start + explanation.num_tokens].mean(dim=0)
            for start in range(len(pieces) - explanation.num_tokens + 1)
            if b"(live in" in b"".join(pieces[start : start + explanation.num_tokens])
        ]
        wanted = torch.tensor([explanation.experts[name] for name in CAPABILITIES])
        assert any(torch.allclose(mean, wanted, atol=1e-4) for mean in means)


def test_one_level_has_weights_without_gates() -> None:
    for extraction in make_extractor(num_levels=1).extract_batch(TEXTS, SCHEMA, explain=True):
        for record in extraction.records:
            assert record.explanation is not None
            assert record.explanation.gates == {}
            total = sum(sum(weights) for weights in record.explanation.experts.values())
            assert total == pytest.approx(1, abs=1e-3)


def test_a_hard_router_shows_its_labels() -> None:
    for extraction in make_extractor(router="hard").extract_batch(TEXTS, ["person"], explain=True):
        for record in extraction.records:
            assert record.explanation is not None
            assert record.explanation.gates == {"judging": 1, "locating": 1, "associating": 0}


def test_a_model_without_experts_cannot_explain(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no capability experts"):
        make_extractor(use_capability_experts=False).extract("Ada", SCHEMA, explain=True)
    plain = Extractor.from_pretrained(save_plain(tmp_path), device="cpu")
    with pytest.raises(ConfigError, match="no capability experts"):
        plain.extract("Ada", SCHEMA, explain=True)
