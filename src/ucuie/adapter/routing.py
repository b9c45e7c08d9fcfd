"""The routing of one forward: its inputs on the way in, the routers' decisions on the way out.

In: the extra arguments of a forward (instruction mask, capability labels or gates). Out: a `Routing` that
every adapted linear reads, and the losses and statistics that follow from their `Decision`s. Values only:
who hands them round is `RoutingState`. Knows nothing about experts, their parameters or PEFT.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


class MissingGatesError(RuntimeError):
    """A soft router got neither an instruction to pool nor gates to use."""


@dataclass(frozen=True)
class RoutingInputs:
    """The adapter's own arguments of one forward, a row per row of the batch.

    A packed batch is one row, (1, T), that holds S sequences one after the other; whatever else has a row
    per row of the batch has one per sequence then.

    Args:
        instruction_mask: (B, T) bool, True on the tokens of the instruction.
        capability_labels: (B, C) float, the row's hard labels.
        capability_gates: (B, C) float, gates to use whatever the router says.
        segment_ids: (1, T) int64 of a packed batch: the number of each token's sequence, from 0 on.
    """

    instruction_mask: Tensor | None = None
    capability_labels: Tensor | None = None
    capability_gates: Tensor | None = None
    segment_ids: Tensor | None = None

    def for_rows(self, num_rows: int) -> "RoutingInputs":
        """Repeat every row for its beams, the way `generate` repeats its inputs."""
        given = {name: rows for name, rows in vars(self).items() if rows is not None}
        return RoutingInputs(**{name: repeat_rows(rows, num_rows) for name, rows in given.items()})


def repeat_rows(rows: Tensor, num_rows: int) -> Tensor:
    """Repeat each row of `rows` (B, ...) until there are `num_rows`.

    Raises:
        ValueError: `num_rows` is no multiple of B.
    """
    times, remainder = divmod(num_rows, len(rows))
    if remainder:
        raise ValueError(f"routing for {len(rows)} rows cannot be spread over a batch of {num_rows}")
    return rows if times == 1 else rows.repeat_interleave(times, dim=0)


@dataclass(frozen=True)
class Routing:
    """The inputs of every adapted linear in the forward under way.

    Args:
        pooling: (B, T) float32, 1 / (instruction tokens of the row) on these and 0 elsewhere, so that its
            product with per-token values is their mean over the instruction; None without instruction.
        token_weights: (B * T,) float32, 1 / (real tokens of the batch) on these and 0 on padding; None in
            a decode step, of which nothing is recorded.
        labels: (B, C) hard labels, the gates of a hard router.
        override: (B, C) gates to use in every linear.
        fixed: gates (B or 1, C) by name of the linear.
        enabled: for each capability, if it is switched on; None for all.
        segments: (T,) the sequence of a packed batch that each token belongs to; None where rows are
            sequences.
        num_segments: S, sequences of a packed batch.
    """

    pooling: Tensor | None = None
    token_weights: Tensor | None = None
    labels: Tensor | None = None
    override: Tensor | None = None
    fixed: Mapping[str, Tensor] | None = None
    enabled: tuple[bool, ...] | None = None
    segments: Tensor | None = None
    num_segments: int = 0

    def given_gates(self, name: str) -> Tensor | None:
        """Gates (B or 1, C) set from outside for the linear `name`, if any."""
        return self.override if self.fixed is None else self.fixed.get(name)

    def pool(self, values: Tensor) -> Tensor:
        """The mean of per-token values (B, T, N) over the instruction of each sequence: (B or S, N)."""
        assert self.pooling is not None
        weighted = self.pooling.unsqueeze(-1) * values
        if self.segments is None:
            return weighted.sum(dim=1)
        return sum_segments(weighted[0], self.segments, self.num_segments)

    def spread(self, gates: Tensor) -> Tensor:
        """The gates of each sequence (B, S or 1, N), for every token: broadcasts against (B, T, N)."""
        if self.segments is None or len(gates) == 1:
            return gates.unsqueeze(1)
        return gates.index_select(0, self.segments).unsqueeze(0)


def enabled_gates(gates: Tensor, enabled: tuple[bool, ...] | None) -> Tensor:
    """Gates (..., C), 0 for capabilities that are switched off; nothing is sent to the device for it."""
    if enabled is None or all(enabled):
        return gates
    gates = gates.clone()
    for index, is_enabled in enumerate(enabled):
        if not is_enabled:
            gates.select(-1, index).zero_()
    return gates


def sum_segments(values: Tensor, segments: Tensor, num_segments: int) -> Tensor:
    """The sums (S, N) of per-token values (T, N) over each sequence of a packed batch."""
    return values.new_zeros(num_segments, values.shape[1]).index_add(0, segments, values)


def instruction_pooling(instruction_mask: Tensor, token_mask: Tensor | None) -> Tensor:
    """Weights (B, T) float32 whose product with per-token values is the mean over each instruction.

    Raises:
        ValueError: a row has no instruction token.
    """
    mask = instruction_mask.bool() if token_mask is None else instruction_mask.bool() & token_mask.bool()
    counts = mask.sum(dim=1, keepdim=True)
    _check_instructions(counts[:, 0])
    return mask / counts.float()


def segment_pooling(instruction_mask: Tensor, segments: Tensor, num_segments: int) -> Tensor:
    """The same weights (1, T) for a packed batch.

    Raises:
        ValueError: a sequence has no instruction token.
    """
    mask = instruction_mask[0].float()
    counts = sum_segments(mask.unsqueeze(1), segments, num_segments)[:, 0]
    _check_instructions(counts)
    return (mask / counts[segments]).unsqueeze(0)


def _check_instructions(counts: Tensor) -> None:
    if not counts.all():
        rows = (counts == 0).nonzero()[:, 0].tolist()
        raise ValueError(f"instruction_mask marks no token in row(s) {rows}; every row needs an instruction")


def token_weighting(token_mask: Tensor | None, tokens: Tensor) -> Tensor:
    """Weights (B * T,) float32 whose product with per-token values is the mean over real tokens.

    `token_mask` (B, T) is True on real tokens, None if all are; `tokens` (B, T, ...) is for shape and device.
    """
    if token_mask is None:
        num_tokens = tokens.shape[0] * tokens.shape[1]
        return torch.full((num_tokens,), 1 / num_tokens, device=tokens.device)
    mask = token_mask.reshape(-1).float()
    return mask / mask.sum()


@dataclass(frozen=True)
class Decision:
    """The decisions of one adapted linear in one forward; gradients intact.

    Args:
        router_logits: (B, C), the capability router's logits; None if it did not run.
        gates: (B or 1, C), the gates that scaled the experts; None where there are none.
        usage: the mean distribution over sub-experts, a row per softmax: (C, Q), or (1, C * Q) with one
            level.
        weights: (B, T, C, Q) or (B, T, 1, C * Q), the distribution of every token; None unless asked for.
    """

    router_logits: Tensor | None
    gates: Tensor | None
    usage: Tensor
    weights: Tensor | None = None


@dataclass(frozen=True)
class AuxiliaryLosses:
    """Auxiliary losses of the last forward (Section 3.4): scalars, means over the adapted linears.

    Args:
        bce: binary cross-entropy of the capability router's output against the hard labels, a mean over
            rows and capabilities; 0 where there is no such router or there are no labels.
        entropy: minus the entropy (nats) of the mean sub-expert distribution over the batch's real
            tokens, a mean over capabilities; lies in [-ln Q, 0].
    """

    bce: Tensor
    entropy: Tensor


@dataclass(frozen=True)
class RoutingStatistics:
    """The routing of one adapted linear in the last forward of more than one token; no gradients.

    Args:
        capability_gates: (B or 1, C), the gates that scaled the capability experts; None with one level.
        sub_expert_weights: (C, Q), the mean weight of each sub-expert over the batch's real tokens.
    """

    capability_gates: Tensor | None
    sub_expert_weights: Tensor


@dataclass(frozen=True)
class TokenRouting:
    """The routing of every token of a forward by one adapted linear; no gradients.

    Args:
        capability_gates: (B or 1, C), the gates that scaled the capability experts; None with one level.
        sub_expert_weights: (B, T, C, Q); they sum to 1 over Q, with one level over C and Q.
    """

    capability_gates: Tensor | None
    sub_expert_weights: Tensor


def auxiliary_losses(
    records: list[Decision],
    labels: Tensor | None,
    device: torch.device,
    *,
    widen: Callable[[Tensor], Tensor] | None = None,
) -> AuxiliaryLosses:
    """Reduce the records of one forward to the two losses, all linears in one go.

    Args:
        records: one per adapted linear; empty lists and missing parts count as a loss of 0.
        labels: (B, C) hard labels.
        device: where the losses are wanted; linears may sit on several.
        widen: makes of the mean distributions over this batch's tokens, (linears, C, Q), those over more
            tokens, such as all processes'. The entropy loss is not a mean over tokens, so it has to be
            widened before it is computed.
    """
    logits = [record.router_logits.to(device) for record in records if record.router_logits is not None]
    bce = entropy = torch.zeros((), device=device)
    if records:
        usage = torch.stack([record.usage.to(device) for record in records])
        usage = usage if widen is None else widen(usage)
        entropy = torch.special.xlogy(usage, usage).sum(dim=-1).mean()
    if logits and labels is not None:
        stacked = torch.stack(logits)
        target = labels.to(stacked).expand_as(stacked)
        bce = F.binary_cross_entropy_with_logits(stacked, target)
    return AuxiliaryLosses(bce=bce, entropy=entropy)
