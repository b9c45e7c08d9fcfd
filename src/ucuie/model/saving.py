"""Writes model folders (`folder` says what is in one): whole models, their scores, their calibration.

A folder is written whole or not at all, and so is every change to one. The tensors of an adapter are kept as
they are, or in fewer bits:

    float32    4 bytes for each number
    float16    2 bytes for each number of a matrix
    int8       1 byte for each number of a matrix, and a float32 for each of its rows: the largest / 127

Vectors stay as they are in every form. A matrix in int8 has its scales under its name with ".scale" behind,
so the file says itself how it is to be read.
"""

import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import PreTrainedModel

from ucuie.adapter import HierarchicalMoeConfig
from ucuie.errors import ConfigError, ModelError, did_you_mean, show
from ucuie.files import staged_files
from ucuie.language.pool import InstructionPool
from ucuie.model.backbone import Backbone, backbone_fingerprint, save_backbone, tokenizer_sha256
from ucuie.model.calibration import Calibration
from ucuie.model.card import own_card, write_info
from ucuie.model.info import (
    ADAPTER_FILE,
    ADAPTER_WEIGHTS_FILE,
    BACKBONE_FOLDER,
    CALIBRATION_FILE,
    CARD_FILE,
    INFO_FILE,
    POOL_FILE,
    ModelInfo,
    check_files,
    file_sha256,
    read_calibration,
    read_info,
    with_changes,
)
from ucuie.model.operating_point import OperatingPoint
from ucuie.model.source import DEFAULT, EMBEDDED, backbone_reference, local_model

Form = Literal["float32", "float16", "int8"]
FORMS: tuple[Form, ...] = get_args(Form)
_PATTERNS = ("target_modules", "exclude_modules", "layers_pattern")
_SCALE = ".scale"
_LARGEST = 127


def save_model(
    model: PreTrainedModel | PeftModel,
    backbone: Backbone,
    folder: Path,
    *,
    pool: InstructionPool | None = None,
    training: Mapping[str, Any] | None = None,
    window_tokens: int | None = None,
    copy_as: torch.dtype | None = None,
) -> ModelInfo:
    """Writes a model folder; files of a model that is there already are replaced, others stay.

    Args:
        model: the adapted backbone, or the backbone itself if that was trained.
        backbone: what the model was made from.
        folder: the place of the model.
        pool: the wordings of the training; None takes those that come with the package.
        training: its data and settings, for `ucuie.json` and the card.
        window_tokens: see `ModelInfo`.
        copy_as: put a copy of the backbone into the folder, its matrices in this dtype. None names the
            backbone by its source, and copies it in fp32 only where it was trained itself, is embedded in
            the package or in another model's folder.
    """
    pool = pool or InstructionPool.load()
    is_named = isinstance(model, PeftModel) and copy_as is None
    reference = backbone_reference(backbone.source) if is_named else BACKBONE_FOLDER
    with staged_files(folder, last=INFO_FILE, has_hashes=True) as staging:
        pool.save(staging / POOL_FILE)
        if reference == BACKBONE_FOLDER:
            dtype = copy_as or torch.float32
            save_backbone(model, backbone.tokenizer, staging / BACKBONE_FOLDER, dtype=dtype)
        if isinstance(model, PeftModel):
            _save_adapter(model, staging, reference)
        files = sorted(path for path in staging.rglob("*") if path.is_file())
        info = ModelInfo(
            backbone=reference,
            backbone_fingerprint=backbone.fingerprint or backbone_fingerprint(model),
            tokenizer_sha256=tokenizer_sha256(backbone.tokenizer),
            instruction_pool_hash=pool.hash,
            num_parameters=model.num_parameters(),
            window_tokens=window_tokens,
            training=dict(training or {}),
            files={path.relative_to(staging).as_posix(): file_sha256(path) for path in files},
        )
        write_info(staging, info, name=folder.resolve().name)
    # It was another model's; `ucuie.json` no longer lists it either.
    (folder / CALIBRATION_FILE).unlink(missing_ok=True)
    return info


def record_scores(folder: Path, scores: Mapping[str, Any]) -> ModelInfo:
    """Writes into a model folder what the model reached, every number under the name of its scorer."""
    with staged_files(folder, last=INFO_FILE, has_hashes=True) as staging:
        return _write_again(staging, folder, scores=dict(scores))


def store_adapter(folder: Path, form: Form) -> ModelInfo:
    """Writes the adapter of a model folder anew, in fewer bits or more; what was rounded stays so.

    Raises:
        ModelError: the folder holds no model, has no adapter, or is not whole.
        ConfigError: there is no such form.
    """
    earlier = read_info(folder)
    check_files(folder, earlier)
    if ADAPTER_WEIGHTS_FILE not in earlier.files:
        raise ModelError(f"the model {show(str(folder))} has no adapter: its whole backbone was trained")
    with staged_files(folder, last=INFO_FILE, has_hashes=True) as staging:
        staged = staging / ADAPTER_WEIGHTS_FILE
        write_tensors(read_tensors(folder / ADAPTER_WEIGHTS_FILE), staged, form=form)
        files = earlier.files | {ADAPTER_WEIGHTS_FILE: file_sha256(staged)}
        return _write_again(staging, folder, files=files)


