"""Model folders: what training writes and `Extractor` reads.

    my-model/
      ucuie.json                  what belongs together, and how it came about (`ModelInfo`)
      adapter_config.json         the adapter, as PEFT keeps it; absent where the whole backbone was trained
      adapter_model.safetensors
      instructions.yaml           the instruction pool of the training
      backbone/                   a Hugging Face model with its tokenizer; absent where `backbone` names another
      README.md                   the model card; the one file that may be edited

A folder is written whole or not at all. Reading checks every file before anything is built from it.
What a model is asked, and what it answers, is not known here.
"""

import hashlib
import json
import os
import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from pydantic import BaseModel, ConfigDict, ValidationError
from torch import nn
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerFast
from transformers.utils import logging as transformers_logging

import ucuie.adapter  # noqa: F401  makes PEFT know our adapter
from ucuie.atomic import whole_folder
from ucuie.errors import DataError, ModelError, did_you_mean, show
from ucuie.instructions import InstructionPool
from ucuie.model_card import model_card

FORMAT_VERSION = 1
EMBEDDED_NAME = "ucuie-mini"
INFO_FILE = "ucuie.json"
ADAPTER_FILE = "adapter_config.json"
POOL_FILE = "instructions.yaml"
CARD_FILE = "README.md"
BACKBONE_FOLDER = "backbone"

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_ADAPTER_PARAMETER = re.compile(r"\.(lora_|hierarchical_moe_)")
_PROBE = "Ada O'Neil's naïve 2nd test (1815): {x: [y, z]}\n\tÜber 東京, Москва & 🙂 \\ e\u0301"


