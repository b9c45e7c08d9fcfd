"""The pretraining programs on a few kilobytes of text: tokenizer, corpus, and a run that is interrupted."""

import importlib
import json
import lzma
import random
import resource
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import PreTrainedTokenizerFast

from making.mini import corpus as corpus_module
from making.mini import pretrain
from making.mini import tokenizer as tokenizer_module

ROOT = Path(__file__).parents[2]
PROGRAMS = ROOT / "making" / "mini"

WORDS = ["Ada", "Paris", "aspirin", "the", "went", "to", "and", "(see", "3.5", "mg)", "naïve", "東京", "🙂"]


@pytest.fixture(scope="module")
def text_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("text")
    generator = random.Random(0)
    for domain in corpus_module.DOMAIN_WEIGHTS:
        lines = [" ".join(generator.choices(WORDS, k=40)) for _ in range(400)]
        with lzma.open(folder / f"{domain}.txt.xz", "wt", encoding="utf-8") as file:
            file.write("\n".join(lines) + "\n")
    return folder


@pytest.fixture(scope="module")
def tokenizer(text_folder: Path) -> PreTrainedTokenizerFast:
    documents = tokenizer_module.sample(text_folder, 1)
    return tokenizer_module.train_tokenizer(documents, vocabulary=400, context=128)


