"""The engine next to `generate` of `transformers`, and alone at a backbone's shape, adapted and bare.

All are led to write given outputs, so that neither the model's quality nor the length of what it says
matters. `generate` gets what its users give it: batches of texts of like length, padded on the left, no
grammar. The engine pays for its grammars and for asking the model where they leave a choice.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedConfig

from ucuie.engine.generate import Generator, Work
from ucuie.engine.grammar_state import GrammarFactory, choices
from ucuie.engine.requests import Request
from ucuie.engine.writer import Beam
from ucuie.errors import ConfigError
from ucuie.lab.bench.documents import NUM_USED_TYPES, make_documents, schema_of
from ucuie.lab.bench.options import DecodeOptions
from ucuie.lab.bench.timing import (
    backbone_settings,
    bench_device,
    interleaved,
    made_up_backbone,
    make_variants,
    peak_bytes,
    rates,
    settings_of,
)
from ucuie.language.encode import PromptEncoder
from ucuie.language.grammar import build_grammar
from ucuie.language.linearize import linearize
from ucuie.language.pool import InstructionPool
from ucuie.model.folder import EMBEDDED, LoadedModel, load_model
from ucuie.schema.capabilities import capability_labels

ONE = ", one text"


@dataclass(frozen=True)
class LedRequest:
    """A request and the tokens that are to be written for it."""

    request: Request
    target: tuple[int, ...]


def bench_decode(options: DecodeOptions) -> dict[str, Any]:
    """Time the engine and `generate` on made-up documents, many at once and one alone.

    Every round runs each contender once, after one round that does not count; process time adds up what
    threads use. Products of 8 bits and drafts are the engine's, `generate` stays as it is.

    Returns:
        `engine_over_generate`, a ratio of texts per second; `latency_generate_over_engine`, a ratio of the
        seconds of one text; `seconds`, medians; what was done in them.
    """
    loaded = load_model(options.model or EMBEDDED, device=options.device)
    num_texts = options.num_texts
    engine, jobs = led_generator(
        loaded,
        *(num_texts, options.words, options.num_types),
        batch_size=options.batch_size,
        num_drafts=options.num_drafts,
        int8=options.int8,
    )
    plain = _Plain(loaded, batch_size=options.batch_size)
    where = next(loaded.model.parameters()).device
    contenders: dict[str, LedGenerator | _Plain] = {"engine": engine, "generate": plain}
    _check(contenders, jobs)
    # Of contenders that know the instruction already, which is what is timed.
    work, plain.forwards = _work(engine, jobs), 0
    plain.write(jobs)
    forwards = {"engine": work.forwards, "generate": plain.forwards}
    seconds = interleaved(
        _works(contenders, jobs), where, repeats=options.repeats, num_threads=options.num_threads
    )
    return {
        "engine_over_generate": seconds["generate"] / seconds["engine"],
        "latency_generate_over_engine": seconds["generate" + ONE] / seconds["engine" + ONE],
        "seconds": seconds,
        "texts_per_second": {name: num_texts / seconds[name] for name in contenders},
        "forwards": forwards,
        "work": asdict(work),
        "tokens": _mean_tokens(jobs),
        "settings": settings_of(options, where, model=loaded.name),
    }


def bench_decode_shape(shape: PreTrainedConfig, options: DecodeOptions) -> dict[str, Any]:
    """Time the engine with all variants, which take turns, on many texts and on one alone.

    The weights are made up; texts are those of the embedded model's tokenizer.

    Returns:
        Ratios of medians; for every variant its `rates` of tokens written and `..._weights_gib_per_second`,
        what one text alone reads of the backbone's weights: few tokens wait for memory.

    Raises:
        ConfigError: the backbone has too small a vocabulary for the tokenizer.
        RuntimeError: a variant did not write the given outputs.
    """
    where = bench_device(options.device)
    tokenizer = load_model(EMBEDDED, device="cpu").tokenizer
    if shape.vocab_size < len(tokenizer):
        raise ConfigError(
            f"the vocabulary of the backbone has {shape.vocab_size:,} tokens, and the texts of "
            f"the bench need {len(tokenizer):,}; take another backbone"
        )
    grammars = GrammarFactory(tokenizer, shape.vocab_size)
    encoder = PromptEncoder(tokenizer, pool=InstructionPool.load())
    jobs = make_jobs(encoder, grammars, options.num_texts, options.words, options.num_types)
    backbone = made_up_backbone(shape, num_layers=options.layers, device=where)
    variants = make_variants(backbone)
    engines = {
        name: LedGenerator(
            *(model.eval(), grammars, jobs), batch_size=options.batch_size, num_drafts=options.num_drafts
        )
        for name, model in variants.items()
    }
    _check(engines, jobs)
    many, one = (_work(engines["backbone"], some) for some in (jobs, jobs[:1]))
    works = _works(engines, jobs)
    seconds = interleaved(works, where, repeats=options.repeats, num_threads=options.num_threads)
    memory = peak_bytes(variants, works, where)
    # Numbers that every token is multiplied with; of embeddings it takes one row.
    linears = [module for module in backbone.modules() if isinstance(module, nn.Linear)]
    weights = sum(linear.weight.numel() for linear in linears)
    gib_read = weights * backbone.dtype.itemsize * one.forwards / 2**30
    return {
        "settings": settings_of(options, where, **backbone_settings(backbone)),
        "seconds": seconds,
        "work": {"many": vars(many), "one": vars(one)},
        "adapter_over_backbone": seconds["adapter"] / seconds["backbone"],
        "adapter_over_lora52": seconds["adapter"] / seconds["lora52"],
        "adapter_over_backbone_one_text": seconds["adapter" + ONE] / seconds["backbone" + ONE],
        "adapter_over_lora52_one_text": seconds["adapter" + ONE] / seconds["lora52" + ONE],
        **rates(
            *(seconds, memory),
            tokens=many.tokens_written,
            operations=2 * weights * many.tokens_read,
            peak_tflops=options.peak_tflops,
        ),
        **{f"{name}_weights_gib_per_second": gib_read / seconds[name + ONE] for name in variants},
    }


def make_jobs(
    encoder: PromptEncoder, grammars: GrammarFactory, num_texts: int, words: int, num_types: int
) -> list[LedRequest]:
    """Made-up documents with their records as requests and targets; the first five types are theirs."""
    schema = schema_of(max(num_types, NUM_USED_TYPES))
    instruction_ids = encoder.encode_instruction("NER", schema)
    jobs = []
    for text, records in make_documents(num_texts, words=words):
        grammar = build_grammar(schema, text, "NER")
        request = Request(instruction_ids, encoder.encode_text(text), grammar, capability_labels("NER"))
        target_ids = encoder.encode_target(linearize(records, schema))[:-1]
        jobs.append(LedRequest(request, tuple(choices(target_ids, grammars.start(grammar)).tokens)))
    return jobs


class LedGenerator(Generator):
    """The engine, which takes the target's token wherever it would take the likeliest."""

    def __init__(
        self, model: Any, grammars: GrammarFactory, jobs: Sequence[LedRequest], **options: Any
    ) -> None:
        super().__init__(model, grammars, **options)
        self._targets = {tuple(job.request.text_ids): job.target for job in jobs}

    def write(self, jobs: Sequence[LedRequest]) -> list[tuple[int, ...]]:
        """The tokens of each output."""
        return [output.tokens for output in self.generate([job.request for job in jobs])]

    def choose(self, row: Beam, logits: Any) -> Any:
        """The target's token, scored as the model's own choice would be."""
        choice = super().choose(row, logits)
        return replace(choice, token=self._targets[tuple(row.writer.text_ids)][choice.position])