class ModelInfo(BaseModel):
    """The contents of `ucuie.json`.

    Args:
        format_version: of the folder.
        backbone: a hub id, an absolute path, or a path relative to the folder, such as "backbone".
        backbone_fingerprint: of the backbone that the adapter was trained on; see `backbone_fingerprint`.
        tokenizer_sha256: see `tokenizer_sha256`.
        instruction_pool_hash: of the wordings the model was trained with.
        training: the data and settings of the training, as whoever trained it wrote them down.
        scores: what the model reached, every number under the name of its scorer.
        files: SHA-256 of every file of the folder, by path, without the card and `ucuie.json` itself.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: int = FORMAT_VERSION
    backbone: str
    backbone_fingerprint: str
    tokenizer_sha256: str
    instruction_pool_hash: str
    training: dict[str, Any] = {}
    scores: dict[str, Any] = {}
    files: dict[str, str] = {}


@dataclass(frozen=True)
class Provenance:
    """What a model folder says about its model beside the weights.

    Args:
        backbone: hub id or path to load the backbone from again; None puts a copy into the folder, as does
            a model without an adapter.
        backbone_dtype: of the matrices of such a copy; vectors stay as they are, they cost nothing.
        training: data and settings, for `ucuie.json` and the card.
        scores: results, for `ucuie.json` and the card.
    """

    backbone: str | None = None
    backbone_dtype: torch.dtype = torch.float32
    training: Mapping[str, Any] | None = None
    scores: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class LoadedModel:
    """A model ready for inference, with all it was trained to be used with.

    `info` is None for a plain Hugging Face model, which nobody trained for extraction.
    """

    model: PreTrainedModel | PeftModel
    tokenizer: PreTrainedTokenizerFast
    pool: InstructionPool
    info: ModelInfo | None
    name: str


def embedded_model() -> Path:
    """The folder of the model that comes with the package.

    Raises:
        ModelError: this copy of the package has none.
    """
    folder = Path(__file__).with_name("models") / EMBEDDED_NAME
    if not (folder / INFO_FILE).is_file():
        raise ModelError(
            f"this copy of ucuie has no embedded model ({folder} is missing); reinstall ucuie, or name a model "
            "folder or hub id"
        )
    return folder


def save_model(
    model: PreTrainedModel | PeftModel,
    tokenizer: PreTrainedTokenizerFast,
    folder: Path,
    *,
    pool: InstructionPool | None = None,
    provenance: Provenance | None = None,
) -> ModelInfo:
    """Writes a model folder; one that is there already is replaced in one step.

    Args:
        model: an adapted backbone, or a backbone that was itself trained.
        tokenizer: of the backbone.
        folder: where to; absent, empty, or a model folder.
        pool: of the training; the one that comes with the package if None.
        provenance: where the backbone is kept, and what training and scores were.

    Raises:
        ModelError: the folder holds files that are not of a model.
    """
    _check_replaceable(folder)
    pool = pool or InstructionPool.load()
    provenance = provenance or Provenance()
    is_adapted = isinstance(model, PeftModel)
    backbone_name = provenance.backbone if is_adapted else None
    with whole_folder(folder) as staging, _quiet():
        pool.save(staging / POOL_FILE)
        if backbone_name is None:
            _save_backbone(model, tokenizer, staging / BACKBONE_FOLDER, provenance.backbone_dtype)
        if is_adapted:
            # "auto" would ask the hub whether the vocabulary has grown.
            model.save_pretrained(staging, save_embedding_layers=False)
            _set_base_model(staging / ADAPTER_FILE, backbone_name or BACKBONE_FOLDER)
            (staging / CARD_FILE).unlink(missing_ok=True)
        info = ModelInfo(
            backbone=backbone_name or BACKBONE_FOLDER,
            backbone_fingerprint=backbone_fingerprint(model),
            tokenizer_sha256=tokenizer_sha256(tokenizer),
            instruction_pool_hash=pool.hash,
            training=dict(provenance.training or {}),
            scores=dict(provenance.scores or {}),
            files={name: _sha256(staging / name) for name in _files(staging)},
        )
        (staging / INFO_FILE).write_text(info.model_dump_json(indent=1) + "\n", "utf-8")
        card = model_card(
            folder.name,
            backbone=info.backbone,
            num_parameters=sum(parameter.numel() for parameter in model.parameters()),
            training=info.training,
            scores=info.scores,
        )
        (staging / CARD_FILE).write_text(card, "utf-8")
    return info


def load_model(source: str | Path, *, device: str | torch.device | None = None) -> LoadedModel:
    """The model of a folder or hub id, checked and in evaluation mode.

    On a CPU weights become fp32, whatever they are stored in: bf16 products are very slow on many CPUs. A
    folder without `ucuie.json` that holds a plain causal language model loads as it is.

    Args:
        source: a model folder, a folder with a Hugging Face model, or a hub id ("owner/name"); the hub is
            asked for nothing else.
        device: of the weights; a GPU if there is one, else the CPU.

    Raises:
        ModelError: there is no such model, a file is missing or damaged, or the adapter was trained on
            another backbone, tokenizer or format; says which and what to do.
    """
    folder = _local_folder(source)
    target = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    name = EMBEDDED_NAME if folder.name == EMBEDDED_NAME else str(source)
    if not (folder / INFO_FILE).is_file():
        backbone, tokenizer = load_backbone(folder, device=target)
        return LoadedModel(backbone.requires_grad_(False), tokenizer, InstructionPool.load(), None, name)
    info = _read_info(folder)
    _check_files(folder, info)
    pool = _read_pool(folder, info)
    backbone, tokenizer = load_backbone(_backbone_of(folder, info), device=target)
    _check_belongs(backbone, tokenizer, folder, info)
    model: PreTrainedModel | PeftModel = backbone
    if ADAPTER_FILE in info.files:
        model = _load_adapter(backbone, folder)
    return LoadedModel(model.eval().requires_grad_(False), tokenizer, pool, info, name)


def load_backbone(
    source: str | Path, *, device: str | torch.device = "cpu"
) -> tuple[PreTrainedModel, PreTrainedTokenizerFast]:
    """A causal language model with its tokenizer, in fp32 on a CPU and as it is stored elsewhere.

    Args:
        source: "embedded", a folder, or a hub id. Of a model folder it is the backbone without the adapter.
        device: of the weights.

    Raises:
        ModelError: there is no such model, or its files cannot be read.
    """
    folder = embedded_model() if source == "embedded" else _local_folder(source)
    if (folder / INFO_FILE).is_file():
        folder = _local_folder(_backbone_of(folder, _read_info(folder)))
    if not (folder / "config.json").is_file():
        raise ModelError(
            f"{show(str(folder))} holds no model: it has neither {INFO_FILE} (a model of ucuie) nor config.json "
            "(a Hugging Face model)"
        )
    dtype = torch.float32 if torch.device(device).type == "cpu" else "auto"
    try:
        with _quiet():
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
            model = AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, local_files_only=True)
    # What a damaged file raises depends on where it is damaged.
    except Exception as error:
        reason = str(error).strip().split("\n")[0]
        raise ModelError(
            f"the model in {show(str(folder))} cannot be read: {reason}; copy or download it again"
        ) from error
    return model.to(device).eval(), tokenizer


def backbone_fingerprint(model: nn.Module) -> str:
    """SHA-256 of a backbone's parameter names, shapes and vectors, in hex.

    The vectors (norms, biases) tell two trainings of one architecture apart without reading gigabytes.
    Of an adapted model it is the fingerprint of the backbone alone.
    """
    digest = hashlib.sha256()
    for name, parameter in sorted(_backbone_tensors(model, dict(model.named_parameters())).items()):
        digest.update(f"{name} {tuple(parameter.shape)}\n".encode())
        if parameter.dim() == 1:
            digest.update(parameter.detach().float().cpu().numpy().tobytes())
    return digest.hexdigest()


def tokenizer_sha256(tokenizer: PreTrainedTokenizerFast) -> str:
    """SHA-256 of a tokenizer's vocabulary and of what it makes of a difficult text, in hex.

    Not of its file, which other versions of the library write differently.
    """
    vocabulary = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    probe = tokenizer.encode(_PROBE, add_special_tokens=False)
    return hashlib.sha256(json.dumps([vocabulary, probe]).encode()).hexdigest()


def _save_backbone(
    model: PreTrainedModel | PeftModel, tokenizer: PreTrainedTokenizerFast, folder: Path, dtype: torch.dtype
) -> None:
    backbone: PreTrainedModel = model.get_base_model() if isinstance(model, PeftModel) else model
    casts: dict[int, torch.Tensor] = {}
    state = {
        # Tied weights stay one tensor.
        name: casts.setdefault(tensor.data_ptr(), _stored(tensor, dtype))
        for name, tensor in _backbone_tensors(backbone, backbone.state_dict()).items()
    }
    backbone.save_pretrained(folder, state_dict=state)
    tokenizer.save_pretrained(folder)


def _stored(tensor: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    return tensor.to(dtype) if tensor.is_floating_point() and tensor.dim() > 1 else tensor


def _backbone_tensors(model: nn.Module, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The tensors of a model that are its backbone's, under the names they have without an adapter."""
    prefix = "base_model.model." if isinstance(model, PeftModel) else ""
    return {
        name.removeprefix(prefix).replace(".base_layer.", "."): tensor
        for name, tensor in tensors.items()
        if not _ADAPTER_PARAMETER.search(name)
    }