def record_calibration(
    source: str | Path,
    calibration: Calibration,
    *,
    point: OperatingPoint | None = None,
    output: Path | None = None,
) -> Path:
    """Writes into a model folder how the model's scores are to be read, in the place of what was there.

    Args:
        source: a model folder or name, as `local_model` reads it.
        calibration: fitted to the raw scores of just this model.
        point: where it is to stand from now on; None leaves it where it is.
        output: leave the source alone and make a copy of the model here, with the calibration.

    Returns:
        The folder that has it.

    Raises:
        ModelError: there is no model, or `calibration_target` refuses it.
    """
    target = calibration_target(source, output)
    folder = local_model(source)
    earlier = read_info(folder)
    with staged_files(target, last=INFO_FILE, has_hashes=True) as staging:
        if target != folder:
            check_files(folder, earlier)
            for name in earlier.files:
                (staging / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(folder / name, staging / name)
        (staging / CALIBRATION_FILE).write_text(calibration.to_json(), "utf-8")
        files = earlier.files | {CALIBRATION_FILE: file_sha256(staging / CALIBRATION_FILE)}
        values = {} if point is None else asdict(point)
        _write_again(staging, folder, calibration, target, files=dict(sorted(files.items())), **values)
    return target


def calibration_target(source: str | Path, output: Path | None = None) -> Path:
    """The folder that `record_calibration` writes, checked before any work.

    Raises:
        ModelError: the source is a plain Hugging Face model; or it belongs to the package or a hub's cache
            and `output` names no folder for a copy; or that folder holds a model already.
    """
    folder = local_model(source)
    if not (folder / INFO_FILE).is_file():
        raise ModelError(
            f"{show(str(source))} is not a model folder of ucuie ({INFO_FILE} is missing), so a calibration "
            "has no place in it"
        )
    if output is not None and output.resolve() != folder.resolve():
        if (output / INFO_FILE).exists():
            raise ModelError(f"{output} holds a model already; name a new folder for the calibrated copy")
        return output
    if source in (DEFAULT, EMBEDDED) or not Path(source).expanduser().is_dir():
        raise ModelError(
            f"the model {show(str(source))} is not yours to change; name a folder for a calibrated copy with "
            "--output"
        )
    return folder


def _save_adapter(model: PeftModel, folder: Path, backbone: str) -> None:
    # "auto" would ask the hub whether the vocabulary has grown.
    model.save_pretrained(folder, save_embedding_layers=False)
    (folder / CARD_FILE).unlink(missing_ok=True)
    path = folder / ADAPTER_FILE
    changes: dict[str, Any] = {"base_model_name_or_path": backbone}
    if has_patterns(model.peft_config["default"]):
        changes |= dict.fromkeys(_PATTERNS) | {"layers_to_transform": None}
        changes["target_modules"] = sorted(model.base_model.targeted_module_names)
    path.write_text(with_changes(path.read_text("utf-8"), changes), "utf-8")


def has_patterns(settings: HierarchicalMoeConfig) -> bool:
    """True where linears are named by a regular expression, which in a stranger's hands need not end."""
    return bool(settings.layers_pattern) or any(
        isinstance(getattr(settings, name), str) for name in _PATTERNS
    )


def _write_again(
    staging: Path,
    folder: Path,
    calibration: Calibration | None = None,
    target: Path | None = None,
    **changes: Any,
) -> ModelInfo:
    """Writes `ucuie.json` and the card of a folder, with changes; a card that a person wrote stays."""
    earlier = read_info(folder)
    info = earlier.model_copy(update=changes)
    calibration, card = calibration or read_calibration(folder, earlier), own_card(folder, earlier)
    write_info(staging, info, name=(target or folder).resolve().name, calibration=calibration, card=card)
    return info


def write_tensors(tensors: Mapping[str, Tensor], path: Path, *, form: Form) -> None:
    """Writes float32 tensors in a form."""
    if form not in FORMS:
        raise ConfigError(f"no form {show(form)} of adapters{did_you_mean(form, FORMS)}")
    stored: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if tensor.dim() < 2 or form == "float32":
            stored[name] = tensor.contiguous()
        elif form == "float16":
            stored[name] = tensor.half().contiguous()
        else:
            scale = tensor.abs().amax(-1) / _LARGEST
            # A row of zeros has no scale to divide by.
            divisor = torch.where(scale == 0, 1.0, scale).unsqueeze(-1)
            stored[name], stored[name + _SCALE] = (tensor / divisor).round().to(torch.int8), scale
    save_file(stored, path, metadata={"format": "pt"})


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a file in any form, in float32.

    Raises:
        OSError: the file cannot be read.
        safetensors.SafetensorError: it is damaged.
        KeyError: a matrix in int8 has no scales; the argument is their name.
    """
    stored = load_file(path)
    tensors = {}
    for name, tensor in stored.items():
        if tensor.dtype == torch.int8:
            tensors[name] = tensor.float() * stored[name + _SCALE].unsqueeze(-1)
        elif not name.endswith(_SCALE) or name.removesuffix(_SCALE) not in stored:
            tensors[name] = tensor.float()
    return tensors
