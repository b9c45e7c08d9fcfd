"""How the tensors of an adapter are kept in their file: as they are, or in fewer bits.

    float32    4 bytes for each number
    float16    2 bytes for each number of a matrix
    int8       1 byte for each number of a matrix, and a float32 for each of its rows: the largest / 127

Vectors stay as they are in every form. A matrix in int8 has its scales under its name with ".scale" behind,
so the file says itself how it is to be read. What the tensors are for is not known here.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, get_args

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from ucuie.errors import ConfigError, did_you_mean, show

Form = Literal["float32", "float16", "int8"]
FORMS: tuple[Form, ...] = get_args(Form)
_SCALE = ".scale"
_LARGEST = 127


def write_tensors(tensors: Mapping[str, Tensor], path: Path, *, form: Form) -> None:
    """Writes float32 tensors in a form.

    Raises:
        ConfigError: there is no such form.
    """
    if form not in FORMS:
        raise ConfigError(f"no form {show(form)} of adapters{did_you_mean(form, FORMS)}")
    stored: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if tensor.dim() < 2 or form == "float32":
            stored[name] = tensor.contiguous()
        elif form == "float16":
            stored[name] = tensor.half().contiguous()
        else:
            stored[name], stored[name + _SCALE] = _rounded(tensor)
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


def _rounded(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """A matrix (..., N, M) in int8 and the scales of its rows (..., N); off by half a scale at most."""
    scale = matrix.abs().amax(-1) / _LARGEST
    # A row of zeros has no scale to divide by.
    divisor = torch.where(scale == 0, 1.0, scale).unsqueeze(-1)
    return (matrix / divisor).round().to(torch.int8), scale
