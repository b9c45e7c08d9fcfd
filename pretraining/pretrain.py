"""Pretrains `ucuie-mini`: a Llama-architecture language model on openly licensed text.

    python pretraining/pretrain.py mini.yaml --text DIR --tokenizer DIR --output DIR --minutes 60

The same program makes the small model of a CPU and the large one of a GPU: size, token budget and
wall-clock budget are arguments. It stops at whichever budget ends first, writes a checkpoint every few
minutes, and goes on from it when started again with the same output folder. The learning rate follows a
warmup-stable-decay schedule over the budget used so far, so a run can be extended later: `--no-decay`
leaves it in the stable phase.

The matrices of the layers are trained with Muon, everything else with AdamW: on one and the same text
Muon needs clearly fewer tokens for the same loss, for a few per cent more time a step.
"""

import argparse
import json
import math
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from corpus import DOMAIN_WEIGHTS, Corpus, pack_corpus
from pydantic import Field
from tokenizers import Tokenizer
from torch import nn
from torch.nn import functional as F
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from ucuie.config import Config

LOGITS_ROWS = 4  # rows whose logits exist at the same time while evaluating


class ModelConfig(Config):
    """The shape of the model."""

    hidden: int = Field(256, description="width of the residual stream")
    layers: int = 5
    heads: int = 4
    intermediate: int = Field(448, description="width of the MLP")
    context: int = Field(1024, description="longest sequence in tokens")


class OptimizerConfig(Config):
    """Learning rates and their schedule; warmup and decay are shares of the budget."""

    matrix_learning_rate: float = Field(3e-3, description="Muon, for the matrices of the layers")
    other_learning_rate: float = Field(3e-3, description="AdamW, for embeddings and norms")
    weight_decay: float = 0.01
    warmup: float = Field(0.02, ge=0, lt=1)
    decay: float = Field(0.25, ge=0, lt=1)


class PretrainingConfig(Config):
    """One pretraining run."""

    model: ModelConfig = ModelConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    rows: int = Field(16, description="sequences in a step")
    length: int = Field(512, description="tokens in a sequence")
    seed: int = 0
    evaluate_minutes: float = 5
    checkpoint_minutes: float = 10


@dataclass
class Progress:
    """How far a run is; part of the checkpoint."""

    step: int = 0
    tokens: int = 0
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


def schedule(used: float, config: OptimizerConfig, *, decays: bool) -> float:
    """The factor on the learning rates after a share `used` of the budget (warmup-stable-decay)."""
    if used < config.warmup:
        return used / config.warmup
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

    def save(self) -> None:
        """Writes the checkpoint whole or not at all."""
        state = {
            "model": self.model.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "progress": vars(self.progress),
        }
        temporary = self.output / "checkpoint.pt.tmp"
        torch.save(state, temporary)
        temporary.replace(self.output / "checkpoint.pt")

    def resume(self) -> bool:
        """Goes on from the checkpoint of the output folder, if there is one."""
        path = self.output / "checkpoint.pt"
        if not path.exists():
            return False
        state = torch.load(path, map_location=self.device, weights_only=True)
        self.model.load_state_dict(state["model"])
        for optimizer, optimizer_state in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(optimizer_state)
        self.progress = Progress(**state["progress"])
        return True

    def train(self, corpus: Corpus, *, minutes: float, tokens: float, decays: bool) -> None:
        """Trains until the budget of this run is used up or it is interrupted."""
        config, progress = self.config, self.progress
        forward = torch.compile(language_model_loss)
        dtype = fast_dtype(self.device)
        is_stopping = _stop_signal()
        last_evaluation = last_checkpoint = time.monotonic()
        while not is_stopping():
            start = time.monotonic()
            used = max(progress.seconds / 60 / minutes, progress.tokens / tokens)
            if used >= 1:
                break
            factor = schedule(used, config.optimizer, decays=decays)
            for optimizer, rate in zip(
                self.optimizers,
                (config.optimizer.matrix_learning_rate, config.optimizer.other_learning_rate),
                strict=True,
            ):
                for group in optimizer.param_groups:
                    group["lr"] = rate * factor
            batch = corpus.batch(rows=config.rows, seed=config.seed, step=progress.step).to(self.device)
            with torch.autocast(self.device.type, dtype=dtype, enabled=dtype is not torch.float32):
                loss = forward(self.model, batch)
            loss.backward()
            nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
            for optimizer in self.optimizers:
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
            progress.step += 1
            progress.tokens += batch.numel()
            progress.seconds += time.monotonic() - start
            if time.monotonic() - last_evaluation > config.evaluate_minutes * 60:
                self.log(loss.item(), bits_per_byte(self.model, corpus, self.device), factor)
                last_evaluation = time.monotonic()
            if time.monotonic() - last_checkpoint > config.checkpoint_minutes * 60:
                self.save()
                last_checkpoint = time.monotonic()
        self.save()
        self.log(float("nan"), bits_per_byte(self.model, corpus, self.device), 0.0)

    def log(self, loss: float, scores: dict[str, float], factor: float) -> None:
        """One JSON line on standard output and in `log.jsonl`."""
        mean = sum(scores.values()) / len(scores)
        entry = vars(self.progress) | {
            "loss": None if math.isnan(loss) else round(loss, 4),
            "learning_rate_factor": round(factor, 4),
            "bits_per_byte": round(mean, 4),
            "domains": scores,
        }
        line = json.dumps(entry)
        print(line, flush=True)
        with (self.output / "log.jsonl").open("a") as log:
            log.write(line + "\n")


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
    parameters = sum(parameter.numel() for parameter in run.model.parameters())
    print(json.dumps({"parameters": parameters, "resumed": is_resumed, **vars(run.progress)}), flush=True)
    run.train(
        Corpus(options.corpus, config.length),
        minutes=options.minutes,
        tokens=options.tokens,
        decays=not options.no_decay,
    )
    run.model.save_pretrained(options.output / "model")
    tokenizer.save_pretrained(options.output / "model")


if __name__ == "__main__":
    main()
