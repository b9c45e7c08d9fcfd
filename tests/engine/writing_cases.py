"""Tiny random models that write under grammars, and requests to write, fuzzed ones among them."""

import random
from typing import Any

import torch
from peft import PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedConfig, PreTrainedModel

from decode_cases import PIECES, byte_level
from ucuie.adapter import HierarchicalMoeConfig
from ucuie.engine.requests import Request
from ucuie.language.grammar import build_grammar
from ucuie.schema import Frame, Schema, Slot

LANGUAGE = byte_level()
TEXT = "Barack Obama spoke at the U.S. Capitol (really) on Monday."
SCHEMA = Schema.of({"Speech": ["Speaker", "Place"], "person": []})


def make_model(
    *, router: str | None = None, kind: type[PreTrainedConfig] = LlamaConfig
) -> PreTrainedModel | PeftModel:
    torch.manual_seed(1)
    config = kind(
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        vocab_size=LANGUAGE.grammars.vocab_size,
        max_position_embeddings=1024,
    )
    model = AutoModelForCausalLM.from_config(config)
    # The default std of 0.02 leaves logits nearly flat, which would hide errors behind ties.
    torch.nn.init.normal_(model.lm_head.weight, std=0.2)
    if router is not None:
        model = get_peft_model(model, HierarchicalMoeConfig(router=router))
        for name, parameter in model.named_parameters():
            if "hierarchical_moe_" in name:
                torch.nn.init.normal_(parameter, std=0.3)
    return model.eval()


def make_request(text: str = TEXT, schema: Schema = SCHEMA, **options: Any) -> Request:
    instruction_ids = LANGUAGE.encoder.encode_instruction(schema.task, schema)
    text_ids = LANGUAGE.encoder.encode_text(text)
    return Request(instruction_ids, text_ids, build_grammar(schema, text, schema.task, **options))


def random_text(rng: random.Random) -> str:
    pieces = [rng.choice(PIECES) + rng.choice(["", " "]) for _ in range(rng.randint(1, 12))]
    return "".join(pieces) + "."


def random_schema(rng: random.Random) -> Schema:
    def names(most: int) -> list[str]:
        drawn = ("".join(rng.choices(PIECES, k=2)).strip() or "name" for _ in range(rng.randint(0, most)))
        return list(dict.fromkeys(drawn))

    def frame(name: str) -> Frame:
        return Frame(
            name=name, slots=tuple(Slot(name=slot, required=rng.random() < 0.3) for slot in names(3))
        )

    return Schema(frames=tuple(map(frame, names(4) or ["name"])))


def fuzzed_requests(num_schemas: int, texts_each: int) -> list[tuple[Schema, str]]:
    rng = random.Random(7)
    schemas = [random_schema(rng) for _ in range(num_schemas)]
    return [(schema, random_text(rng)) for schema in schemas for _ in range(texts_each)]
