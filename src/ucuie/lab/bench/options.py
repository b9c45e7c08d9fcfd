"""The options of the benches: each class is a command, its docstring the help, its fields the flags."""

from dataclasses import dataclass
from typing import Annotated

from typer import Argument, Option

Layers = Annotated[int | None, Option(min=1, help="Of the backbone; left out, all.")]
PeakTflops = Annotated[float | None, Option(min=0.001, help="Of the device, to give the share that is used.")]
Rounds = Annotated[int, Option(min=1, help="Rounds; medians are taken over them.")]
Threads = Annotated[int, Option("--threads", min=1, help="Threads of torch.")]
ThreadsOnCpu = Annotated[int, Option("--threads", min=1, help="Threads of torch on a CPU.")]
Words = Annotated[int, Option(min=1, help="Of a text, about.")]


@dataclass(frozen=True, kw_only=True)
class AdapterOptions:
    """Compare the adapter with LoRA, a loop over the experts and the bare backbone."""

    hidden: Annotated[int, Option(min=64, help="Width of the random backbone.")] = 512
    layers: Annotated[int, Option(min=1)] = 8
    batch: Annotated[int, Option(min=1, help="Rows of a training step.")] = 8
    length: Annotated[int, Option(min=8, help="Tokens of a row.")] = 256
    repeats: Rounds = 7
    num_threads: Threads = 1


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """Compare training steps with LoRA of as many ranks and the bare backbone, at a backbone's real shape.

    The weights are made up.
    """

    backbone_config: Annotated[
        str, Option(help="Whose shape to take: the name of a recipe, or the folder of a model.")
    ] = "llama-2-7b"
    layers: Layers = None
    rows: Annotated[int, Option("--batch", min=1, help="Rows packed into a step.")] = 4
    row_tokens: Annotated[int, Option("--length", min=16, help="Tokens of a row.")] = 512
    gradient_checkpointing: Annotated[
        bool,
        Option("--checkpointing/--no-checkpointing", help="Compute layers again in the backward pass."),
    ] = False
    peak_tflops: PeakTflops = None
    repeats: Annotated[int, Option(min=1, help="Steps; medians are taken over them.")] = 7
    num_threads: ThreadsOnCpu = 1
    device: str | None = None


@dataclass(frozen=True, kw_only=True)
class RowsOptions:
    """Compare the steps of a training run with its texts in shared rows and in rows apart."""

    config: Annotated[str, Argument(metavar="CONFIG.yaml", help="Of a training run, or a recipe.")]
    overrides: Annotated[
        list[str] | None, Option("--set", metavar="KEY=VALUE", help="As for `ucuie train`.")
    ] = None
    steps: Annotated[int, Option(min=1, help="Steps of the run, taken together.")] = 4
    repeats: Rounds = 5
    num_threads: ThreadsOnCpu = 1
    device: str | None = None


@dataclass(frozen=True, kw_only=True)
class DecodeOptions:
    """Compare the engine with generate of transformers: same model, same outputs.

    With --backbone-config: compare the engine with LoRA, with the adapter and with neither, at that shape.
    """

    model: str | None = None
    num_texts: Annotated[int, Option("--texts", min=1, help="Made-up texts, all with one schema.")] = 64
    words: Words = 80
    num_types: Annotated[int, Option("--types", min=5, max=50, help="Of the schema.")] = 50
    batch_size: int = 32
    num_drafts: Annotated[
        int | None,
        Option(
            "--drafts", min=0, help="Tokens that the engine guesses ahead; left out, where a text is alone."
        ),
    ] = None
    int8: bool = False
    backbone_config: Annotated[
        str | None,
        Option(
            help="Measure the engine alone, at the shape of this backbone, bare and adapted: the name of a "
            "recipe, or the folder of a model."
        ),
    ] = None
    layers: Layers = None
    peak_tflops: PeakTflops = None
    repeats: Rounds = 5
    num_threads: Threads = 1
    device: str | None = None


@dataclass(frozen=True, kw_only=True)
class ExtractOptions:
    """Measure extraction end to end: rates, waiting times, the price of types, memory."""

    model: str | None = None
    num_texts: Annotated[int, Option("--texts", min=1, help="Made-up texts in a batch.")] = 64
    words: Words = 25
    batch_size: int = 32
    memory: Annotated[
        bool, Option(help="Compare the memory for documents of 10,000 and 1,000,000 characters.")
    ] = True
    repeats: Rounds = 5
    num_threads: Threads = 1
    device: str | None = None


@dataclass(frozen=True, kw_only=True)
class ServeOptions:
    """Load a server with many clients, check every answer, and compare it with the extractor alone."""

    num_clients: Annotated[
        int, Option("--clients", min=1, help="Each asks again once it has its answer.")
    ] = 32
    seconds: Annotated[float, Option(min=1, help="Seconds of load.")] = 60.0
    model: str | None = None
