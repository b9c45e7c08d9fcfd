"""Model folders: what is in one, and how it becomes a model again.

    my-model/
      ucuie.json                  what belongs together, and how it came about (`ModelInfo`)
      adapter_config.json         the adapter, as PEFT keeps it; absent where the whole backbone
      adapter_model.safetensors     was trained
      instructions.yaml           the instruction pool of the training
      calibration.json            what its scores mean (`Calibration`); absent until it was calibrated
      backbone/                   the backbone and its tokenizer; absent where `ucuie.json` names another
      README.md                   the model card; the one file that may be edited

Reading checks every file before anything is built from it; `saving` writes them.
"""

import warnings
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Lock

import torch
from peft import (
    PeftConfig,
    PeftModel,
    PeftModelForCausalLM,
    get_peft_model_state_dict,
    set_peft_model_state_dict,
)
from transformers import PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerFast

from ucuie.adapter import HierarchicalMoeConfig
from ucuie.adapter.config import PEFT_TYPE_NAME
from ucuie.errors import ConfigError, DataError, ModelError, show
from ucuie.language.pool import InstructionPool
from ucuie.model.backbone import Backbone as Backbone
from ucuie.model.backbone import Weights as Weights
from ucuie.model.backbone import (
    backbone_fingerprint,
    not_finite,
    plain_folder,
    read_backbone,
    read_plain_shape,
    tokenizer_sha256,
    with_same_weights,
)
from ucuie.model.calibration import Calibration
from ucuie.model.info import (
    ADAPTER_FILE,
    ADAPTER_WEIGHTS_FILE,
    BACKBONE_FOLDER,
    INFO_FILE,
    POOL_FILE,
    REPAIR,
    ModelInfo,
    check_files,
    read_calibration,
    read_info,
)
from ucuie.model.operating_point import OperatingPoint
from ucuie.model.saving import has_patterns, read_tensors
from ucuie.model.source import DEFAULT as DEFAULT
from ucuie.model.source import EMBEDDED as EMBEDDED
from ucuie.model.source import EMBEDDED_NAME as EMBEDDED_NAME
from ucuie.model.source import backbone_place, backbone_reference, first_line, local_model, model_name
from ucuie.model.source import embedded_model as embedded_model

_BackboneKey = tuple[str, ...]
"""The files of a backbone by their SHA-256, or where it is."""


@dataclass(frozen=True)
class LoadedModel:
    """A model ready for inference, with what it was trained to be used with.

    `info` is None for a plain Hugging Face model, which nobody trained for extraction; `calibration` is None
    for a model whose scores are raw.
    """

    model: PreTrainedModel | PeftModel
    tokenizer: PreTrainedTokenizerFast
    pool: InstructionPool
    info: ModelInfo | None
    name: str
    calibration: Calibration | None = None
    shares_backbone: bool = False
    """Other models have the same weights in memory: nothing is worth a copy of them."""
    turn: Lock = field(default_factory=Lock, repr=False, compare=False)
    """Held by the thread whose forwards these are: a forward leaves its gates in the model."""

    @property
    def operating_point(self) -> OperatingPoint:
        """Its place between precision and recall unless it is asked for another one."""
        return OperatingPoint() if self.info is None else self.info.operating_point


def load_backbone(
    source: str | Path, *, device: str | torch.device = "cpu", weights: Weights | None = None
) -> Backbone:
    """A backbone to train an adapter on; of a model folder, the backbone without the adapter.

    The source is as of `local_model`, how weights are kept as of `read_backbone`.

    Raises:
        ConfigError: the model folder would need a copy of weights that are not kept as they were.
        MissingExtraError: quantised weights need bitsandbytes.
        ModelError: there is no such model, or its files cannot be read.
    """
    is_rounded = weights not in (None, "float32")
    if is_rounded and backbone_reference(str(source)) == BACKBONE_FOLDER:
        raise ConfigError(
            f"backbone_weights: {weights} is for backbones that stay where they are; the model "
            f"would get a copy of {show(str(source))}, so keep it in float32"
        )
    folder = plain_folder(_bare(source))
    model, tokenizer = read_backbone(folder, device=device, weights=weights)
    fingerprint = backbone_fingerprint(model, stored_in=folder) if is_rounded else None
    return Backbone(model, tokenizer, source=str(source), fingerprint=fingerprint)


def read_shape(source: str | Path) -> PreTrainedConfig:
    """The configuration of a backbone; of a model folder it is that of the backbone in it."""
    return read_plain_shape(_bare(source))


def load_model(source: str | Path = DEFAULT, *, device: str | torch.device | None = None) -> LoadedModel:
    """The model of a folder or hub id, checked and in evaluation mode.

    A plain model loads too, from a folder of Hugging Face's or a GGUF file, for use without any training. The
    source is as of `local_model`; without a device a GPU is taken if there is one, else the CPU.

    Raises:
        ModelError: there is no such model, a file is missing or damaged, or the adapter was trained on
            another backbone, tokenizer or format; says which and what to do.
    """
    return _load(source, device, {})


def load_models(
    sources: Mapping[str, str | Path], *, device: str | torch.device | None = None
) -> dict[str, LoadedModel]:
    """Several models by their names; those with the same backbone have its weights in memory once."""
    backbones: dict[_BackboneKey, Backbone] = {}
    loaded = {name: _load(source, device, backbones) for name, source in sources.items()}
    places = Counter(_place_of_weights(one) for one in loaded.values())
    return {
        name: replace(one, name=name, shares_backbone=places[_place_of_weights(one)] > 1)
        for name, one in loaded.items()
    }


