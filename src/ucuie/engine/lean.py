"""The forward of Llama-shaped decoders over packed tokens, with nothing between the products.

The same function as the decoder's own forward, for tokens (N,) of many rows at once: queries, keys and
values in one product, rotations of queries and keys in one go, no mask, no cache object and no module call
that is not needed. For a model of a few million parameters that is half of the time of a forward.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ucuie.engine.fused import FusedMlps
from ucuie.engine.products import are_plain, product_of
from ucuie.engine.ragged import Step

KINDS = ("LlamaDecoderLayer", "MistralDecoderLayer", "Qwen2DecoderLayer", "Qwen3DecoderLayer")
"""Blocks of `transformers` that compute what `_Block` computes."""


class LeanDecoder:
    """A decoder's forward.

    Args:
        decoder: one that `is_lean` accepts.
        fused: forwards of its adapted MLPs.
        copies: of the weights of attention are made, which is faster: make a new decoder after they changed.
        int8: round the weights of attention to 8 bits; needs copies.
    """

    def __init__(
        self, decoder: Any, fused: FusedMlps | None = None, *, copies: bool = True, int8: bool = False
    ) -> None:
        self._decoder = decoder
        self._blocks = [
            _Block(layer, fused.forward_of(layer.mlp) if fused else layer.mlp, copies=copies, int8=int8)
            for layer in decoder.layers
        ]

    def __call__(self, tokens: Tensor, step: Step) -> Tensor:
        """The hidden states (N, D) of tokens (N,) at the places that the step gives them."""
        hidden = self._decoder.embed_tokens(tokens)
        cos, sin = self._decoder.rotary_emb(hidden, step.positions[None])
        cos, sin = cos[0, :, None], sin[0, :, None]
        half = sin.shape[-1] // 2
        # The rotation swaps the halves and negates the first of them, which the sines can do beforehand.
        sin = torch.cat([-sin[..., :half], sin[..., half:]], dim=-1)
        for block in self._blocks:
            hidden = block(hidden, cos, sin, step)
        normed: Tensor = self._decoder.norm(hidden)
        return normed


class _Block:
    """Attention and MLP of one layer.

    Projections that are adapted, or may not be copied, are asked as the modules they are.
    """

    def __init__(self, layer: Any, mlp: Callable[[Tensor], Tensor], *, copies: bool, int8: bool) -> None:
        attention = layer.self_attn
        self._attention = attention
        self._mlp = mlp
        self._before_attention = _Norm(layer.input_layernorm)
        self._before_mlp = _Norm(layer.post_attention_layernorm)
        self._head_norms = (
            (_Norm(attention.q_norm), _Norm(attention.k_norm)) if hasattr(attention, "q_norm") else None
        )
        inputs = [attention.q_proj, attention.k_proj, attention.v_proj]
        self._inputs = product_of(inputs, int8=int8) if copies and are_plain(inputs) else None
        outputs = [attention.o_proj]
        self._output = product_of(outputs, int8=int8) if copies and are_plain(outputs) else None
        self._width: int = attention.head_dim
        config = attention.config
        self._heads = [config.num_attention_heads, config.num_key_value_heads]

    def __call__(self, hidden: Tensor, cos: Tensor, sin: Tensor, step: Step) -> Tensor:
        """Map (N, D) to (N, D)."""
        rotated, value = self._rotated(self._before_attention(hidden), cos, sin)
        query, key = torch.split(rotated, self._heads, dim=1)
        mixed = step.attend(self._attention.layer_idx, query, key, value, self._attention.scaling)
        hidden = hidden + (self._output or self._attention.o_proj)(mixed.flatten(1))
        return hidden + self._mlp(self._before_mlp(hidden))

    def _rotated(self, hidden: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor]:
        """Queries and keys (N, H + H', W) turned by their positions, and values (N, H', W)."""
        attention = self._attention
        if self._inputs is not None:
            states = self._inputs(hidden)
        else:
            states = torch.cat(
                [project(hidden) for project in (attention.q_proj, attention.k_proj, attention.v_proj)], dim=1
            )
        states = states.view(hidden.shape[0], -1, self._width)
        num_rotated = sum(self._heads)
        turned, value = states[:, :num_rotated], states[:, num_rotated:]
        if self._head_norms is not None:
            norm_query, norm_key = self._head_norms
            query, key = torch.split(turned, self._heads, dim=1)
            turned = torch.cat([norm_query(query), norm_key(key)], dim=1)
        return torch.addcmul(turned * cos, turned.roll(self._width // 2, -1), sin), value


class _Norm:
    """The root-mean-square norm of a module, in one operation."""

    def __init__(self, module: Any) -> None:
        self._weight: Tensor = module.weight
        self._epsilon: float = module.variance_epsilon

    def __call__(self, hidden: Tensor) -> Tensor:
        """Map (..., D) to (..., D)."""
        return F.rms_norm(hidden, self._weight.shape, self._weight, self._epsilon)


def is_lean(decoder: Any) -> bool:
    """Tell whether all blocks of a decoder are of a kind that is computed here."""
    layers = getattr(decoder, "layers", ())
    return bool(len(layers)) and all(type(layer).__name__ in KINDS for layer in layers)