def _set_base_model(path: Path, backbone: str) -> None:
    """Writes the name of the backbone where other programs that read PEFT adapters look for it."""
    config = json.loads(path.read_text("utf-8"))
    config["base_model_name_or_path"] = backbone
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", "utf-8")


def _check_replaceable(folder: Path) -> None:
    if not folder.exists():
        return
    if not folder.is_dir():
        raise ModelError(f"{show(str(folder))} is a file; name a folder for the model")
    own = {INFO_FILE, CARD_FILE}
    if (folder / INFO_FILE).is_file():
        own |= set(_read_info(folder).files)
    others = [name for name in _files(folder) if name not in own]
    if others:
        raise ModelError(
            f"{show(str(folder))} holds other files, such as {show(others[0])}; a model gets a folder of its own"
        )


def _local_folder(source: str | Path) -> Path:
    """The folder that a source stands for; only of an "owner/name" that is no path, one from the hub."""
    path = Path(source).expanduser()
    if path.is_dir():
        return path
    is_hub_id = isinstance(source, str) and _HUB_ID.fullmatch(source) and not path.parent.exists()
    if is_hub_id:
        return _download(str(source))
    siblings = sorted(entry.name for entry in path.parent.iterdir()) if path.parent.is_dir() else []
    what = "is a file, not a model folder" if path.exists() else "is not there"
    hint = did_you_mean(path.name, siblings).partition(" (choices")[0]
    raise ModelError(f"the model {show(str(source))} {what}{hint}; name a folder, or a hub id such as owner/name")