def led_generator(
    loaded: LoadedModel, num_texts: int, words: int, num_types: int, **options: Any
) -> tuple[LedGenerator, list[LedRequest]]:
    """A generator led to what is in made-up documents, and the requests about them."""
    grammars = GrammarFactory(loaded.tokenizer, loaded.model.config.vocab_size)
    encoder = PromptEncoder(loaded.tokenizer, pool=loaded.pool)
    jobs = make_jobs(encoder, grammars, num_texts, words, num_types)
    return LedGenerator(loaded.model, grammars, jobs, **options), jobs


class _Plain:
    """`generate`, led by a processor of its logits."""

    def __init__(self, loaded: LoadedModel, *, batch_size: int) -> None:
        self.forwards = 0
        self._model: Any = loaded.model
        self._tokenizer = loaded.tokenizer
        self._batch_size = batch_size
        self._is_adapted = hasattr(getattr(loaded.model, "base_model", None), "compute_gates")

    def write(self, jobs: Sequence[LedRequest]) -> list[tuple[int, ...]]:
        """The tokens of each output, in batches of texts of like length."""
        order = sorted(range(len(jobs)), key=lambda index: len(jobs[index].request.text_ids))
        written: dict[int, tuple[int, ...]] = {}
        for start in range(0, len(jobs), self._batch_size):
            indices = order[start : start + self._batch_size]
            batch = self._write([jobs[index] for index in indices])
            written |= dict(zip(indices, batch, strict=True))
        return [written[index] for index in range(len(jobs))]

    @torch.inference_mode()
    def _write(self, jobs: Sequence[LedRequest]) -> list[tuple[int, ...]]:
        device = next(self._model.parameters()).device
        pad, end = self._tokenizer.pad_token_id or 0, self._tokenizer.eos_token_id
        requests = [job.request for job in jobs]
        width = max(len(one.instruction_ids) + len(one.text_ids) for one in requests)

        def padded(rows: Iterable[list[int]], filler: int) -> Tensor:
            return torch.tensor([[filler] * (width - len(row)) + row for row in rows], device=device)

        prompts = [[*one.instruction_ids, *one.text_ids] for one in requests]
        tensors = {
            "input_ids": padded(prompts, pad),
            "attention_mask": padded(([1] * len(prompt) for prompt in prompts), 0),
        }
        if self._is_adapted:
            masks = ([1] * len(one.instruction_ids) + [0] * len(one.text_ids) for one in requests)
            labels = [one.capability_labels for one in requests]
            tensors["instruction_mask"] = padded(masks, 0)
            tensors["capability_labels"] = torch.tensor(labels, device=device)
        longest = max(len(job.target) for job in jobs) + 1
        rows = [[*job.target, *([end] * (longest - len(job.target)))] for job in jobs]
        targets = torch.tensor(rows, device=device)

        def lead(input_ids: Tensor, scores: Tensor) -> Tensor:
            self.forwards += 1
            led = torch.full_like(scores, -torch.inf)
            return led.scatter_(1, targets[:, input_ids.shape[1] - width, None], 0.0)

        output = self._model.generate(
            **tensors,
            max_new_tokens=longest,
            do_sample=False,
            pad_token_id=pad,
            eos_token_id=end,
            logits_processor=[lead],
        )
        return [
            tuple(row[width : width + len(job.target)].tolist())
            for row, job in zip(output, jobs, strict=True)
        ]


