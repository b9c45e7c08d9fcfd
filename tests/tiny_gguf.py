"""The tiny model in a GGUF file, written by hand as llama.cpp's converter writes one."""

import json
from collections.abc import Collection
from pathlib import Path

import numpy as np
from gguf import MODEL_ARCH, GGMLQuantizationType, GGUFWriter, get_tensor_name_map

from tiny_model import CONTEXT, make_backbone, tokenizer


def save_gguf(
    path: Path,
    *,
    architecture: str = "llama",
    has_tokenizer: bool = True,
    is_unreadable: bool = False,
    left_out: Collection[str] = (),
) -> Path:
    """`is_unreadable` puts a tensor in a quantisation that nothing undoes; `left_out` are tensors by name."""
    model = make_backbone()
    config = model.config
    writer = GGUFWriter(path, architecture)
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(10_000.0)
    if has_tokenizer:
        add_tokenizer(writer)
    names = get_tensor_name_map(MODEL_ARCH.LLAMA, config.num_hidden_layers)
    for name, parameter in model.named_parameters():
        stored = names.get_name(name, try_suffixes=(".weight",))
        values = parameter.detach().numpy()
        if ".attn_q." in stored or ".attn_k." in stored:
            # llama.cpp keeps the two halves of a rotation beside each other.
            heads = values.reshape(config.num_attention_heads, 2, -1, values.shape[-1])
            values = np.ascontiguousarray(heads.swapaxes(1, 2).reshape(values.shape))
        if is_unreadable and stored == "blk.0.ffn_up.weight":
            writer.add_tensor(stored, np.zeros((24, 40), np.uint8), raw_dtype=GGMLQuantizationType.Q8_1)
        elif stored not in left_out:
            writer.add_tensor(stored, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def add_tokenizer(writer: GGUFWriter) -> None:
    backend = json.loads(tokenizer().backend_tokenizer.to_str())["model"]
    tokens = sorted(backend["vocab"], key=backend["vocab"].get)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    special = set(tokenizer().all_special_tokens)
    writer.add_token_types([3 if token in special else 1 for token in tokens])
    writer.add_token_merges([" ".join(pair) for pair in backend["merges"]])
    writer.add_bos_token_id(tokenizer().bos_token_id)
    writer.add_eos_token_id(tokenizer().eos_token_id)
    writer.add_pad_token_id(tokenizer().pad_token_id)
