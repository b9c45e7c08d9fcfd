"""L_task, the loss of the output tokens (equation 1), in its two forms.

`full`: the cross-entropy of every output token, normalised over the whole vocabulary: the paper's.
`grammar`: only the tokens that the grammar leaves open, normalised over those it allows there, which is
the distribution that the constrained decoder writes from. Both leave the logits of all other positions
uncomputed.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

IGNORED = -100


def task_loss(model: nn.Module, inputs: dict[str, Tensor]) -> Tensor:
    """The summed loss, in nats, of the labelled tokens of a batch.

    Args:
        model: a causal language model, adapted or not.
        inputs: the model's own inputs with `labels` (B, T), which holds the token at each position that
            counts and -100 elsewhere; and, for the grammar objective, `allowed` (N, ceil(V / 32)), the
            packed masks of those positions in reading order.
    """
    inputs = dict(inputs)
    labels = inputs.pop("labels")[:, 1:]
    allowed = inputs.pop("allowed", None)
    is_labelled = labels != IGNORED
    if len(labels) == 1:
        positions = is_labelled[0].nonzero()[:, 0]
        logits = model(**inputs, use_cache=False, logits_to_keep=positions).logits[0].float()
    else:
        outputs = model(**inputs, use_cache=False, output_hidden_states=True, logits_to_keep=1)
        hidden = outputs.hidden_states[-1][:, :-1][is_labelled]
        logits = _output_embeddings(model)(hidden).float()
    if allowed is not None:
        logits = logits.masked_fill(~unpack_masks(allowed, logits.shape[-1]), -torch.inf)
    return F.cross_entropy(logits, labels[is_labelled], reduction="sum")


def unpack_masks(packed: Tensor, vocab_size: int) -> Tensor:
    """Packed masks (N, ceil(V / 32)) int32 as booleans (N, V); bit `v % 32` of word `v // 32` is token v."""
    bits = torch.arange(32, device=packed.device, dtype=torch.int32)
    return (packed.unsqueeze(-1) >> bits).bitwise_and_(1).bool().flatten(1)[:, :vocab_size]


def _output_embeddings(model: Any) -> nn.Module:
    while hasattr(model, "module"):  # DistributedDataParallel
        model = model.module
    embeddings: nn.Module = model.get_output_embeddings()
    return embeddings
