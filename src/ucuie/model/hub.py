"""Model folders on a hub of Hugging Face: checked and sent, fetched and checked.

Nothing goes up but the files that `ucuie.json` lists, that file and the card. What comes down is whole, or
not there. Where the hub is, and who asks, is told by arguments or by what its own tools use: HF_ENDPOINT,
HF_TOKEN and `hf auth login`.
"""

import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from glob import escape
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from typing import Any

from ucuie.errors import ModelError, show
from ucuie.files import new_folder
from ucuie.model.card import model_card, own_card
from ucuie.model.info import (
    ADAPTER_FILE,
    BACKBONE_FOLDER,
    CARD_FILE,
    INFO_FILE,
    ModelInfo,
    check_files,
    file_faults,
    file_sha256,
    read_calibration,
    read_info,
    with_changes,
)
from ucuie.model.known_backbones import known_backbones
from ucuie.model.source import CONFIG_FILE, backbone_place, hub_faults, is_gguf, is_hub_id, local_model

_BACKBONE_SUFFIXES = (".json", ".safetensors", ".model", ".txt", ".jinja")
_OF_A_RUN = ("trainer_state.json",)
_PATH = re.compile(r"~?/[^/]|[A-Za-z]:\\")


@dataclass(frozen=True)
class HubFile:
    """A file to send: its name in the repository, and where its content is, or the content."""

    name: str
    content: Path | bytes

    @property
    def num_bytes(self) -> int:
        """Bytes of the content."""
        return len(self.content) if isinstance(self.content, bytes) else self.content.stat().st_size

    @property
    def sha256(self) -> str:
        """SHA-256 of the content, in hex."""
        content = self.content
        return sha256(content).hexdigest() if isinstance(content, bytes) else file_sha256(content)


@dataclass(frozen=True)
class Push:
    """The files for a repository, "owner/name", with notes that its owner may want to read before."""

    repo_id: str
    files: tuple[HubFile, ...]
    notes: tuple[str, ...]

    @property
    def num_bytes(self) -> int:
        """Bytes of all files."""
        return sum(file.num_bytes for file in self.files)


def plan_push(source: str | Path, repo_id: str, *, backbone: str | None = None) -> Push:
    """The files of a model for `push_model`, checked; no hub is asked, and the folder stays as it is.

    Args:
        source: a model folder, or "embedded".
        repo_id: where to, "owner/name".
        backbone: what `ucuie.json` on the hub calls the backbone: the hub id of the same one, or "backbone"
            for a copy that goes up too. None leaves it as it is.

    Raises:
        ModelError: there is no such model, it is not whole, or others could not find its backbone.
    """
    _check_id(repo_id)
    folder = local_model(source)
    if not (folder / INFO_FILE).is_file():
        raise ModelError(
            f"{show(str(source))} is not a model folder of ucuie ({INFO_FILE} is missing); a plain model is "
            f"sent by: hf upload {repo_id} {folder}"
        )
    info = read_info(folder)
    check_files(folder, info)
    hidden = [name for name in info.files if any(part[0] == "." for part in PurePosixPath(name).parts)]
    if hidden:
        raise ModelError(f"{folder / INFO_FILE} lists hidden files, which are not sent: {', '.join(hidden)}")
    card = own_card(folder, info)
    sent, contents = _with_backbone(folder, info, backbone)
    text = card or model_card(repo_id, sent, read_calibration(folder, info))
    contents |= {CARD_FILE: text.encode(), INFO_FILE: sent.to_json().encode()}
    files = tuple(HubFile(name, content) for name, content in sorted(contents.items()))
    return Push(repo_id, files, tuple(_notes(folder, sent, contents, has_own_card=card is not None)))


def push_model(
    push: Push,
    *,
    private: bool = False,
    revision: str | None = None,
    token: str | None = None,
    endpoint: str | None = None,
) -> str:
    """Sends a model in one commit, and makes the repository if there is none; other files there stay.

    Args:
        push: what `plan_push` found ready to be sent.
        private: a repository that is made now is seen by its owner alone.
        revision: the branch, made if there is none; None takes the main one.
        token: of the account; None takes HF_TOKEN or the one of `hf auth login`.
        endpoint: address of the hub; None takes HF_ENDPOINT or https://huggingface.co.

    Returns:
        The address of the commit.

    Raises:
        ModelError: the hub cannot be reached or refuses.
    """
    from huggingface_hub import CommitOperationAdd

    api = _api(token, endpoint)
    digest = next(file.sha256 for file in push.files if file.name == INFO_FILE)
    with hub_faults(push.repo_id):
        api.create_repo(push.repo_id, private=private or None, exist_ok=True)
        if revision is not None:
            api.create_branch(push.repo_id, branch=revision, exist_ok=True)
        operations = [
            CommitOperationAdd(path_in_repo=file.name, path_or_fileobj=file.content) for file in push.files
        ]
        message = f"Model of ucuie, hash {digest[:12]}"
        commit = api.create_commit(push.repo_id, operations, commit_message=message, revision=revision)
    return str(commit.commit_url)


