"""What decoding costs at the shape of a real backbone, bare, with PEFT's LoRA and with the adapter.

In: the shape of a backbone, whose weights are made up. Out: seconds of the engine for the same prompts and
outputs through each variant. Random weights would write anything, so the engine
is led to given outputs; texts are those of the embedded model's tokenizer.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedConfig

from ucuie.engine.generate import Work
from ucuie.engine.grammar_state import GrammarFactory
from ucuie.errors import ConfigError
from ucuie.lab.bench.decode import Job, LedGenerator, make_jobs
from ucuie.lab.bench.timing import Step, device_name, interleaved, threads, timed
from ucuie.lab.bench.variants import bench_device, made_up_backbone, make_variants, peak_bytes
from ucuie.language.encode import PromptEncoder
from ucuie.language.pool import InstructionPool
from ucuie.model.folder import EMBEDDED, load_model

ONE = ", one text"


def bench_decode_shape(
    shape: PreTrainedConfig,
    *,
    num_texts: int = 64,
    words: int = 80,
    num_types: int = 50,
    num_layers: int | None = None,
    batch_size: int = 32,
    num_drafts: int | None = None,
    peak_tflops: float | None = None,
    repeats: int = 5,
    num_threads: int = 1,
    device: str | None = None,
) -> dict[str, Any]:
    """Time the engine with all variants, which take turns, on many texts and on one alone.

    Args:
        shape: of the backbone.
        num_texts: made-up documents; all have one schema.
        words: of a document, about.
        num_types: entity types of the schema.
        num_layers: of the backbone; None takes all that its shape has.
        batch_size: outputs that are written at the same time.
        num_drafts: see `Generator`.
        peak_tflops: of the device at this precision, to give the share of it that is used.
        repeats: rounds; each runs every variant once, after one round that does not count.
        num_threads: of torch on a CPU.
        device: None takes a GPU if there is one.

    Returns:
        Ratios of medians: `adapter_over_backbone`, `adapter_over_lora52` and both with `_one_text`; for every
        variant `..._tokens_per_second` (written), `..._tflops` (10^12 operations of the backbone per second),
        `..._utilisation` with a known peak, `..._weights_gib_per_second` (what one text alone reads of the
        backbone's weights: few tokens wait for memory) and on a GPU `..._memory_gib`; `work`, what the engine
        did; `seconds`; `settings`.

    Raises:
        ConfigError: the backbone has too small a vocabulary for the tokenizer.
        RuntimeError: a variant did not write the given outputs.
    """
    where = bench_device(device)
    tokenizer = load_model(EMBEDDED, device="cpu").tokenizer
    if shape.vocab_size < len(tokenizer):
        raise ConfigError(
            f"config error: the vocabulary of the backbone has {shape.vocab_size:,} tokens, and the texts of "
            f"the bench need {len(tokenizer):,}; take another backbone"
        )
    grammars = GrammarFactory(tokenizer, shape.vocab_size)
    encoder = PromptEncoder(tokenizer, pool=InstructionPool.load())
    jobs = make_jobs(encoder, grammars, num_texts=num_texts, words=words, num_types=num_types)
    options = {"batch_size": batch_size, "num_drafts": num_drafts}
    with threads(num_threads):
        backbone = made_up_backbone(shape, num_layers=num_layers, device=where)
        variants = make_variants(backbone)
        engines = {
            name: LedGenerator(model.eval(), grammars, jobs, **options) for name, model in variants.items()
        }
        steps: dict[str, Step] = {}
        for name, engine in engines.items():
            engine.check(jobs)
            steps[name] = timed(partial(engine.write, jobs), where)
            steps[name + ONE] = timed(partial(engine.write, jobs[:1]), where)
        # Of engines that know the instruction already, which is what is timed.
        many, one = (_work(engines["backbone"], some) for some in (jobs, jobs[:1]))
        seconds = interleaved(steps, repeats=repeats)
        memory = peak_bytes(variants, steps) if where.type == "cuda" else {}
    weights = _weights(backbone)
    report: dict[str, Any] = {}
    for name in variants:
        tflops = 2 * weights * many.tokens_read / seconds[name] / 1e12
        report[f"{name}_tokens_per_second"] = many.tokens_written / seconds[name]
        report[f"{name}_tflops"] = tflops
        if peak_tflops is not None:
            report[f"{name}_utilisation"] = tflops / peak_tflops
        read = weights * backbone.dtype.itemsize * one.forwards
        report[f"{name}_weights_gib_per_second"] = read / seconds[name + ONE] / 2**30
        if name in memory:
            report[f"{name}_memory_gib"] = memory[name] / 2**30
    return {
        "settings": {
            "device": device_name(where),
            "dtype": str(backbone.dtype).removeprefix("torch."),
            "num_texts": num_texts,
            "words": words,
            "num_types": num_types,
            "layers": backbone.config.num_hidden_layers,
            "hidden": shape.hidden_size,
            **options,
            "repeats": repeats,
            "num_threads": num_threads,
            "torch": torch.__version__,
        },
        "seconds": seconds,
        "work": {"many": vars(many), "one": vars(one)},
        "adapter_over_backbone": seconds["adapter"] / seconds["backbone"],
        "adapter_over_lora52": seconds["adapter"] / seconds["lora52"],
        "adapter_over_backbone_one_text": seconds["adapter" + ONE] / seconds["backbone" + ONE],
        "adapter_over_lora52_one_text": seconds["adapter" + ONE] / seconds["lora52" + ONE],
        **report,
    }


def _work(engine: LedGenerator, jobs: Sequence[Job]) -> Work:
    engine.work = Work()
    engine.write(jobs)
    return replace(engine.work)


def _weights(backbone: Any) -> int:
    """Numbers that every token is multiplied with; of embeddings it takes one row."""
    return sum(module.weight.numel() for module in backbone.modules() if isinstance(module, nn.Linear))
