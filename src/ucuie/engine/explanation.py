"""Which experts wrote what: the routing of an output's tokens, told for each of its records.

After the output is there, instruction, text and output go through the model once more, in one piece; what
the routers decided about the tokens of a record is averaged. Gates belong to the instruction, so all records
of an output share them; the weights of the sub-experts differ from token to token.
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ucuie.adapter import TokenRouting
from ucuie.engine.confidence import byte_bounds
from ucuie.engine.forward import Model
from ucuie.engine.grammar_state import GrammarFactory
from ucuie.engine.requests import Output, Request
from ucuie.language.linearize import ParsedFrame
from ucuie.schema import ExpertUse, Explanation

DECIMALS = 4


def has_experts(model: Model) -> bool:
    """Tell whether a model routes tokens to capability experts, so that there is something to explain."""
    return bool(getattr(getattr(model, "base_model", None), "capability_names", ()))


@torch.inference_mode()
def route_row(
    model: Any,
    instruction_ids: Sequence[int],
    other_ids: Sequence[int],
    capability_labels: Sequence[float] | None,
) -> tuple[list[str], Tensor, Tensor]:
    """How the adapter routes an instruction and what follows it, read in one piece.

    Returns:
        The names of the adapted linears, their gates (linears, C), or (linears, 0) where the adapter has one
        level, and the weights (linears, T, C, Q) of the sub-experts for all tokens; on the CPU.
    """
    tokens = torch.tensor([[*instruction_ids, *other_ids]], device=next(model.parameters()).device)
    routing: Mapping[str, TokenRouting] = model.base_model.route_tokens(
        tokens,
        torch.ones_like(tokens),
        (torch.arange(tokens.shape[1], device=tokens.device) < len(instruction_ids))[None],
        None if capability_labels is None else torch.tensor([capability_labels], device=tokens.device),
    )
    given = (one.capability_gates for one in routing.values())
    gates = [torch.empty(0) if one is None else one[0].cpu() for one in given]
    weights = [one.sub_expert_weights[0].cpu() for one in routing.values()]
    return list(routing), torch.stack(gates), torch.stack(weights)


def explain_frames(
    model: Model,
    request: Request,
    output: Output,
    frames: Sequence[ParsedFrame],
    grammars: GrammarFactory,
    *,
    has_linears: bool = False,
) -> list[Explanation]:
    """How the adapter routed the tokens of each frame of an output, on request with every adapted linear.

    The model has capability experts (see `has_experts`), and the frames know their ranges in the output.
    """
    if not frames:
        return []
    answer = [*request.text_ids, *output.tokens]
    names, gates, weights = route_row(model, request.instruction_ids, answer, request.capability_labels)
    weights = weights[:, weights.shape[1] - len(output.tokens) :]
    tuner: Any = model.base_model
    capabilities: tuple[str, ...] = tuner.capability_names
    starts = byte_bounds(grammars.token_bytes(token) for token in output.tokens)
    characters = byte_bounds(character.encode() for character in output.text)

    def explanation(frame: ParsedFrame) -> Explanation:
        stretch = _tokens_of(frame, starts, characters)
        by_linear = weights[:, stretch].mean(dim=1)
        mean = _use(capabilities, gates.mean(dim=0), by_linear.mean(dim=0))
        linears = None
        if has_linears:
            parts = zip(names, gates, by_linear, strict=True)
            linears = {name: _use(capabilities, *part) for name, *part in parts}
        return Explanation(**dict(mean), num_tokens=stretch.stop - stretch.start, linears=linears)

    return [explanation(frame) for frame in frames]


def _tokens_of(frame: ParsedFrame, starts: Sequence[int], characters: Sequence[int]) -> slice:
    """The tokens of an output from the bracket before a frame's name to the one after its last filler.

    Of its tokens and its characters is given where each begins, in bytes.
    """
    last = frame.slots[-1] if frame.slots else frame
    first_byte = characters[frame.name_range[0] - len("(")]
    last_byte = characters[last.filler_range[1] + len(")")] - 1
    return slice(bisect_right(starts, first_byte) - 1, bisect_right(starts, last_byte))


def _use(capabilities: Sequence[str], gates: Tensor, weights: Tensor) -> ExpertUse:
    """Gates (C,) or (0,) and weights (C, Q) by the names of the capabilities."""
    return ExpertUse(
        gates=dict(zip(capabilities, _rounded(gates), strict=False)),
        experts={name: tuple(_rounded(row)) for name, row in zip(capabilities, weights, strict=True)},
    )


def _rounded(values: Tensor) -> list[float]:
    return [round(value, DECIMALS) for value in values.tolist()]
