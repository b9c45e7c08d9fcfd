"""Which experts wrote what: the routing of an output's tokens, told for each of its records.

After the output is there, instruction, text and output go through the model once more, in one piece; what
the routers decided about the tokens of a record is averaged. Gates belong to the instruction, so all records
of an output share them; the weights of the sub-experts differ from token to token.
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ucuie.engine.confidence import byte_bounds
from ucuie.engine.grammar_state import GrammarFactory
from ucuie.engine.requests import Output, Request
from ucuie.language.linearize import ParsedFrame
from ucuie.schema import ExpertUse, Explanation

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel

    from ucuie.adapter import TokenRouting

DECIMALS = 4


def has_experts(model: "PreTrainedModel | PeftModel") -> bool:
    """Whether a model routes tokens to capability experts, so that there is something to explain."""
    return bool(getattr(_tuner(model), "capability_names", ()))


@torch.inference_mode()
def explain_frames(
    model: "PreTrainedModel | PeftModel",
    request: Request,
    output: Output,
    frames: Sequence[ParsedFrame],
    grammars: GrammarFactory,
    *,
    has_linears: bool = False,
) -> list[Explanation]:
    """How the adapter routed the tokens of each frame of an output.

    Args:
        model: with capability experts, see `has_experts`.
        request: what the output answers.
        output: what the model wrote, with its tokens.
        frames: of the output, with their ranges in it.
        grammars: the factory of the output's grammar; it knows the tokens' spelling.
        has_linears: give the detail of every adapted linear.
    """
    if not frames:
        return []
    tuner = _tuner(model)
    prompt = [*request.instruction_ids, *request.text_ids]
    tokens = torch.tensor([[*prompt, *output.tokens]], device=next(model.parameters()).device)
    labels = request.capability_labels
    routing: Mapping[str, TokenRouting] = tuner.route_tokens(
        tokens,
        torch.ones_like(tokens),
        (torch.arange(tokens.shape[1], device=tokens.device) < len(request.instruction_ids))[None],
        None if labels is None else torch.tensor([labels], device=tokens.device),
    )
    capabilities: tuple[str, ...] = tuner.capability_names
    weights = torch.stack([one.sub_expert_weights[0, len(prompt) :].cpu() for one in routing.values()])
    gates = torch.stack([_row_of_gates(one) for one in routing.values()])
    starts = byte_bounds(grammars.token_bytes(token) for token in output.tokens)
    characters = byte_bounds(character.encode() for character in output.text)

    def explanation(frame: ParsedFrame) -> Explanation:
        stretch = _tokens_of(frame, starts, characters)
        by_linear = weights[:, stretch].mean(dim=1)
        mean = _use(capabilities, gates.mean(dim=0), by_linear.mean(dim=0))
        linears = None
        if has_linears:
            parts = zip(routing, gates, by_linear, strict=True)
            linears = {name: _use(capabilities, *part) for name, *part in parts}
        return Explanation(**dict(mean), num_tokens=stretch.stop - stretch.start, linears=linears)

    return [explanation(frame) for frame in frames]


def _tuner(model: "PreTrainedModel | PeftModel") -> Any:
    return getattr(model, "base_model", None)


def _row_of_gates(routing: "TokenRouting") -> Tensor:
    """(C,), or (0,) where the adapter has one level and no gates."""
    if routing.capability_gates is None:
        return torch.empty(0)
    return routing.capability_gates[0].cpu()


def _tokens_of(frame: ParsedFrame, starts: Sequence[int], characters: Sequence[int]) -> slice:
    """The tokens of an output from the bracket before a frame's name to the one after its last filler.

    Args:
        frame: with its ranges in the output.
        starts: where each token begins, in bytes.
        characters: where each character begins, in bytes.
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