def _check(contenders: Mapping[str, LedGenerator | _Plain], jobs: Sequence[LedRequest]) -> None:
    """Raise a RuntimeError if one of them does not write what it is to write."""
    for name, contender in contenders.items():
        if contender.write(jobs) != [job.target for job in jobs]:
            raise RuntimeError(f"{name} did not write the given outputs; its time would mean nothing")


def _work(engine: LedGenerator, jobs: Sequence[LedRequest]) -> Work:
    engine.work = Work()
    engine.write(jobs)
    return replace(engine.work)


def _works(
    contenders: Mapping[str, LedGenerator | _Plain], jobs: Sequence[LedRequest]
) -> dict[str, Callable[[], object]]:
    """Each contender writes many outputs, and one alone."""
    return {
        name + suffix: partial(contender.write, some)
        for name, contender in contenders.items()
        for suffix, some in (("", jobs), (ONE, jobs[:1]))
    }


def _mean_tokens(jobs: Sequence[LedRequest]) -> dict[str, float]:
    parts = {
        "instruction": [len(job.request.instruction_ids) for job in jobs],
        "text": [len(job.request.text_ids) for job in jobs],
        "output": [len(job.target) for job in jobs],
    }
    return {name: sum(lengths) / len(lengths) for name, lengths in parts.items()}
