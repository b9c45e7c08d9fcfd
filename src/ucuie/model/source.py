"""Places of models: the package, folders, files, the cache, a hub; and hashes that tell one from another.

Needs no torch.
"""

import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from traceback import walk_tb

from ucuie.errors import ModelError, did_you_mean, show
from ucuie.model.info import BACKBONE_FOLDER, INFO_FILE, ModelInfo, file_sha256, read_info
from ucuie.model.known_backbones import backbone_file, known_backbones

EMBEDDED = "embedded"
"""The model that is whole in the package and needs nothing from anywhere."""
EMBEDDED_NAME = "ucuie-mini"
DEFAULT = "default"
"""The model that is taken where none is named."""
DEFAULT_NAME = "ucuie-small"
DEFAULT_VARIABLE = "UCUIE_MODEL"
"""The environment variable that names another model to take where none is named."""
PACKAGED_NAMES = (DEFAULT_NAME, EMBEDDED_NAME)
"""May be in the package, in `models/`; the backbone of `ucuie-small` is one of `known_backbones`."""

CONFIG_FILE = "config.json"

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_HUB_FILES = ("*.json", "*.safetensors", "*.yaml", "*.md", "*.model", "*.txt", "*.jinja")  # in any folder
_HUB_FAULTS: dict[str | int | None, str] = {
    "GatedRepoError": "its owner gives it to those who ask: do so on its page, then log in (hf auth login)",
    "RepositoryNotFoundError": (
        "the hub gives no model of that name; a private one needs a login (hf auth login, or HF_TOKEN)"
    ),
    "RevisionNotFoundError": "it has no such revision; name a branch, a tag or a commit of it",
    "OfflineModeIsEnabled": "the hub is not asked while HF_HUB_OFFLINE is set",
    HTTPStatus.UNAUTHORIZED: (
        "the hub asks who you are; log in (hf auth login), or set HF_TOKEN to a token that is valid"
    ),
    HTTPStatus.FORBIDDEN: "you may not do this with it; log in as its owner, with a token that may write",
}
"""Words for errors of the hub's client, by their class or else their status."""


def embedded_model() -> Path:
    """The folder of the model that is whole in the package.

    Raises:
        ModelError: this copy of the package has none.
    """
    return packaged_model(EMBEDDED_NAME)


def packaged_model(name: str) -> Path:
    """The folder of a model that comes with the package."""
    folder = Path(__file__).parents[1] / "models" / name
    if not (folder / INFO_FILE).is_file():
        what = "embedded model" if name == EMBEDDED_NAME else f"model {name}"
        raise ModelError(
            f"this copy of ucuie has no {what} ({folder} is missing); "
            "reinstall ucuie, or name a model folder or hub id"
        )
    return folder


def model_name(source: str | Path) -> str:
    """The name of a model in extractions and cards."""
    if source == DEFAULT:
        return os.environ.get(DEFAULT_VARIABLE) or DEFAULT_NAME
    return EMBEDDED_NAME if source == EMBEDDED else str(source)


def is_hub_id(name: str) -> bool:
    """True if a name has the form of a hub id, "owner/name"."""
    return _HUB_ID.fullmatch(name) is not None


def is_gguf(path: Path) -> bool:
    """True if a path is that of a GGUF file."""
    return path.suffix.lower() == ".gguf" and path.is_file()


def local_model(source: str | Path) -> Path:
    """The folder or GGUF file of a model; a hub is asked only for an "owner/name" that is no path.

    Args:
        source: "default", "embedded", a folder, a GGUF file, or a hub id. The names of the package's models
            and of known backbones stand for them where there is no such folder.

    Raises:
        ModelError: there is no such model, here or there.
        StorageError: the cache, which would get the backbone of that name, cannot be written.
    """
    if source == EMBEDDED:
        return embedded_model()
    if source == DEFAULT:
        source = model_name(source)
    path = Path(source).expanduser()
    if path.is_dir() or is_gguf(path):
        return path
    if source in PACKAGED_NAMES:
        return packaged_model(str(source))
    if source in known_backbones():
        return backbone_file(known_backbones()[str(source)])
    if isinstance(source, str) and is_hub_id(source) and not path.parent.exists():
        return _download(source)
    fault = "is a file, and no GGUF file" if path.exists() else "is not there"
    marks = [*path.parent.glob(f"*/{CONFIG_FILE}"), *path.parent.glob(f"*/{INFO_FILE}")]
    neighbours = sorted(mark.parent.name for mark in marks)
    choices = dict.fromkeys([*neighbours, *PACKAGED_NAMES, *known_backbones()])
    raise ModelError(
        f"the model {show(str(source))} {fault}{did_you_mean(path.name, choices)}; "
        "name a model folder, a GGUF file, or a hub id such as owner/name"
    )