def _load(
    source: str | Path, device: str | torch.device | None, backbones: dict[_BackboneKey, Backbone]
) -> LoadedModel:
    folder, name = local_model(source), model_name(source)
    if device is None:
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if not (folder / INFO_FILE).is_file():
        if (folder / ADAPTER_FILE).is_file():
            raise ModelError(f"{INFO_FILE} is missing in the model folder {show(str(folder))}; {REPAIR}")
        backbone, tokenizer = read_backbone(plain_folder(folder), device=device)
        return LoadedModel(backbone.requires_grad_(False), tokenizer, InstructionPool.load(), None, name)
    info = read_info(folder)
    check_files(folder, info)
    pool = _read_pool(folder, info)
    place = backbone_place(folder, info)
    inside = sorted(sha256 for file, sha256 in info.files.items() if file.startswith(f"{BACKBONE_FOLDER}/"))
    key = tuple(inside) or (str(place.resolve()),)
    if key not in backbones:
        backbones[key] = Backbone(*read_backbone(plain_folder(place), device=device), source=str(place))
    backbone, tokenizer = with_same_weights(backbones[key].model), backbones[key].tokenizer
    _check_belongs(backbone, tokenizer, folder, info)
    model = _load_adapter(backbone, folder) if ADAPTER_FILE in info.files else backbone
    calibration = read_calibration(folder, info)
    return LoadedModel(model.eval().requires_grad_(False), tokenizer, pool, info, name, calibration)


def _place_of_weights(loaded: LoadedModel) -> int:
    first: torch.Tensor = next(loaded.model.get_input_embeddings().parameters())
    return first.data_ptr()


def _load_adapter(backbone: PreTrainedModel, folder: Path) -> PeftModel:
    """The backbone with the adapter of a model folder; PEFT itself reads no tensors in int8."""
    try:
        tensors = read_tensors(folder / ADAPTER_WEIGHTS_FILE)
        with warnings.catch_warnings():
            # PEFT asks transformers for an attribute that the next version drops.
            warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing", category=FutureWarning)
            model = PeftModelForCausalLM(backbone, _adapter_settings(folder, tensors))
        # "auto" would ask the hub whether the vocabulary has grown.
        wanted = get_peft_model_state_dict(model, save_embedding_layers=False)
        # It would go on with random weights.
        if others := sorted(wanted.keys() ^ tensors.keys()):
            raise ValueError(f"its tensors are not those of its settings, such as {others[0]}")
        if name := not_finite(tensors):
            raise ValueError(f"it has numbers that are none, NaN or infinite, such as in {name}")
        set_peft_model_state_dict(model, tensors)
    except Exception as error:  # of any class: PEFT, safetensors and torch each raise their own
        raise ModelError(
            f"the adapter in {show(str(folder))} does not load: {first_line(error)}; {REPAIR}"
        ) from error
    return model


def _adapter_settings(folder: Path, tensors: Mapping[str, torch.Tensor]) -> HierarchicalMoeConfig:
    """The settings of the adapter in a folder; a ValueError for what would cost memory, time or worse."""
    settings = PeftConfig.from_pretrained(str(folder))
    # Other kinds may fetch, and run, what they name.
    if not isinstance(settings, HierarchicalMoeConfig):
        raise ValueError(f"it is of the kind {show(settings.peft_type)}, not {PEFT_TYPE_NAME}")
    if has_patterns(settings):
        raise ValueError("its settings name the linears by a pattern; saved models list them")
    rows = {len(tensor) for name, tensor in tensors.items() if name.endswith("hierarchical_moe_down")}
    if rows != {sum(settings.layout().columns)}:
        raise ValueError("its tensors are not those of its settings")
    return settings


def _read_pool(folder: Path, info: ModelInfo) -> InstructionPool:
    try:
        pool = InstructionPool.load(folder / POOL_FILE)
    except DataError:
        # Without its lines: where a stranger made the folder, they may be those of any file here.
        raise ModelError(
            f"{folder / POOL_FILE} is no instruction pool that this ucuie reads; {REPAIR}"
        ) from None
    if pool.hash != info.instruction_pool_hash:
        raise ModelError(f"{folder / POOL_FILE} is not the pool that {INFO_FILE} names; {REPAIR}")
    return pool


def _bare(source: str | Path) -> Path:
    """The folder or GGUF file of a backbone; of a model folder that of the backbone in it."""
    place = local_model(source)
    return backbone_place(place, read_info(place)) if (place / INFO_FILE).is_file() else place


def _check_belongs(
    backbone: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, folder: Path, info: ModelInfo
) -> None:
    if backbone_fingerprint(backbone) != info.backbone_fingerprint:
        raise ModelError(
            f"the model {show(str(folder))} was trained on another backbone than the one at "
            f"{show(info.backbone)}: their parameters differ; "
            f'point "backbone" in {folder / INFO_FILE} to the one it was trained on'
        )
    if tokenizer_sha256(tokenizer) != info.tokenizer_sha256:
        raise ModelError(
            f"the model {show(str(folder))} was trained with another tokenizer than the one at "
            f"{show(info.backbone)}; restore the tokenizer files of its backbone"
        )