def _download(hub_id: str) -> Path:
    from huggingface_hub import snapshot_download

    patterns = ["*.json", "*.safetensors", "*.yaml", "*.md", "*.model", f"{BACKBONE_FOLDER}/*"]
    try:
        return Path(snapshot_download(hub_id, allow_patterns=patterns))
    # The hub's client, its cache and the network each raise their own.
    except Exception as error:
        reason = str(error).strip().split("\n")[0]
        raise ModelError(
            f"{show(hub_id)} is no folder here, and the hub does not give a model of that name: "
            f"{type(error).__name__}: {reason}"
        ) from error


def _read_info(folder: Path) -> ModelInfo:
    path = folder / INFO_FILE
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read: {error}; {_REPAIR}") from None
    version = content.get("format_version") if isinstance(content, dict) else None
    if version != FORMAT_VERSION:
        raise ModelError(
            f"{path} has format version {show(version)}, this ucuie reads {FORMAT_VERSION}; "
            "update it: pip install --upgrade ucuie"
        )
    try:
        return ModelInfo.model_validate(content)
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors(include_url=False)
        )
        raise ModelError(f"{path} is damaged ({faults}); {_REPAIR}") from None


_REPAIR = "copy or download the whole folder again"


def _check_files(folder: Path, info: ModelInfo) -> None:
    """Raises:
    ModelError: files are missing or differ from what was saved; all of them at once.
    """
    faults = []
    for name, sha256 in info.files.items():
        path = folder / name
        if not path.is_file():
            faults.append(f"{name} is missing")
        elif _sha256(path) != sha256:
            faults.append(f"{name} is damaged or was changed ({path.stat().st_size:,} bytes)")
    if faults:
        raise ModelError(f"the model folder {show(str(folder))} is not whole: {'; '.join(faults)}; {_REPAIR}")


def _read_pool(folder: Path, info: ModelInfo) -> InstructionPool:
    try:
        pool = InstructionPool.load(folder / POOL_FILE)
    except DataError as error:
        raise ModelError(f"{error}\n  {_REPAIR}") from None
    if pool.hash != info.instruction_pool_hash:
        raise ModelError(f"{folder / POOL_FILE} is not the pool that {INFO_FILE} names; {_REPAIR}")
    return pool


def _backbone_of(folder: Path, info: ModelInfo) -> str | Path:
    """Where the backbone is: a folder below or elsewhere, or a hub id.

    Raises:
        ModelError: it should be a folder, but is not there.
    """
    backbone = folder / info.backbone
    if backbone.is_dir():
        return backbone
    if Path(info.backbone).is_absolute() or not _HUB_ID.fullmatch(info.backbone):
        raise ModelError(
            f"the backbone {show(info.backbone)} of the model {show(str(folder))} is not there; put it there, or "
            f'change "backbone" in {folder / INFO_FILE} to where it is'
        )
    return info.backbone


def _check_belongs(
    backbone: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, folder: Path, info: ModelInfo
) -> None:
    if backbone_fingerprint(backbone) != info.backbone_fingerprint:
        raise ModelError(
            f"the model {show(str(folder))} was trained on another backbone than the one at {show(info.backbone)}: "
            f'their parameters differ; point "backbone" in {folder / INFO_FILE} to the one it was trained on'
        )
    if tokenizer_sha256(tokenizer) != info.tokenizer_sha256:
        raise ModelError(
            f"the model {show(str(folder))} was trained with another tokenizer than the one at "
            f"{show(info.backbone)}; restore the tokenizer files of its backbone"
        )


def _load_adapter(backbone: PreTrainedModel, folder: Path) -> PeftModel:
    try:
        # PEFT reports missing weights as a warning only.
        with warnings.catch_warnings(), _quiet():
            warnings.simplefilter("error", UserWarning)
            return PeftModel.from_pretrained(backbone, str(folder))
    except Exception as error:
        reason = str(error).strip().split("\n")[0]
        raise ModelError(f"the adapter in {show(str(folder))} does not load: {reason}; {_REPAIR}") from error


def _files(folder: Path) -> list[str]:
    """The files below a folder, as sorted relative paths."""
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _quiet() -> Iterator[None]:
    """No progress bars of transformers: loading takes a moment, and stderr is the user's."""
    had_bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if had_bars:
            transformers_logging.enable_progress_bar()