@pytest.fixture(scope="module")
def tokenizer_folder(tokenizer: PreTrainedTokenizerFast, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer")
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def packed(
    text_folder: Path, tokenizer: PreTrainedTokenizerFast, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    folder = tmp_path_factory.mktemp("corpus")
    raw = tokenizer.backend_tokenizer
    corpus_module.pack_corpus(text_folder, raw, folder, megabytes=None, end=tokenizer.eos_token_id)
    return folder


@pytest.mark.parametrize(
    "text",
    ["Ada (Paris): 3.5mg", "  two  blanks\n\n", "東京 🙂 \u0000 e\u0301", "</s><s> [x]} \\)", "12345,678"],
)
def test_any_text_survives_the_tokenizer(tokenizer: PreTrainedTokenizerFast, text: str) -> None:
    ids = tokenizer.backend_tokenizer.encode(text, add_special_tokens=False).ids
    assert tokenizer.decode(ids) == text or "<s>" in text


def test_punctuation_is_never_joined_to_anything_but_its_blank(tokenizer: PreTrainedTokenizerFast) -> None:
    vocabulary = tokenizer.get_vocab()
    joined = [token for token in vocabulary if len(token) > 2 and any(mark in token for mark in "()[]{}:,")]
    assert joined == []


def test_held_out_documents_are_not_trained_on(packed: Path, tokenizer: PreTrainedTokenizerFast) -> None:
    counts = json.loads((packed / "corpus.json").read_text())
    for domain in corpus_module.DOMAIN_WEIGHTS:
        train = np.fromfile(packed / f"{domain}.train.bin", dtype=np.uint16)
        validation = np.fromfile(packed / f"{domain}.validation.bin", dtype=np.uint16)
        assert len(train) == counts[domain]["train_tokens"]
        end = tokenizer.eos_token_id
        assert (train == end).sum() == 398
        assert (validation == end).sum() == 2
        text = tokenizer.decode(validation.tolist()).replace("</s>", "\n")
        assert len(text.encode()) == counts[domain]["validation_bytes"]


def test_batches_are_a_function_of_seed_and_step(packed: Path) -> None:
    corpus = corpus_module.Corpus(packed, 64)
    first = corpus.batch(rows=4, seed=0, step=7)
    assert first.shape == (4, 64)
    assert torch.equal(first, corpus.batch(rows=4, seed=0, step=7))
    assert not torch.equal(first, corpus.batch(rows=4, seed=0, step=8))
    assert not torch.equal(first, corpus.batch(rows=4, seed=1, step=7))


def test_schedule_warms_up_stays_and_decays() -> None:
    config = pretrain.OptimizerConfig(warmup_steps=10, decay=0.25)
    factors = [pretrain.schedule(step, step / 1000, config, decays=True) for step in range(1001)]
    assert factors[0] == 0.1
    assert set(factors[10:750]) == {1.0}
    assert factors[875] == pytest.approx(0.5)
    assert factors[1000] == 0
    assert pretrain.schedule(999, 0.999, config, decays=False) == 1


def _command(
    text_folder: Path, tokenizer_folder: Path, packed: Path, output: Path, *options: str
) -> list[str]:
    settings = ["model.hidden=32", "model.layers=2", "model.heads=2", "model.intermediate=48"]
    settings += [
        "mixture.size=200",
        "model.context=768",
        "rows=2",
        "length=64",
        "example_rows=2",
        "example_share=0.5",
    ]
    return [
        "pretrain",
        str(PROGRAMS / "mini.yaml"),
        *(part for setting in settings for part in ("--set", setting)),
        *("--text", str(text_folder), "--tokenizer", str(tokenizer_folder), "--corpus", str(packed)),
        *("--output", str(output), "--no-decay", *options),
    ]


@pytest.mark.parametrize(("layers", "intermediate"), [(3, 40), (5, 24), (8, 64)])
def test_a_grown_model_says_the_same_and_all_of_it_learns(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path, layers: int, intermediate: int
) -> None:
    torch.manual_seed(0)
    small = pretrain.build_model(pretrain.ModelConfig(hidden=32, layers=3, intermediate=24), tokenizer)
    torch.nn.init.normal_(small.model.embed_tokens.weight, std=0.2)
    small.save_pretrained(tmp_path)
    config = pretrain.ModelConfig(hidden=32, layers=layers, intermediate=intermediate)
    grown = pretrain.build_model(config, tokenizer)
    pretrain.grow(grown, tmp_path)
    tokens = torch.randint(300, (2, 20))
    torch.testing.assert_close(grown(tokens).logits, small(tokens).logits)

    before = {name: parameter.clone() for name, parameter in grown.named_parameters()}
    optimizer = torch.optim.SGD(grown.parameters(), lr=0.5)
    for _ in range(2):
        pretrain.language_model_loss(grown, tokens).backward()
        optimizer.step()
    assert all(not torch.equal(parameter, before[name]) for name, parameter in grown.named_parameters())


def test_a_model_does_not_grow_into_a_shallower_one(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    pretrain.build_model(pretrain.ModelConfig(hidden=32, layers=3), tokenizer).save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="3 layers, more than the 2"):
        pretrain.grow(pretrain.build_model(pretrain.ModelConfig(hidden=32, layers=2), tokenizer), tmp_path)


@pytest.fixture
def _signals_as_they_were() -> Iterator[None]:
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.mark.slow
@pytest.mark.usefixtures("_signals_as_they_were")
def test_a_run_in_two_parts_ends_with_the_weights_of_a_run_in_one(
    text_folder: Path,
    tokenizer_folder: Path,
    packed: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr("torch.compile", lambda function, **_: function)
    examples = ["--examples", str(ROOT / "examples" / "sample")]
    for name, budgets in (("whole", [4000]), ("parts", [1500, 4000])):
        for tokens in budgets:
            command = _command(text_folder, tokenizer_folder, packed, tmp_path / name, *examples)
            command += ["--tokens", str(tokens)]
            monkeypatch.setattr(sys, "argv", command)
            pretrain.main()
    states = [torch.load(tmp_path / name / "checkpoint.pt", weights_only=True) for name in ("whole", "parts")]
    assert states[0]["progress"]["step"] == states[1]["progress"]["step"]
    assert 0 < states[0]["progress"]["example_steps"] < states[0]["progress"]["step"]
    for name, weights in states[0]["model"].items():
        assert torch.equal(weights, states[1]["model"][name]), name
    log = [json.loads(line) for line in (tmp_path / "parts" / "log.jsonl").read_text().splitlines()]
    assert set(log[-1]["domains"]) == set(corpus_module.DOMAIN_WEIGHTS)
    assert (tmp_path / "parts" / "model" / "model.safetensors").exists()


def test_without_room_for_a_checkpoint_the_one_before_stays(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    config = pretrain.PretrainingConfig(
        model=pretrain.ModelConfig(hidden=16, layers=1, heads=2, intermediate=16)
    )
    run = pretrain.Run(config, tokenizer, tmp_path, torch.device("cpu"))
    run.save()
    before = (tmp_path / "checkpoint.pt").read_bytes()
    run.progress.step = 7
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(SystemExit, match="the one before is whole: make room"):
            run.save()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.pt"]
    assert (tmp_path / "checkpoint.pt").read_bytes() == before


@pytest.mark.parametrize("program", sorted(path.stem for path in PROGRAMS.glob("[!_]*.py")))
def test_what_a_program_imports_is_there(program: str) -> None:
    assert importlib.import_module(f"making.mini.{program}").__doc__
