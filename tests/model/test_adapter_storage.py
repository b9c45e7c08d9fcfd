"""Adapters in fewer bits: how far off they may be, how large they are, and that they load."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from tiny_model import save_adapted
from ucuie.errors import ConfigError, ModelError
from ucuie.model.folder import load_model
from ucuie.model.info import check_files, file_sha256, read_info
from ucuie.model.saving import read_tensors, store_adapter, write_tensors

WEIGHTS = "adapter_model.safetensors"


def logits(folder: Path) -> torch.Tensor:
    tokens, gates = torch.arange(1, 20).unsqueeze(0), torch.full((1, 3), 0.5)
    return load_model(folder).model(tokens, capability_gates=gates).logits


def test_each_form_is_as_near_and_as_small_as_it_says(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(1)
    rows = torch.randn(64, 256, generator=generator) * torch.logspace(-6, 3, 64).unsqueeze(1)
    tensors = {"rows": rows, "zeros": torch.zeros(2, 256), "vector": torch.randn(7, generator=generator)}
    sizes = {}
    for form in ("float32", "float16", "int8"):
        path = tmp_path / form
        write_tensors(tensors, path, form=form)
        read, sizes[form] = read_tensors(path), path.stat().st_size
        assert read.keys() == tensors.keys()
        assert {tensor.dtype for tensor in read.values()} == {torch.float32}
        assert torch.equal(read["vector"], tensors["vector"])
        assert torch.equal(read["zeros"], tensors["zeros"])
        error = (read["rows"] - rows).abs()
        if form == "float32":
            assert error.max() == 0
        elif form == "float16":
            # 11 significant bits; below the least normal number steps of 2 ** -24.
            assert (error <= rows.abs() * 2**-11 + 2**-25).all()
        else:
            largest = rows.abs().amax(1, keepdim=True)
            assert (error <= largest / 127 * 0.5001).all()
    # 64 x 256 numbers and a scale a row: about 1 byte each of 4.
    assert sizes["float16"] < 0.55 * sizes["float32"]
    assert sizes["int8"] < 0.30 * sizes["float32"]


def test_an_unknown_form_names_the_choices(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no form 'int4' of adapters; did you mean 'int8'"):
        write_tensors({}, tmp_path / "file", form="int4")


@pytest.mark.parametrize("form", ["float16", "int8"])
def test_a_stored_adapter_loads_as_float32_and_its_folder_is_whole(form: str, tmp_path: Path) -> None:
    folder = save_adapted(tmp_path / "model")
    before = logits(folder)
    size = (folder / WEIGHTS).stat().st_size
    info = store_adapter(folder, form)
    assert info == read_info(folder)
    check_files(folder, info)
    assert (folder / WEIGHTS).stat().st_size < size
    loaded = load_model(folder)
    assert {parameter.dtype for parameter in loaded.model.parameters()} == {torch.float32}
    after = logits(folder)
    torch.testing.assert_close(after, before, atol=0.3, rtol=0)
    assert not torch.equal(after, before)


@pytest.mark.parametrize("name", ["a matrix", "its scales"])
def test_missing_tensors_are_an_error_not_random_weights(name: str, tmp_path: Path) -> None:
    folder = save_adapted(tmp_path / "model")
    store_adapter(folder, "int8")
    tensors = load_file(folder / WEIGHTS)
    scale = next(key for key in tensors if key.endswith(".scale"))
    del tensors[scale]
    if name == "a matrix":
        del tensors[scale.removesuffix(".scale")]
    save_file(tensors, folder / WEIGHTS)
    info = read_info(folder)
    files = info.files | {WEIGHTS: file_sha256(folder / WEIGHTS)}
    (folder / "ucuie.json").write_text(info.model_copy(update={"files": files}).to_json())
    with pytest.raises(ModelError, match=r"the adapter in .* does not load"):
        load_model(folder)
