"""Tiny random models that write under grammars, and requests to write, fuzzed ones among them."""

import random
from typing import Any

from peft import PeftModel
from transformers import LlamaConfig, PreTrainedConfig, PreTrainedModel

from decode_cases import PIECES, byte_level
from tiny_model import make_adapted, make_backbone
from ucuie.engine.requests import Request
from ucuie.language.grammar import build_grammar
from ucuie.schema import Frame, Schema, Slot

LANGUAGE = byte_level()
TEXT = "Barack Obama spoke at the U.S. Capitol (really) on Monday."
SEED = 4
SCHEMA = Schema.of({"Speech": ["Speaker", "Place"], "person": []})


def make_model(
    *, router: str | None = None, kind: type[PreTrainedConfig] = LlamaConfig
) -> PreTrainedModel | PeftModel:
    # Of this seed some answers end early and others do not; others end all, or none.
    sizes = {"vocab_size": LANGUAGE.grammars.vocab_size, "max_position_embeddings": 1024}
    backbone = make_backbone(SEED, kind=kind, **sizes)
    return backbone if router is None else make_adapted(backbone, router=router)


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
