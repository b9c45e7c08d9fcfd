"""The typed configuration of a training run, read from YAML: one's own file or a recipe.

Recipes are configurations for well-known backbones, which come with the package.
"""

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from ucuie.config import Config
from ucuie.data import MixtureOptions, SchemaAugmentation
from ucuie.errors import ConfigError, did_you_mean, show

SHARDABLE_OPTIMIZERS = ("adamw_torch_fused", "adamw_torch")
RECIPES = Path(__file__).with_name("recipe_files")
UNSHARDABLE_ARGUMENTS = ("fp16", "load_best_model_at_end", "torch_compile")


class DataConfig(Config):
    """The folders and files of the examples."""

    train: list[Path] = Field(
        min_length=1, description="folders made by `ucuie convert`, or files of unified JSONL"
    )
    held_out: list[Path] = Field(
        default=[], description="further data whose validation and test texts must not be trained on"
    )
    mixture: MixtureOptions = Field(
        default=MixtureOptions(), description="how much of each data set; its seed is that of the run"
    )


class LossConfig(Config):
    """The training objective: L = L_task + gamma L_bce + beta L_entropy (Section 3.5)."""

    objective: Literal["full", "grammar"] = Field(
        default="full", description="full is equation 1; grammar learns only what the grammar leaves open"
    )
    gamma: float = Field(default=0.1, ge=0, description="weight of the BCE loss of the capability router")
    beta: float = Field(default=0.1, ge=0, description="weight of the entropy loss of the sub-experts")


class StageConfig(Config):
    """One of the two stages."""

    epochs: float = Field(gt=0, description="passes over the stage's examples")
    max_steps: int | None = Field(
        default=None, ge=1, description="stop after so many steps instead; null runs all epochs"
    )
    learning_rate: float = Field(default=3e-4, gt=0)


class WarmingConfig(StageConfig):
    """Stage 1, capability warming: each capability's expert alone, on its own subset."""

    epochs: float = Field(default=1, gt=0)
    enabled: bool = True
    max_per_capability: int | None = Field(
        default=None, ge=1, description="at most this many examples of each subset; null takes all"
    )


class MultitaskConfig(StageConfig):
    """Stage 2, multi-task learning: the whole adapter on the whole mixture."""

    epochs: float = Field(default=3, gt=0)


class TrainConfig(Config):
    """One training run; the defaults are the paper's (Section 4.1)."""

    backbone: str = Field(
        default="embedded",
        description="a causal language model: `embedded` (ucuie-mini's), the name of a known one such as "
        "`smollm2-135m-instruct`, a folder, a GGUF file, or a hub id",
    )
    backbone_weights: Literal["float32", "bfloat16", "8bit", "4bit"] = Field(
        default="float32",
        description="how the frozen backbone is kept in memory; 8bit and 4bit need the extra `quantized`",
    )
    output: Path = Field(default=Path("runs/model"), description="folder of the trained model")
    data: DataConfig
    method: Literal["adapter", "full"] = Field(
        default="adapter", description="adapter freezes the backbone; full trains all its weights instead"
    )
    adapter: dict[str, Any] = Field(
        default={}, description="settings of HierarchicalMoeConfig, such as {router: hard, r: 8}"
    )
    initial_adapter: Path | None = Field(
        default=None,
        description="folder of a model or checkpoint with the same backbone and adapter settings, whose "
        "adapter is trained on; null starts afresh",
    )
    loss: LossConfig = LossConfig()
    warming: WarmingConfig = WarmingConfig()
    multitask: MultitaskConfig = MultitaskConfig()
    augmentation: SchemaAugmentation | None = Field(
        default=SchemaAugmentation(max_negatives=2),
        description="how schemas vary while training; null leaves them as they are",
    )
    paraphrase: bool = Field(default=True, description="draw the wording of each instruction from the pool")
    instruction_pool: Path | None = Field(
        default=None, description="a pool file; null takes the packaged one"
    )
    batch_size: int = Field(default=16, ge=1, description="rows in a step, on all processes together")
    texts_per_row: int = Field(
        default=1,
        ge=1,
        description="at most so many texts that are asked the same share a row and its instruction; the "
        "loss is that of rows apart",
    )
    micro_batch_size: int | None = Field(
        default=None,
        ge=1,
        description="rows at a time on one device; null takes the process's whole part of a step",
    )
    gradient_checkpointing: bool = Field(
        default=False, description="compute each layer again in the backward pass instead of keeping it"
    )
    packing: bool = Field(
        default=True, description="put the rows of a step one after the other instead of padding them"
    )
    max_length: int | None = Field(
        default=None, ge=16, description="tokens of the longest row; null takes the context of the backbone"
    )
    sharding: Literal["none", "full"] = Field(
        default="none",
        description="full shares the weights out over the processes (FSDP2), instead of giving all to each",
    )
    seed: int = 0
    trainer: dict[str, Any] = Field(
        default={}, description="further transformers.TrainingArguments, passed through as they are"
    )

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        if self.method == "full" and self.backbone_weights != "float32":
            raise ValueError("method: full trains the backbone, so its backbone_weights are float32")
        if self.initial_adapter is not None and self.method != "adapter":
            raise ValueError("initial_adapter is for method: adapter; leave it out to train all weights")
        if self.texts_per_row > 1 and not self.packing:
            raise ValueError(
                "texts_per_row: texts share the instruction of a packed row only; set packing: true"
            )
        return self

    @model_validator(mode="after")
    def _check_sharding(self) -> Self:
        if self.sharding == "none":
            return self
        if self.backbone_weights in ("8bit", "4bit"):
            raise ValueError(
                "sharding: full cannot share out quantised weights; set backbone_weights: bfloat16 in place "
                f"of {self.backbone_weights}, or sharding: none"
            )
        optimizer = self.trainer.get("optim", SHARDABLE_OPTIMIZERS[0])
        if optimizer not in SHARDABLE_OPTIMIZERS:
            raise ValueError(
                f"sharding: full was made for the optimisers {', '.join(SHARDABLE_OPTIMIZERS)}; leave out "
                f"trainer.optim: {optimizer}, or set sharding: none"
            )
        for name in UNSHARDABLE_ARGUMENTS:
            if self.trainer.get(name):
                raise ValueError(f"sharding: full does not go with trainer.{name}; leave out one of them")
        return self


def recipe_names() -> list[str]:
    """The names of the packaged configurations, sorted."""
    return sorted(path.stem for path in RECIPES.glob("*.yaml"))


def config_path(name: str) -> Path:
    """The file of a configuration, given by its path or by the name of a recipe."""
    path = Path(name)
    if path.exists():
        return path
    names = recipe_names()
    if name in names:
        return RECIPES / f"{name}.yaml"
    raise ConfigError(f"there is no file {show(name)}, nor a recipe of that name{did_you_mean(name, names)}")