def pull_model(
    repo_id: str,
    folder: Path,
    *,
    revision: str | None = None,
    token: str | None = None,
    endpoint: str | None = None,
) -> ModelInfo:
    """Fetches a model into a new folder, which is there when all of it is, and as it was sent.

    The revision is a branch, a tag or a commit, by default the main branch; token and endpoint are as of
    `push_model`.

    Raises:
        ModelError: the hub cannot be reached, has no such model or refuses; what it has is no model of ucuie,
            or not whole; or something stands in the folder's place.
    """
    _check_id(repo_id)
    if folder.is_file() or (folder.is_dir() and any(folder.iterdir())):
        raise ModelError(f"{show(str(folder))} is there already; name a new folder")
    api = _api(token, endpoint)
    with hub_faults(repo_id):
        commit = api.model_info(repo_id, revision=revision).sha

    def fetch(names: Sequence[str], staging: Path) -> None:
        """Those that are missing stay so."""
        with hub_faults(repo_id):
            patterns = [escape(name) for name in names]
            api.snapshot_download(repo_id, revision=commit, local_dir=staging, allow_patterns=patterns)

    try:
        with new_folder(folder) as staging:
            fetch([INFO_FILE, CARD_FILE], staging)
            if not (staging / INFO_FILE).is_file():
                raise ModelError(
                    f"{show(repo_id)} is no model of ucuie: {INFO_FILE} is missing in it; a plain model "
                    f"is no folder to pull, its id is enough: --model {repo_id}"
                )
            info = _read_fetched(repo_id, staging)
            fetch(list(info.files), staging)
            if faults := file_faults(staging, info):
                raise ModelError(
                    f"{show(repo_id)} did not arrive as it was made: {'; '.join(faults)}; pull it again, and "
                    "if that says the same, its owner has to push it again"
                )
            # What the hub's client remembers about its work.
            shutil.rmtree(staging / ".cache", ignore_errors=True)
    except OSError as error:
        raise ModelError(f"{show(str(folder))} cannot be written: {error.strerror or error}") from error
    return info


def _check_id(repo_id: str) -> None:
    if not is_hub_id(repo_id):
        raise ModelError(f"{show(repo_id)} is no hub id; it has the form owner/name")


def _api(token: str | None, endpoint: str | None) -> Any:
    from huggingface_hub import HfApi

    return HfApi(endpoint=endpoint, token=token, library_name="ucuie", library_version=version("ucuie"))


def _read_fetched(repo_id: str, folder: Path) -> ModelInfo:
    try:
        return read_info(folder)
    except ModelError as error:
        # Where it was for a moment is of no use to anyone.
        raise ModelError(str(error).replace(str(folder), repo_id)) from None


def _with_backbone(
    folder: Path, info: ModelInfo, backbone: str | None
) -> tuple[ModelInfo, dict[str, Path | bytes]]:
    """The `ucuie.json` to send, and the files that it lists."""
    contents: dict[str, Path | bytes] = {name: folder / name for name in info.files}
    is_inside = any(name.startswith(f"{info.backbone}/") for name in info.files)
    if backbone is None:
        is_on_hub = is_hub_id(info.backbone) and not (folder / info.backbone).exists()
        if is_inside or is_on_hub or info.backbone in known_backbones():
            return info, contents
        raise ModelError(
            f"the model {show(str(folder))} has its backbone at {show(info.backbone)}, where only this "
            "machine finds it: give --embed-backbone to send a copy along, or --backbone OWNER/NAME if a hub "
            "has just this backbone"
        )
    if is_inside:
        raise ModelError(f"the model {show(str(folder))} has its backbone in it; no other is to be named")
    changed: dict[str, Path | bytes] = {}
    if backbone == BACKBONE_FOLDER:
        changed |= _backbone_files(folder, info)
    else:
        _check_id(backbone)
    if ADAPTER_FILE in info.files:
        earlier = (folder / ADAPTER_FILE).read_text("utf-8")
        changed[ADAPTER_FILE] = with_changes(earlier, {"base_model_name_or_path": backbone}).encode()
    hashes = {name: HubFile(name, content).sha256 for name, content in changed.items()}
    files = dict(sorted({**info.files, **hashes}.items()))
    return info.model_copy(update={"backbone": backbone, "files": files}), contents | changed


def _backbone_files(folder: Path, info: ModelInfo) -> dict[str, Path]:
    place = backbone_place(folder, info)
    if is_gguf(place):
        from ucuie.model.backbone import plain_folder

        place = plain_folder(place)
    if not (place / CONFIG_FILE).is_file():
        raise ModelError(f"the backbone {show(info.backbone)} of the model {show(str(folder))} is not there")
    return {
        f"{BACKBONE_FOLDER}/{path.name}": path
        for path in sorted(place.iterdir())
        if path.is_file()
        and path.suffix in _BACKBONE_SUFFIXES
        and not path.name.startswith(".")
        and path.name not in _OF_A_RUN
    }


def _notes(
    folder: Path, info: ModelInfo, contents: Mapping[str, object], *, has_own_card: bool
) -> Iterator[str]:
    if has_own_card:
        yield f"{CARD_FILE} goes up as you wrote it; `ucuie model card` makes a new one"
    names = (path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if path.is_file())
    if others := [name for name in names if name not in contents]:
        yield f"not of the model, so not sent: {', '.join(others[:5])}{', ...' if len(others) > 5 else ''}"
    if path := next(filter(_PATH.match, _strings(info.training)), None):
        yield (
            f"{INFO_FILE} names paths of this machine, such as {show(path)}; where nobody is to see them, "
            'change "training" in it'
        )


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list):
        for one in value.values() if isinstance(value, Mapping) else value:
            yield from _strings(one)
