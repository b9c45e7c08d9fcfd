"""The file `ucuie.json` of a model folder, and a check that the files it lists are whole."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from ucuie.errors import ModelError, show, validation_faults
from ucuie.model.calibration import Calibration
from ucuie.model.operating_point import OperatingPoint
from ucuie.schema import Task

FORMAT_VERSION = 1
INFO_FILE = "ucuie.json"
CARD_FILE = "README.md"
ADAPTER_FILE = "adapter_config.json"
ADAPTER_WEIGHTS_FILE = "adapter_model.safetensors"
POOL_FILE = "instructions.yaml"
CALIBRATION_FILE = "calibration.json"
BACKBONE_FOLDER = "backbone"
REPAIR = "copy or download the whole folder again"


def _below(name: str) -> str:
    """A path that stays in its folder, on every system: model folders come from strangers too."""
    parts = PurePosixPath(name).parts
    if not parts or PureWindowsPath(name).anchor or "\\" in name or ".." in parts:
        raise ValueError(f"{show(name)} is no path below the folder")
    return name


Threshold = Annotated[float, Field(ge=0, le=1)]


class ModelInfo(BaseModel):
    """The contents of `ucuie.json`.

    Args:
        backbone: a hub id, an absolute path, or a path below the folder, such as "backbone".
        num_parameters: backbone and adapter together.
        window_tokens: longer texts are read in windows of so many tokens, which is what nearly all texts of
            its training stayed within; None reads as a whole what fits into the context.
        end_bias: see `OperatingPoint`, as for `threshold`.
        training: its data and settings, as the one who trained the model wrote them down.
        scores: every number under the name of its scorer.
        files: SHA-256 of every file below the folder, without the card and `ucuie.json` itself.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format_version: int = FORMAT_VERSION
    backbone: str
    backbone_fingerprint: str
    tokenizer_sha256: str
    instruction_pool_hash: str
    num_parameters: int
    window_tokens: int | None = None
    end_bias: Annotated[float, Field(allow_inf_nan=False)] = 0.0
    threshold: Threshold | dict[Task, Threshold] = 0.0
    training: dict[str, Any] = {}
    scores: dict[str, Any] = {}
    files: dict[Annotated[str, AfterValidator(_below)], str] = {}

    @property
    def operating_point(self) -> OperatingPoint:
        """The model's place between precision and recall."""
        return OperatingPoint(self.end_bias, self.threshold)

    def to_json(self) -> str:
        """The content of the file."""
        return self.model_dump_json(indent=1) + "\n"


def read_info(folder: Path) -> ModelInfo:
    """The `ucuie.json` of a model folder.

    Raises:
        ModelError: it is missing, damaged, or of another format.
    """
    path = folder / INFO_FILE
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{path} cannot be read: {error}; {REPAIR}") from None
    version = content.get("format_version") if isinstance(content, dict) else None
    if version != FORMAT_VERSION:
        raise ModelError(
            f"{path} has format version {show(version)}, this ucuie reads {FORMAT_VERSION}; "
            "a newer one may read it: pip install --upgrade ucuie"
        )
    try:
        return ModelInfo.model_validate(content)
    except ValidationError as error:
        raise ModelError(f"{path} is damaged ({validation_faults(error)}); {REPAIR}") from None


def read_calibration(folder: Path, info: ModelInfo) -> Calibration | None:
    """The calibration of a model; None for one whose scores are raw.

    Raises:
        ModelError: the file is none that this version reads.
    """
    if CALIBRATION_FILE not in info.files:
        return None
    path = folder / CALIBRATION_FILE
    try:
        return Calibration.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise ModelError(
            f"{path} is no calibration that this ucuie reads ({validation_faults(error)}); make a new one: "
            f"ucuie calibrate --model {folder} --data FILE"
        ) from None


def check_files(folder: Path, info: ModelInfo) -> None:
    """Compares all files of a model with what was saved.

    Raises:
        ModelError: some are missing or differ; names them all.
    """
    if faults := file_faults(folder, info):
        raise ModelError(f"the model folder {show(str(folder))} is not whole: {'; '.join(faults)}; {REPAIR}")


def file_faults(folder: Path, info: ModelInfo) -> list[str]:
    """A sentence for each file of a model that is missing or differs from what was saved."""
    faults = []
    for name, sha256 in info.files.items():
        path = folder / name
        if not path.is_file():
            faults.append(f"{name} is missing")
        elif file_sha256(path) != sha256:
            faults.append(f"{name} is damaged or was changed ({path.stat().st_size:,} bytes)")
    return faults


def with_changes(adapter_config: str, changes: Mapping[str, Any]) -> str:
    """`adapter_config.json` with other values, as programs that read PEFT adapters find them."""
    config = json.loads(adapter_config) | changes
    return json.dumps(config, indent=2, sort_keys=True) + "\n"


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
