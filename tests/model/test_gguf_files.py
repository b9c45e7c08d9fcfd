"""Backbones in GGUF files: the same model as in a folder, and faults in a sentence."""

from pathlib import Path

import pytest
import torch

from small_disk import files_of_at_most
from tiny_gguf import save_gguf
from tiny_model import CORPUS, make_adapted, make_backbone, tokenizer
from ucuie.errors import FullDiskError, ModelError
from ucuie.files import cache_folder
from ucuie.model.backbone import backbone_fingerprint, tokenizer_sha256
from ucuie.model.folder import load_backbone, load_model, read_shape
from ucuie.model.info import file_sha256, read_info
from ucuie.model.saving import save_model
from ucuie.model.source import model_sha256


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("UCUIE_CACHE", str(tmp_path / "cache"))
    return cache_folder()


def kept(cache: Path) -> list[str]:
    return [path.name for path in cache.rglob("*") if path.suffix != ".lock" and path.name != "converted"]


def test_a_gguf_file_is_a_backbone_like_the_folder_it_was_made_from(tmp_path: Path) -> None:
    path = save_gguf(tmp_path / "tiny.gguf")
    backbone, plain = load_backbone(path), make_backbone()
    tokens = torch.arange(1, 20).unsqueeze(0)
    torch.testing.assert_close(backbone.model(tokens).logits, plain(tokens).logits)
    assert not hasattr(backbone.model.config, "quantization_config")
    assert backbone_fingerprint(backbone.model) == backbone_fingerprint(plain)
    assert [backbone.tokenizer.encode(text) for text in CORPUS] == [tokenizer().encode(t) for t in CORPUS]
    assert backbone.tokenizer.get_vocab() == tokenizer().get_vocab()
    assert read_shape(path).hidden_size == plain.config.hidden_size
    assert model_sha256(path) == file_sha256(path)
    # Rounded weights have the fingerprint of those in the file.
    rounded = load_backbone(path, weights="bfloat16")
    assert rounded.model.dtype == torch.bfloat16
    assert rounded.fingerprint == backbone_fingerprint(plain)


def test_an_adapter_finds_its_gguf_file_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save_gguf(tmp_path / "tiny.gguf")
    monkeypatch.chdir(tmp_path)
    backbone = load_backbone("tiny.gguf")
    info = save_model(make_adapted(backbone.model), backbone, tmp_path / "adapter")
    assert info.backbone == str(path)
    assert "backbone/config.json" not in info.files
    loaded = load_model(tmp_path / "adapter")
    assert loaded.info == read_info(tmp_path / "adapter")
    assert tokenizer_sha256(loaded.tokenizer) == info.tokenizer_sha256
    # A plain model, for use without training.
    assert load_model(str(path)).info is None


def test_a_file_is_converted_once_and_again_when_it_has_changed(tmp_path: Path, cache: Path) -> None:
    path = save_gguf(tmp_path / "tiny.gguf")
    load_backbone(path)
    (folder,) = (cache / "converted").glob("tiny-*")
    before = (folder / "config.json").stat()
    load_backbone(path)
    assert (folder / "config.json").stat() == before
    path.write_bytes(b"GGUF")
    with pytest.raises(ModelError, match=r"cut short or damaged"):
        load_backbone(path)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"architecture": "rwkv7"}, "architecture 'rwkv7', which transformers does not read .*; name a file"),
        ({"has_tokenizer": False}, "has no tokenizer in it; name a file"),
        (
            {"is_unreadable": True},
            "quantisation that gguf does not read .*Q8_1.*; name a file in another one",
        ),
        ({"left_out": ["blk.1.ffn_down.weight"]}, "lacks tensors of its model, such as .*1.mlp.down_proj"),
    ],
)
def test_what_cannot_be_read_is_told_and_leaves_nothing(
    settings: dict[str, object], words: str, tmp_path: Path, cache: Path
) -> None:
    path = save_gguf(tmp_path / "tiny.gguf", **settings)
    with pytest.raises(ModelError, match=words) as caught:
        load_backbone(path)
    assert "\n" not in str(caught.value)
    assert kept(cache) == []


@pytest.mark.parametrize("num_bytes", [10, 3000, -1])
def test_a_file_that_was_cut_is_told(num_bytes: int, tmp_path: Path, cache: Path) -> None:
    path = save_gguf(tmp_path / "tiny.gguf")
    path.write_bytes(path.read_bytes()[:num_bytes])
    with pytest.raises(ModelError, match=r"cut short or damaged .*; copy or download it again"):
        load_backbone(path)
    assert kept(cache) == []


def test_other_files_are_told(tmp_path: Path) -> None:
    path = tmp_path / "tiny.gguf"
    path.write_bytes(b"PK\3\4 something else")
    with pytest.raises(ModelError, match="is no GGUF file"):
        load_backbone(path)
    other = path.rename(tmp_path / "tiny.bin")
    with pytest.raises(ModelError, match="is a file, and no GGUF file"):
        load_backbone(other)


def test_a_full_disk_leaves_nothing_and_the_next_try_works(tmp_path: Path, cache: Path) -> None:
    path = save_gguf(tmp_path / "tiny.gguf")
    with files_of_at_most(2000), pytest.raises(FullDiskError, match="set UCUIE_CACHE"):
        load_backbone(path)
    assert kept(cache) == []
    load_backbone(path)
