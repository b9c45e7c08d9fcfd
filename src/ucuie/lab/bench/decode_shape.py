"""What decoding costs at the shape of a real backbone, bare, with PEFT's LoRA and with the adapter.

In: the shape of a backbone, whose weights are made up. Out: seconds of the engine for the same prompts and
outputs through each variant. Random weights would write anything, so the engine
is led to given outputs; texts are those of the embedded model's tokenizer.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from torch import nn
from transformers import PreTrainedConfig

from ucuie.engine.generate import Work
from ucuie.engine.grammar_state import GrammarFactory
from ucuie.errors import ConfigError
from ucuie.lab.bench.decode import SETTINGS, LedGenerator, LedRequest, make_jobs
from ucuie.lab.bench.options import DecodeOptions
from ucuie.lab.bench.timing import Step, interleaved, settings_of, threads, timed
from ucuie.lab.bench.variants import (
    backbone_settings,
    bench_device,
    made_up_backbone,
    make_variants,
    peak_bytes,
)
from ucuie.language.encode import PromptEncoder
from ucuie.language.pool import InstructionPool
from ucuie.model.folder import EMBEDDED, load_model

ONE = ", one text"


def _check_vocabulary(shape: PreTrainedConfig, num_tokens: int) -> None:
    if shape.vocab_size < num_tokens:
        raise ConfigError(
            f"the vocabulary of the backbone has {shape.vocab_size:,} tokens, and the texts of "
            f"the bench need {num_tokens:,}; take another backbone"
        )


def bench_decode_shape(shape: PreTrainedConfig, options: DecodeOptions) -> dict[str, Any]:
    """Time the engine with all variants, which take turns, on many texts and on one alone.

    Every round runs each variant once, after one round that does not count.

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
    where = bench_device(options.device)
    tokenizer = load_model(EMBEDDED, device="cpu").tokenizer
    _check_vocabulary(shape, len(tokenizer))
    grammars = GrammarFactory(tokenizer, shape.vocab_size)
    encoder = PromptEncoder(tokenizer, pool=InstructionPool.load())
    jobs = make_jobs(encoder, grammars, options.num_texts, options.words, options.num_types)
    work = {"batch_size": options.batch_size, "num_drafts": options.num_drafts}
    with threads(options.num_threads):
        backbone = made_up_backbone(shape, num_layers=options.layers, device=where)
        variants = make_variants(backbone)
        engines = {
            name: LedGenerator(model.eval(), grammars, jobs, **work) for name, model in variants.items()
        }
        steps: dict[str, Step] = {}
        for name, engine in engines.items():
            engine.check(jobs)
            steps[name] = timed(partial(engine.write, jobs), where)
            steps[name + ONE] = timed(partial(engine.write, jobs[:1]), where)
        # Of engines that know the instruction already, which is what is timed.
        many, one = (_work(engines["backbone"], some) for some in (jobs, jobs[:1]))
        seconds = interleaved(steps, repeats=options.repeats)
        memory = peak_bytes(variants, steps) if where.type == "cuda" else {}
    weights = _weights(backbone)
    report: dict[str, Any] = {}
    for name in variants:
        tflops = 2 * weights * many.tokens_read / seconds[name] / 1e12
        report[f"{name}_tokens_per_second"] = many.tokens_written / seconds[name]
        report[f"{name}_tflops"] = tflops
        if options.peak_tflops is not None:
            report[f"{name}_utilisation"] = tflops / options.peak_tflops
        read = weights * backbone.dtype.itemsize * one.forwards
        report[f"{name}_weights_gib_per_second"] = read / seconds[name + ONE] / 2**30
        if name in memory:
            report[f"{name}_memory_gib"] = memory[name] / 2**30
    return {
        "settings": settings_of(options, *SETTINGS, device=where) | backbone_settings(backbone),
        "seconds": seconds,
        "work": {"many": vars(many), "one": vars(one)},
        "adapter_over_backbone": seconds["adapter"] / seconds["backbone"],
        "adapter_over_lora52": seconds["adapter"] / seconds["lora52"],
        "adapter_over_backbone_one_text": seconds["adapter" + ONE] / seconds["backbone" + ONE],
        "adapter_over_lora52_one_text": seconds["adapter" + ONE] / seconds["lora52" + ONE],
        **report,
    }


def _work(engine: LedGenerator, jobs: Sequence[LedRequest]) -> Work:
    engine.work = Work()
    engine.write(jobs)
    return replace(engine.work)


def _weights(backbone: Any) -> int:
    """Numbers that every token is multiplied with; of embeddings it takes one row."""
    return sum(module.weight.numel() for module in backbone.modules() if isinstance(module, nn.Linear))
