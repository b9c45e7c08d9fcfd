"""Faults of disks and paths, put into words whichever library met them."""

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from small_disk import files_of_at_most
from ucuie.errors import UserError, storage_error

WEIGHTS = {"weight": torch.zeros(100_000)}


@pytest.mark.parametrize(
    "save",
    [
        lambda path: path.write_bytes(bytes(400_000)),
        lambda path: save_file(WEIGHTS, path),
        lambda path: torch.save(WEIGHTS, path),
        lambda path: torch.save(WEIGHTS, str(path)),
    ],
    ids=["python", "safetensors", "torch", "torch-name"],
)
def test_a_full_disk_is_told_by_any_library(save: Callable[[Path], object], tmp_path: Path) -> None:
    with files_of_at_most(10_000), pytest.raises(Exception) as caught:  # noqa: PT011  each has its own
        save(tmp_path / "file")
    said = storage_error(caught.value)
    assert isinstance(said, UserError)
    assert "make room" in str(said)


@pytest.mark.parametrize(
    ("act", "said"),
    [
        (
            lambda folder: folder.write_text(""),
            "{folder!r} cannot be read or written: Is a directory; name a file",
        ),
        (lambda folder: (folder / "file").mkdir(), "{folder}/file' cannot be read or written: File exists"),
        (lambda folder: (folder / "file" / "x").mkdir(), "a part of the path is a file"),
        (lambda folder: (folder / "file").replace(folder / "sub"), "{folder}/sub' cannot be"),
        (lambda folder: (folder / ("x" * 300)).touch(), "name a shorter one"),
    ],
)
def test_a_thing_in_the_way_is_named(act: Callable[[Path], object], said: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "sub").mkdir()
    with pytest.raises(OSError) as caught:  # noqa: PT011  of several classes
        act(tmp_path)
    assert said.format(folder=str(tmp_path)) in str(storage_error(caught.value))


@pytest.mark.parametrize(
    "error",
    [
        ValueError("no (os error)"),
        RuntimeError("CUDA out of memory"),
        ConnectionRefusedError(errno.ECONNREFUSED, os.strerror(errno.ECONNREFUSED)),
        OSError("no number"),
    ],
    ids=str,
)
def test_other_errors_are_none_of_it(error: Exception) -> None:
    assert storage_error(error) is None
