"""Pretrains `ucuie-mini`: a Llama-architecture language model on openly licensed text.

    python -m making.mini.pretrain mini.yaml --text DIR --tokenizer DIR --output DIR --minutes 60

The same program makes the small model of a CPU and the large one of a GPU: size, token budget and
wall-clock budget are arguments. It stops at whichever budget ends first, writes a checkpoint every few
minutes, and goes on from it when started again with the same output folder. The learning rate follows a
warmup-stable-decay schedule over the budget used so far, so a run can be extended later: `--no-decay`
leaves it in the stable phase.

With `--examples` a share of the steps learns from unified examples instead of text, with the grammar
objective: a model this small extracts best when it has seen the output language before it is frozen.

The matrices of the layers are trained with Muon, everything else with AdamW: on one and the same text
Muon needs clearly fewer tokens for the same loss, for a few per cent more time a step.
"""

import argparse
import io
import itertools
import json
import math
import random
import signal
import time
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from tokenizers import Tokenizer
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from making.mini.corpus import DOMAIN_WEIGHTS, Corpus, pack_corpus
from making.mini.shared_rows import SharedRows, collate
from ucuie.config import Config
from ucuie.data import MixtureOptions, SchemaAugmentation, build_mixture
from ucuie.engine.grammar_state import GrammarFactory
from ucuie.errors import DataError
from ucuie.files import write_bytes
from ucuie.language.encode import PromptEncoder
from ucuie.language.pool import InstructionPool
from ucuie.train.objective import IGNORED, task_loss
from ucuie.train.packing import packed_attention

CHECKPOINT = "checkpoint.pt"
LOGITS_ROWS = 4  # rows whose logits exist at the same time while evaluating


class ModelConfig(Config):
    """The shape of the model."""

    hidden: int = Field(256, description="width of the residual stream")
    layers: int = 5
    heads: int = 4
    intermediate: int = Field(448, description="width of the MLP")
    context: int = Field(1024, description="longest sequence in tokens")


class OptimizerConfig(Config):
    """Learning rates and their warmup-stable-decay schedule."""

    matrix_learning_rate: float = Field(3e-3, description="Muon, for the matrices of the layers")
    other_learning_rate: float = Field(3e-3, description="AdamW, for embeddings and norms")
    weight_decay: float = 0.01
    warmup_steps: int = Field(100, ge=1)
    decay: float = Field(0.25, ge=0, lt=1, description="share of the budget in which the rates fall to 0")


class PretrainingConfig(Config):
    """One pretraining run."""

    model: ModelConfig = ModelConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    rows: int = Field(8, description="sequences of text in a step")
    length: int = Field(512, description="tokens in a sequence of text")
    example_rows: int = Field(6, description="rows of examples in a step")
    example_length: int = Field(768, description="tokens in a row of examples, which share one instruction")
    example_share: float = Field(0.9, ge=0, le=1, description="share of the steps that learn from examples")
    mixture: MixtureOptions = Field(MixtureOptions(), description="how many examples of which data set")
    augmentation: SchemaAugmentation = Field(
        SchemaAugmentation(max_frames=12, max_negatives=2), description="how the schemas of examples vary"
    )
    seed: int = 0
    evaluate_minutes: float = 5
    checkpoint_minutes: float = 10


@dataclass
class Progress:
    """How far a run is; part of the checkpoint."""

    step: int = 0
    tokens: int = 0
    example_steps: int = 0
    seconds: float = 0.0


def build_model(config: ModelConfig, tokenizer: Any) -> LlamaForCausalLM:
    """A Llama with tied embeddings, initialised at random."""
    llama = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=config.hidden,
        num_hidden_layers=config.layers,
        num_attention_heads=config.heads,
        num_key_value_heads=config.heads,
        intermediate_size=config.intermediate,
        max_position_embeddings=config.context,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return LlamaForCausalLM(llama)


