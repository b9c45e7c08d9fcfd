"""How a model routes the tokens of texts: gates and weights of sub-experts, by task, layer and token.

In: a model and gold examples, read with their gold answers. Out: plain values for `result.json`.
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ucuie.language.encode import PromptEncoder
from ucuie.model.folder import LoadedModel
from ucuie.schema import Example
from ucuie.schema.capabilities import capability_labels

EXAMPLES_OF_A_TASK = 40
SHOWN_OF_A_TASK = 2
_DECIMALS = 4


@torch.inference_mode()
def measure_routing(loaded: LoadedModel, examples: Sequence[Example]) -> dict[str, Any]:
    """Means over the tokens of the first examples of each task, and single tokens of some of them.

    Returns:
        `linears`, their names; `capabilities`; `tasks`: for each the `gates` (linears, C), `weights`
        (linears, C, Q) and `examples` with their `tokens` and `weights` (tokens, C, Q), means over linears.

    Raises:
        ValueError: the model has no capability experts.
    """
    tuner: Any = loaded.model.base_model
    encoder = PromptEncoder(loaded.tokenizer, pool=loaded.pool)
    by_task: dict[str, list[Example]] = defaultdict(list)
    for example in examples:
        if len(by_task[example.task]) < EXAMPLES_OF_A_TASK:
            by_task[example.task].append(example)
    tasks = {}
    names: list[str] = []
    for task, chosen in by_task.items():
        gates, weights, num_tokens = [], [], 0
        shown: list[dict[str, Any]] = []
        for example in chosen:
            encoded = encoder.encode_example(example)
            answered = [*encoded.text_ids, *encoded.target_ids]
            tokens = torch.tensor([[*encoded.instruction_ids, *answered]], device=loaded.model.device)
            labels = torch.tensor([capability_labels(example.task)], device=tokens.device)
            is_instruction = torch.arange(tokens.shape[1], device=tokens.device) < len(
                encoded.instruction_ids
            )
            routed = tuner.route_tokens(tokens, torch.ones_like(tokens), is_instruction[None], labels)
            names = list(routed)
            given = (one.capability_gates for one in routed.values())
            gates.append(torch.stack([torch.empty(0) if one is None else one[0] for one in given]).cpu())
            by_token = torch.stack([one.sub_expert_weights[0] for one in routed.values()]).cpu()
            by_token = by_token[:, -len(answered) :]
            weights.append(by_token.sum(dim=1))
            num_tokens += len(answered)
            if len(shown) < SHOWN_OF_A_TASK:
                texts = [loaded.tokenizer.decode([token]) for token in answered]
                shown.append({"tokens": texts, "weights": _plain(by_token.mean(dim=0))})
        tasks[task] = {
            "gates": _plain(torch.stack(gates).mean(dim=0)),
            "weights": _plain(torch.stack(weights).sum(dim=0) / num_tokens),
            "examples": shown,
        }
    return {"linears": names, "capabilities": list(tuner.capability_names), "tasks": tasks}


def _plain(values: Tensor) -> Any:
    return (values * 10**_DECIMALS).round().div(10**_DECIMALS).tolist()
