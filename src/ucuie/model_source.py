"""Where models are: the one in the package, folders, and ids of a hub; and what tells one from another.

Needs no torch. What is in the files is not known here.
"""

import hashlib
import re
from pathlib import Path

from ucuie.errors import ModelError, did_you_mean, show
from ucuie.model_info import INFO_FILE

EMBEDDED = "embedded"
EMBEDDED_NAME = "ucuie-mini"
CONFIG_FILE = "config.json"

_MARKS = (CONFIG_FILE, INFO_FILE)
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_HUB_FILES = ("*.json", "*.safetensors", "*.yaml", "*.md", "*.model", "*.txt", "*.jinja")  # in any folder


def embedded_model() -> Path:
    """The folder of the model that comes with the package.

    Raises:
        ModelError: this copy of the package has none.
    """
    folder = Path(__file__).with_name("models") / EMBEDDED_NAME
    if not (folder / INFO_FILE).is_file():
        raise ModelError(
            f"this copy of ucuie has no embedded model ({folder} is missing); "
            "reinstall ucuie, or name a model folder or hub id"
        )
    return folder


def is_hub_id(name: str) -> bool:
    """Whether a name has the form of a hub id, "owner/name"."""
    return _HUB_ID.fullmatch(name) is not None


def local_folder(source: str | Path) -> Path:
    """The folder that a path or hub id stands for; the hub is asked only for an "owner/name" that is no path.

    The name of the embedded model, which extractions and its card give it, stands for its folder.

    Raises:
        ModelError: there is no such folder, here or there.
    """
    path = Path(source).expanduser()
    if path.is_dir():
        return path
    if source == EMBEDDED_NAME:
        return embedded_model()
    if isinstance(source, str) and is_hub_id(source) and not path.parent.exists():
        return _download(source)
    fault = "is a file, not a model folder" if path.exists() else "is not there"
    neighbours = sorted(
        config.parent.name for config in path.parent.glob("*/*.json") if config.name in _MARKS
    )
    raise ModelError(
        f"the model {show(str(source))} {fault}{did_you_mean(path.name, dict.fromkeys(neighbours))}; "
        "name a model folder, or a hub id such as owner/name"
    )


def model_sha256(source: str | Path) -> str:
    """SHA-256 of all that makes a model answer as it does, in hex.

    Of a model folder it is that of `ucuie.json`, which has the SHA-256 of every other file.

    Args:
        source: "embedded", a folder, or a hub id.

    Raises:
        ModelError: there is no such model.
    """
    folder = embedded_model() if source == EMBEDDED else local_folder(source)
    if (folder / INFO_FILE).is_file():
        return hashlib.sha256((folder / INFO_FILE).read_bytes()).hexdigest()
    digest = hashlib.sha256()
    for path in sorted(
        path for path in folder.iterdir() if path.suffix in (".json", ".safetensors", ".model")
    ):
        with path.open("rb") as file:
            digest.update(f"{path.name} {hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return digest.hexdigest()


def first_line(error: Exception) -> str:
    """What other libraries say in their errors, without the pages of advice below."""
    return str(error).strip().partition("\n")[0]


def _download(hub_id: str) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(hub_id, allow_patterns=list(_HUB_FILES)))
    except Exception as error:  # the hub's client, its cache and the network each raise their own
        raise ModelError(
            f"{show(hub_id)} is no folder here, and the hub gives no model of that name "
            f"({type(error).__name__}: {first_line(error)})"
        ) from error