@torch.no_grad()
def grow(model: LlamaForCausalLM, smaller: Path) -> None:
    """Gives a new model the function of a smaller one of equal width, tokenizer and heads.

    What the model has more writes nothing at first: neurons beyond the smaller MLP have zero columns in
    its down projection, and layers beyond the smaller depth, spread evenly among the others, zero output
    projections. All of it can learn from the first step.
    """
    source = LlamaForCausalLM.from_pretrained(smaller, dtype=torch.float32)
    depth, smaller_depth = len(model.model.layers), len(source.model.layers)
    if source.config.hidden_size != model.config.hidden_size:
        widths = f"{source.config.hidden_size}, the new model {model.config.hidden_size}"
        raise ValueError(f"{smaller} is {widths} wide; only depth and MLP can grow")
    if depth < smaller_depth:
        raise ValueError(f"{smaller} has {smaller_depth} layers, more than the {depth} of the new model")
    model.model.embed_tokens.load_state_dict(source.model.embed_tokens.state_dict())
    model.model.norm.load_state_dict(source.model.norm.state_dict())
    # Layer i of the smaller model becomes the last of its share of the deeper one.
    places = {(index + 1) * depth // smaller_depth - 1: index for index in range(smaller_depth)}
    for place, layer in enumerate(model.model.layers):
        if place not in places:
            layer.self_attn.o_proj.weight.zero_()
            layer.mlp.down_proj.weight.zero_()
            continue
        taken = source.model.layers[places[place]]
        for name, parameter in taken.named_parameters():
            grown = layer.get_parameter(name)
            if name == "mlp.down_proj.weight":
                grown.zero_()
            grown[tuple(map(slice, parameter.shape))] = parameter


def build_optimizers(model: nn.Module, config: OptimizerConfig) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the layers, AdamW for the rest."""
    matrices, others = [], []
    for name, parameter in model.named_parameters():
        (matrices if parameter.ndim == 2 and "embed" not in name else others).append(parameter)
    return [
        torch.optim.Muon(
            matrices,
            lr=config.matrix_learning_rate,
            weight_decay=config.weight_decay,
            adjust_lr_fn="match_rms_adamw",
        ),
        torch.optim.AdamW(others, lr=config.other_learning_rate, betas=(0.9, 0.95), weight_decay=0.0),
    ]


def schedule(step: int, used: float, config: OptimizerConfig, *, decays: bool) -> float:
    """The factor on the learning rates at a step, after a share `used` of the budget."""
    if step < config.warmup_steps:
        return (step + 1) / config.warmup_steps
    if decays and used > 1 - config.decay:
        return max(0.0, (1 - used) / config.decay)
    return 1.0


def fast_dtype(device: torch.device) -> torch.dtype:
    """bf16 where it is the faster one: on GPUs, and on CPUs whose cores multiply it (measured, not asked)."""
    if device.type == "cuda":
        return torch.bfloat16
    left = torch.randn(512, 512)
    seconds = {}
    for dtype in (torch.float32, torch.bfloat16):
        matrix = left.to(dtype)
        matrix @ matrix
        start = time.perf_counter()
        for _ in range(10):
            matrix @ matrix
        seconds[dtype] = time.perf_counter() - start
    return min(seconds, key=lambda dtype: seconds[dtype])


@torch.no_grad()
def bits_per_byte(model: LlamaForCausalLM, corpus: Corpus, device: torch.device) -> dict[str, float]:
    """Held-out bits per byte of every domain."""
    result = {}
    for domain in DOMAIN_WEIGHTS:
        rows = corpus.validation(domain).to(device)
        losses = [language_model_loss(model, part) * len(part) for part in rows.split(LOGITS_ROWS)]
        nats = float(torch.stack(losses).sum()) / len(rows)
        result[domain] = round(nats / math.log(2) / corpus.bytes_per_token(domain), 4)
    return result


def language_model_loss(model: nn.Module, tokens: torch.Tensor) -> torch.Tensor:
    """Mean next-token cross-entropy in nats."""
    logits = model(input_ids=tokens, use_cache=False).logits[:, :-1]
    return F.cross_entropy(logits.flatten(0, 1).float(), tokens[:, 1:].flatten())


class Run:
    """A pretraining run: model, optimizers and progress, written and read together."""

    def __init__(self, config: PretrainingConfig, tokenizer: Any, output: Path, device: torch.device) -> None:
        torch.manual_seed(config.seed)
        self.config = config
        self.output = output
        self.device = device
        self.model = build_model(config.model, tokenizer).to(device)
        self.optimizers = build_optimizers(self.model, config.optimizer)
        self.progress = Progress()
        self.losses: dict[str, list[float]] = defaultdict(list)

    def save(self) -> None:
        """Writes the checkpoint whole or not at all.

        Raises:
            SystemExit: it cannot be written, as on a full disk; the one before stays.
        """
        state = {
            "model": self.model.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "progress": vars(self.progress),
        }
        path = self.output / CHECKPOINT
        content = io.BytesIO()
        torch.save(state, content)
        try:
            write_bytes(path, content.getvalue())
        except OSError as error:
            kept = "the one before is whole: " if path.exists() else ""
            raise SystemExit(
                f"{path} cannot be written: {error.strerror}; {kept}make room, and run it again"
            ) from error

    def resume(self) -> bool:
        """Goes on from the checkpoint of the output folder, if there is one."""
        path = self.output / CHECKPOINT
        if not path.exists():
            return False
        state = torch.load(path, map_location=self.device, weights_only=True)
        self.model.load_state_dict(state["model"])
        for optimizer, optimizer_state in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(optimizer_state)
        self.progress = Progress(**state["progress"])
        return True

    def train(
        self, corpus: Corpus, examples: SharedRows | None, *, minutes: float, tokens: float, decays: bool
    ) -> None:
        """Trains until the budget of this run is used up or it is interrupted."""
        config, progress = self.config, self.progress
        text_loss = torch.compile(language_model_loss, dynamic=False)
        dtype = fast_dtype(self.device)
        is_stopping = _stop_signal()
        example_batches = iter(()) if examples is None else self._example_batches(examples)
        last_evaluation = last_checkpoint = time.monotonic()
        factor = 0.0
        while not is_stopping():
            start = time.monotonic()
            used = max(progress.seconds / 60 / minutes, progress.tokens / tokens)
            if used >= 1:
                break
            factor = schedule(progress.step, used, config.optimizer, decays=decays)
            for optimizer, rate in zip(
                self.optimizers,
                (config.optimizer.matrix_learning_rate, config.optimizer.other_learning_rate),
                strict=True,
            ):
                for group in optimizer.param_groups:
                    group["lr"] = rate * factor
            is_example_step = examples is not None and _is_example_step(config, progress.step)
            with torch.autocast(self.device.type, dtype=dtype, enabled=dtype is not torch.float32):
                if is_example_step:
                    batch = next(example_batches)
                    num_tokens = batch.pop("num_tokens")
                    inputs = {name: part.to(self.device) for name, part in batch.items()}
                    num_labels = (inputs["labels"] != IGNORED).sum().clamp(min=1)
                    with packed_attention(self.model, shares_instructions=True):
                        loss = task_loss(self.model, inputs) / num_labels
                    progress.example_steps += 1
                else:
                    rows = corpus.batch(rows=config.rows, seed=config.seed, step=progress.step)
                    num_tokens = rows.numel()
                    loss = text_loss(self.model, rows.to(self.device))
            loss.backward()
            nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            for optimizer in self.optimizers:
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
            self.losses["examples" if is_example_step else "text"].append(loss.item())
            progress.step += 1
            progress.tokens += num_tokens
            progress.seconds += time.monotonic() - start
            if time.monotonic() - last_evaluation > config.evaluate_minutes * 60:
                self.evaluate(corpus, factor)
                last_evaluation = time.monotonic()
            if time.monotonic() - last_checkpoint > config.checkpoint_minutes * 60:
                self.save()
                last_checkpoint = time.monotonic()
        self.save()
        if not is_stopping():
            self.evaluate(corpus, factor)

    def _example_batches(self, examples: SharedRows) -> Iterator[dict[str, Any]]:
        """Rows of examples from the step that the run stands at, made ahead in a process of their own."""
        rows = self.config.example_rows
        skipped = self.progress.example_steps
        for epoch in itertools.count():
            examples.set_epoch(epoch)
            batches = [range(first, first + rows) for first in range(0, len(examples) - rows + 1, rows)]
            if skipped < len(batches):
                yield from DataLoader(
                    examples,
                    batch_sampler=batches[skipped:],
                    num_workers=1,
                    worker_init_fn=_leave_signals_to_parent,
                    collate_fn=collate,
                )
            skipped = max(0, skipped - len(batches))

    def evaluate(self, corpus: Corpus, factor: float) -> None:
        """One JSON line on standard output and in `log.jsonl`."""
        domains = bits_per_byte(self.model, corpus, self.device)
        entry = vars(self.progress) | {
            "learning_rate_factor": round(factor, 4),
            "losses": {name: round(sum(values) / len(values), 4) for name, values in self.losses.items()},
            "bits_per_byte": round(sum(domains.values()) / len(domains), 4),
            "domains": domains,
        }
        self.losses.clear()
        line = json.dumps(entry)
        print(line, flush=True)
        with (self.output / "log.jsonl").open("a") as log:
            log.write(line + "\n")


def _is_example_step(config: PretrainingConfig, step: int) -> bool:
    return random.Random(f"{config.seed}/{step}").random() < config.example_share


def build_examples(folders: list[Path], tokenizer: Any, config: PretrainingConfig) -> SharedRows:
    """The training examples of converted data sets, no text of their validation or test splits among them."""
    mixture = build_mixture(folders, options=config.mixture)
    print(json.dumps({name: share.model_dump() for name, share in mixture.shares.items()}), flush=True)
    pool = InstructionPool.load()
    examples = SharedRows(
        mixture.examples,
        PromptEncoder(tokenizer, pool=pool),
        pool=pool,
        grammars=GrammarFactory(tokenizer),
        augmentation=config.augmentation,
        length=config.example_length,
        seed=config.seed,
    )
    examples.set_epoch(0)
    if len(examples) < config.example_rows:
        fault = f"its examples fill {len(examples)} rows, a step needs {config.example_rows}"
        raise DataError(", ".join(map(str, folders)), [fault])
    return examples


def _leave_signals_to_parent(_worker: int) -> None:
    """Ctrl-C reaches every process of a group; a worker that died of it would take the last step along."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def _stop_signal() -> Any:
    """A function that says whether the user asked to stop; the step in work is finished first."""
    stopped = []
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.append(True))
    return lambda: bool(stopped)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("config", type=Path)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--text", type=Path, required=True, help="folder of the .txt.xz files")
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--corpus", type=Path, required=True, help="folder for the packed tokens")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=math.inf, help="wall-clock budget of the whole run")
    parser.add_argument("--tokens", type=float, default=math.inf, help="token budget of the whole run")
    parser.add_argument("--megabytes", type=float, help="pack only so much text")
    parser.add_argument("--examples", type=Path, nargs="*", default=[], help="converted data sets")
    parser.add_argument("--grow", type=Path, help="start from this smaller model of the same width")
    parser.add_argument("--no-decay", action="store_true", help="stay in the stable phase")
    options = parser.parse_args()
    config = PretrainingConfig.load(options.config, overrides=options.set)
    options.output.mkdir(parents=True, exist_ok=True)
    tokenizer = AutoTokenizer.from_pretrained(options.tokenizer)
    raw_tokenizer = Tokenizer.from_file(str(options.tokenizer / "tokenizer.json"))
    pack_corpus(
        options.text, raw_tokenizer, options.corpus, megabytes=options.megabytes, end=tokenizer.eos_token_id
    )
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    run = Run(config, tokenizer, options.output, device)
    is_resumed = run.resume()
    if options.grow is not None and not is_resumed:
        grow(run.model, options.grow)
    parameters = sum(parameter.numel() for parameter in run.model.parameters())
    print(json.dumps({"parameters": parameters, "resumed": is_resumed, **vars(run.progress)}), flush=True)
    run.train(
        Corpus(options.corpus, config.length),
        build_examples(options.examples, tokenizer, config) if options.examples else None,
        minutes=options.minutes,
        tokens=options.tokens,
        decays=not options.no_decay,
    )
    run.model.save_pretrained(options.output / "model")
    tokenizer.save_pretrained(options.output / "model")


if __name__ == "__main__":
    main()
