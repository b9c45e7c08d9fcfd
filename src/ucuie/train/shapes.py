"""Shapes of the recipes' backbones, to reckon with them where their files are not at hand."""

from pathlib import Path

from transformers import LlamaConfig, MistralConfig, PreTrainedConfig, Qwen3Config

from ucuie.errors import ConfigError, show
from ucuie.model.folder import EMBEDDED, read_shape
from ucuie.model.known_backbones import known_backbones
from ucuie.model.source import is_gguf
from ucuie.train.config import TrainConfig
from ucuie.train.recipes import config_path, recipe_names

SHAPES: dict[str, PreTrainedConfig] = {
    "llama-2-7b": LlamaConfig(
        vocab_size=32_000,
        hidden_size=4096,
        intermediate_size=11_008,
        num_hidden_layers=32,
        num_attention_heads=32,
        max_position_embeddings=4096,
    ),
    "llama-3.1-8b": LlamaConfig(
        vocab_size=128_256,
        hidden_size=4096,
        intermediate_size=14_336,
        num_hidden_layers=32,
        num_attention_heads=32,
        num_key_value_heads=8,
        max_position_embeddings=131_072,
    ),
    "llama-3.2-1b": LlamaConfig(
        vocab_size=128_256,
        hidden_size=2048,
        intermediate_size=8192,
        num_hidden_layers=16,
        num_attention_heads=32,
        num_key_value_heads=8,
        head_dim=64,
        max_position_embeddings=131_072,
        tie_word_embeddings=True,
    ),
    "qwen3-0.6b": Qwen3Config(
        vocab_size=151_936,
        hidden_size=1024,
        intermediate_size=3072,
        num_hidden_layers=28,
        num_attention_heads=16,
        num_key_value_heads=8,
        head_dim=128,
        max_position_embeddings=32_768,
        tie_word_embeddings=True,
    ),
    "qwen3-8b": Qwen3Config(
        vocab_size=151_936,
        hidden_size=4096,
        intermediate_size=12_288,
        num_hidden_layers=36,
        num_attention_heads=32,
        num_key_value_heads=8,
        head_dim=128,
        max_position_embeddings=32_768,
    ),
    "mistral-7b": MistralConfig(
        vocab_size=32_768,
        hidden_size=4096,
        intermediate_size=14_336,
        num_hidden_layers=32,
        num_attention_heads=32,
        num_key_value_heads=8,
        max_position_embeddings=32_768,
        sliding_window=None,
    ),
    "smollm2-135m": LlamaConfig(
        vocab_size=49_152,
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=30,
        num_attention_heads=9,
        num_key_value_heads=3,
        max_position_embeddings=8192,
        tie_word_embeddings=True,
    ),
    "smollm2-360m": LlamaConfig(
        vocab_size=49_152,
        hidden_size=960,
        intermediate_size=2560,
        num_hidden_layers=32,
        num_attention_heads=15,
        num_key_value_heads=5,
        max_position_embeddings=8192,
        tie_word_embeddings=True,
    ),
    "smollm2-1.7b": LlamaConfig(
        vocab_size=49_152,
        hidden_size=2048,
        intermediate_size=8192,
        num_hidden_layers=24,
        num_attention_heads=32,
        max_position_embeddings=8192,
        tie_word_embeddings=True,
    ),
}
"""By the name of the recipe; numbers from the published configurations."""


def backbone_shape(source: str) -> PreTrainedConfig:
    """The shape of a backbone: of a folder or file, of a known one, else of the recipe that names it.

    Raises:
        ConfigError: it is none of these; a hub is not asked, since it would send the weights.
    """
    path = Path(source).expanduser()
    if source == EMBEDDED or path.is_dir() or is_gguf(path) or source in known_backbones():
        return read_shape(source)
    for name in recipe_names():
        if TrainConfig.load(config_path(name), overrides=["data.train=[.]"]).backbone == source:
            return SHAPES[name]
    raise ConfigError(
        f"the shape of the backbone {show(source)} is not known here; name a folder with its "
        "config.json, or the backbone of a recipe"
    )