def backbone_place(folder: Path, info: ModelInfo) -> Path:
    """The folder or GGUF file of the backbone that a model names.

    Raises:
        ModelError: it is not there, and cannot be fetched.
    """
    # An absolute path stays what it is when joined.
    backbone = folder / info.backbone
    if backbone.is_dir() or is_gguf(backbone):
        return backbone
    if info.backbone in known_backbones():
        return backbone_file(known_backbones()[info.backbone])
    if is_hub_id(info.backbone):
        return local_model(info.backbone)
    raise ModelError(
        f"the backbone {show(info.backbone)} of the model {show(str(folder))} is not there; "
        f'put it there, or change "backbone" in {folder / INFO_FILE} to where it is'
    )


def backbone_reference(source: str) -> str:
    """The name of a backbone in `ucuie.json`: a path has to be found again from any working directory."""
    path = Path(source).expanduser()
    if source in (DEFAULT, EMBEDDED) or (source in PACKAGED_NAMES and not path.is_dir()):
        path = local_model(source)
    if (path / INFO_FILE).is_file():
        backbone = read_info(path).backbone
        # The package and other models may change or go, and the backbones in them with them.
        return backbone if backbone in known_backbones() else BACKBONE_FOLDER
    return str(path.resolve()) if path.is_dir() or is_gguf(path) else source


def model_sha256(source: str | Path) -> str:
    """SHA-256 of all that makes a model answer as it does, in hex; the source is as of `local_model`.

    Of a model folder it is that of `ucuie.json`, which has the SHA-256 of every other file.
    """
    folder = local_model(source)
    for file in (folder, folder / INFO_FILE):
        if file.is_file():
            return file_sha256(file)
    files = sorted(path for path in folder.iterdir() if path.suffix in (".json", ".safetensors", ".model"))
    listed = "".join(f"{path.name} {file_sha256(path)}\n" for path in files)
    return hashlib.sha256(listed.encode()).hexdigest()


def first_line(error: Exception) -> str:
    """The words of another library's error, without the pages of advice below."""
    return str(error).strip().partition("\n")[0]


@contextmanager
def hub_faults(hub_id: str, *, before: str = "") -> Iterator[None]:
    """Turns what a hub's client raises about a model into a ModelError that says what to do."""
    try:
        yield
    except Exception as error:  # the hub's client, its cache and the network each raise their own
        raise ModelError(f"{before}{show(hub_id)}: {_hub_fault(error)}") from error


def _hub_fault(error: Exception) -> str:
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    # A file that was not sent, or is not in the cache, is not the fault, but what kept it from there.
    if isinstance(error, RuntimeError | LocalEntryNotFoundError) and isinstance(error.__cause__, Exception):
        error = error.__cause__
    status = error.response.status_code if isinstance(error, HfHubHTTPError) else None
    is_refused = status in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)
    keys = (*(kind.__name__ for kind in type(error).__mro__), status)
    # What the client has for xet has no class of its own for its errors.
    if not is_refused and any("xet" in frame.f_code.co_name for frame, _ in walk_tb(error.__traceback__)):
        words = (
            "its large files do not pass by way of xet, the storage of huggingface.co; for a hub or a mirror "
            "without one, set HF_HUB_DISABLE_XET=1"
        )
    elif known := next((_HUB_FAULTS[key] for key in keys if key in _HUB_FAULTS), None):
        words = known
    # The client is httpx or a later one of that family.
    elif status is None and type(error).__module__.startswith("httpx"):
        words = "the hub cannot be reached; look at the network, and at HF_ENDPOINT if it is set"
    else:
        words = "the hub's client failed"
    # What it says against the metadata of a card are the lines below.
    said = " ".join(str(error).split()) if type(error) is ValueError else first_line(error)
    return f"{words} ({type(error).__name__}: {said})"


def _download(hub_id: str) -> Path:
    from huggingface_hub import snapshot_download

    with hub_faults(hub_id, before=f"there is no folder {show(hub_id)} here; "):
        return Path(snapshot_download(hub_id, allow_patterns=list(_HUB_FILES)))
