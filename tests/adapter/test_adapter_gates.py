"""Capability gates: where they come from, what may replace them, and what switches them."""

import threading

import pytest
import torch
from adapter_cases import Inputs, MakeAdapted
from peft import PeftModel
from torch import Tensor, nn

from ucuie.adapter import CAPABILITIES, HierarchicalMoeLinear, MissingGatesError

FIRST_LINEAR = "model.layers.0.mlp.gate_proj"


def first_linear(model: PeftModel) -> HierarchicalMoeLinear:
    return model.get_submodule("base_model.model." + FIRST_LINEAR)


def without(inputs: Inputs, *names: str) -> dict[str, Tensor]:
    return {name: value for name, value in inputs.items() if name not in names}


def gates_of(model: PeftModel, inputs: Inputs) -> Tensor:
    names = ("input_ids", "attention_mask", "instruction_mask")
    return model.base_model.compute_gates(**{name: inputs[name] for name in names})


def pad(inputs: Inputs, left: int, right: int) -> dict[str, Tensor]:
    return {
        name: torch.nn.functional.pad(value, (left, right))
        for name, value in inputs.items()
        if name in ("input_ids", "attention_mask", "instruction_mask")
    }


def test_gates_are_a_sigmoid_of_the_mean_hidden_state_of_the_instruction(
    adapted: MakeAdapted, inputs: Inputs
) -> None:
    model = adapted()
    seen = []
    handle = first_linear(model).register_forward_pre_hook(lambda module, args: seen.append(args[0]))
    gates = gates_of(model, inputs)
    handle.remove()

    down = first_linear(model).hierarchical_moe_down["default"]
    bias = first_linear(model).hierarchical_moe_bias["default"]
    means = [seen[0][row, inputs["instruction_mask"][row]].mean(dim=0) for row in range(3)]
    want = torch.sigmoid(torch.stack(means) @ down[-3:].T + bias[-3:])
    torch.testing.assert_close(gates[0], want)


def test_gates_do_not_see_the_text_after_the_instruction(adapted: MakeAdapted, inputs: Inputs) -> None:
    model = adapted()
    gates = gates_of(model, inputs)
    others = inputs | {"input_ids": torch.where(inputs["instruction_mask"], inputs["input_ids"], 7)}
    torch.testing.assert_close(gates_of(model, others), gates)
    instruction = {name: value[:1, :4] for name, value in inputs.items() if name != "labels"}
    torch.testing.assert_close(gates_of(model, instruction), gates[:, :1])


@pytest.mark.parametrize(("left", "right"), [(3, 0), (0, 3), (2, 2)])
def test_padding_changes_neither_gates_nor_logits(
    adapted: MakeAdapted, inputs: Inputs, left: int, right: int
) -> None:
    model = adapted()
    padded = pad(inputs, left, right)
    torch.testing.assert_close(gates_of(model, padded), gates_of(model, inputs))
    real = inputs["attention_mask"].bool()
    want = model(**without(inputs, "labels")).logits[real]
    position_ids = (padded["attention_mask"].cumsum(dim=1) - 1).clamp(min=0)
    got = model(**padded, position_ids=position_ids).logits[padded["attention_mask"].bool()]
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)


def test_padding_marked_as_instruction_is_not_pooled(adapted: MakeAdapted, inputs: Inputs) -> None:
    model = adapted()
    padded = pad(inputs, 3, 0)
    want = gates_of(model, padded)
    padded["instruction_mask"][:, :3] = True
    torch.testing.assert_close(gates_of(model, padded), want)


def test_a_batch_is_its_rows_one_by_one(adapted: MakeAdapted, inputs: Inputs) -> None:
    model = adapted()
    together = model(**inputs).logits
    for row in range(3):
        alone = model(**{name: value[row : row + 1] for name, value in inputs.items()}).logits
        torch.testing.assert_close(alone[0], together[row], rtol=1e-4, atol=1e-5)


def test_fixed_gates_give_what_a_full_forward_gives(adapted: MakeAdapted, inputs: Inputs) -> None:
    model = adapted()
    gates = gates_of(model, inputs)
    assert gates.shape == (6, 3, 3)
    plain = without(inputs, "instruction_mask")
    want = model(**inputs).logits
    with model.base_model.fixed_gates(gates):
        torch.testing.assert_close(model(**plain).logits, want)
    rows = torch.tensor([2, 0, 0, 1])
    with model.base_model.fixed_gates(gates[:, rows]):
        got = model(**{name: value[rows] for name, value in plain.items()}).logits
    torch.testing.assert_close(got, want[rows])


def test_fixed_gates_broadcast_over_rows_and_linears(adapted: MakeAdapted, inputs: Inputs) -> None:
    model = adapted()
    plain = without(inputs, "instruction_mask", "capability_labels")
    row = torch.tensor([0.3, 0.7, 0.1])
    want = model(**plain, capability_gates=row.expand(3, -1)).logits
    for gates in (row.expand(6, 3, -1), row.expand(6, 1, -1), row.expand(1, 3, -1), row.expand(1, 1, -1)):
        with model.base_model.fixed_gates(gates):
            torch.testing.assert_close(model(**plain).logits, want)


@pytest.mark.parametrize("shape", [(5, 3, 3), (6, 3, 2), (6, 3)])
def test_fixed_gates_of_another_shape_are_refused(adapted: MakeAdapted, shape: tuple[int, ...]) -> None:
    model = adapted()
    with pytest.raises(ValueError, match="gates are"), model.base_model.fixed_gates(torch.ones(shape)):
        pass


def test_fixed_gates_for_other_rows_are_refused(adapted: MakeAdapted, inputs: Inputs) -> None:
    model = adapted()
    with (
        model.base_model.fixed_gates(torch.ones(6, 2, 3)),
        pytest.raises(ValueError, match="fixed gates have 2 rows, the batch has 3"),
    ):
        model(input_ids=inputs["input_ids"])


def test_computing_gates_ignores_gates_fixed_for_another_instruction(
    adapted: MakeAdapted, inputs: Inputs
) -> None:
    model = adapted()
    want = gates_of(model, inputs)
    with model.base_model.fixed_gates(torch.zeros(6, 1, 3)):
        assert torch.equal(gates_of(model, inputs), want)


def test_an_instruction_may_be_one_token(adapted: MakeAdapted, inputs: Inputs) -> None:
    model = adapted()
    one = {name: inputs[name][:, :1] for name in ("input_ids", "instruction_mask")}
    want = gates_of(model, inputs | {"instruction_mask": torch.arange(10).expand(3, -1) < 1})
    torch.testing.assert_close(model.base_model.compute_gates(**one), want)


def test_fixed_gates_end_with_their_context(adapted: MakeAdapted, inputs: Inputs) -> None:
    model = adapted()
    with model.base_model.fixed_gates(torch.ones(6, 1, 3)):
        model(input_ids=inputs["input_ids"])
    with pytest.raises(MissingGatesError, match="instruction_mask"):
        model(input_ids=inputs["input_ids"])


def test_hard_router_takes_the_labels_as_gates(adapted: MakeAdapted, inputs: Inputs) -> None:
    hard, soft = adapted(router="hard"), adapted()
    plain = without(inputs, "instruction_mask", "labels")
    for name, parameter in hard.named_parameters():
        if "hierarchical_moe_" in name:
            source = soft.get_parameter(name)
            parameter.data = source.data if "_up" in name else source.data[: len(parameter)]
    want = soft(**plain, capability_gates=inputs["capability_labels"]).logits
    torch.testing.assert_close(hard(**plain).logits, want)

    gates = hard.base_model.compute_gates(**plain)
    assert torch.equal(gates, inputs["capability_labels"].expand(6, -1, -1))
    with hard.base_model.fixed_gates(gates):
        torch.testing.assert_close(hard(**without(plain, "capability_labels")).logits, want)
    with pytest.raises(MissingGatesError, match="capability_labels"):
        hard(**without(plain, "capability_labels"))


def test_given_gates_scale_the_experts_while_the_router_still_learns(
    adapted: MakeAdapted, inputs: Inputs
) -> None:
    model = adapted()
    one_hot = torch.tensor([[0.0, 1.0, 0.0]]).expand(3, -1)
    model(**inputs)
    want = model.base_model.auxiliary_losses().bce

    model.zero_grad()
    model(**inputs, capability_gates=one_hot)
    assert torch.equal(model.base_model.routing_statistics()[FIRST_LINEAR].capability_gates, one_hot)
    losses = model.base_model.auxiliary_losses()
    assert losses.bce > 0
    # The first linear sees the same hidden states either way; deeper ones see what the experts changed.
    first = model.base_model.state.records[FIRST_LINEAR].router_logits
    model(**inputs)
    torch.testing.assert_close(model.base_model.state.records[FIRST_LINEAR].router_logits, first)
    assert not torch.isclose(losses.bce, want, rtol=1e-6, atol=0)
    losses.bce.backward()
    assert first_linear(model).hierarchical_moe_down["default"].grad[-3:].abs().sum() > 0


def test_given_gates_leave_inactive_experts_without_gradient(adapted: MakeAdapted, inputs: Inputs) -> None:
    model = adapted()
    one_hot = torch.tensor([[0.0, 1.0, 0.0]]).expand(3, -1)
    model(**inputs, capability_gates=one_hot).loss.backward()
    gradient = first_linear(model).hierarchical_moe_down["default"].grad
    shared, judging, locating, associating, _ = gradient.split([4, 16, 16, 16, 15])
    assert shared.abs().sum() > 0
    assert locating.abs().sum() > 0
    assert judging.abs().sum() == 0
    assert associating.abs().sum() == 0


def test_switching_capabilities_multiplies_gates_by_one_or_zero(adapted: MakeAdapted, inputs: Inputs) -> None:
    model = adapted()
    all_on = model(**inputs).logits
    with model.base_model.capabilities("judging", "associating"):
        some = model(**inputs).logits
        gates = model.base_model.routing_statistics()[FIRST_LINEAR].capability_gates
    assert (gates[:, 1] == 0).all()
    assert (gates[:, [0, 2]] > 0).all()
    assert not torch.allclose(some, all_on)
    assert torch.equal(model(**inputs).logits, all_on)

    model.base_model.set_capabilities([])
    none = model(**inputs).logits
    torch.testing.assert_close(none, model(**inputs, capability_gates=torch.zeros(3, 3)).logits)
    model.base_model.set_capabilities(CAPABILITIES)
    assert torch.equal(model(**inputs).logits, all_on)


def test_capabilities_are_switched_on_fixed_gates_too(adapted: MakeAdapted, inputs: Inputs) -> None:
    model = adapted()
    with model.base_model.capabilities("locating"):
        want = model(**inputs).logits
        gates = gates_of(model, inputs)
    with model.base_model.fixed_gates(gates), model.base_model.capabilities("locating"):
        torch.testing.assert_close(model(**without(inputs, "instruction_mask")).logits, want)


def test_unknown_capability_is_refused_with_the_nearest_one(adapted: MakeAdapted) -> None:
    with pytest.raises(ValueError, match="did you mean 'locating'"):
        adapted().base_model.set_capabilities(["locatin"])
    with pytest.raises(ValueError, match="no capability gates"):
        adapted(num_levels=1).base_model.set_capabilities(["locating"])


def test_one_level_and_plain_lora_need_no_gates(adapted: MakeAdapted, inputs: Inputs) -> None:
    for settings in ({"num_levels": 1}, {"use_capability_experts": False}):
        model = adapted(**settings)
        want = model(**inputs).logits
        gates = gates_of(model, inputs)
        assert gates.shape == (6, 3, 0)
        with model.base_model.fixed_gates(gates[:, :1]):
            torch.testing.assert_close(model(input_ids=inputs["input_ids"][:1]).logits, want[:1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"instruction_mask": torch.ones(3, 9).bool()}, r"instruction_mask is \(3, 9\), the batch"),
        ({"instruction_mask": torch.zeros(3, 10).bool()}, r"no token in row\(s\) \[0, 1, 2\]"),
        ({"capability_labels": torch.ones(2, 3)}, r"capability_labels is \(2, 3\)"),
        ({"capability_gates": torch.ones(3)}, r"capability_gates is \(3,\)"),
        ({"capability_gates": torch.ones(3, 4)}, "gates for 4 capabilities"),
    ],
)
def test_routing_inputs_of_the_wrong_shape_are_refused(
    adapted: MakeAdapted, inputs: Inputs, change: dict[str, Tensor], message: str
) -> None:
    model = adapted()
    with pytest.raises(ValueError, match=message):
        model(**inputs | change)
    model(**inputs)


def test_two_kinds_of_gates_at_once_are_refused(adapted: MakeAdapted, inputs: Inputs) -> None:
    model = adapted()
    with model.base_model.fixed_gates(torch.ones(6, 1, 3)), pytest.raises(ValueError, match="one of the two"):
        model(**inputs, capability_gates=torch.ones(3, 3))


def test_a_second_thread_in_the_same_model_is_refused(adapted: MakeAdapted, inputs: Inputs) -> None:
    model = adapted()
    errors = []

    def enter_while_the_first_is_inside(module: nn.Module, args: tuple[Tensor, ...]) -> None:
        def second() -> None:
            try:
                model(**inputs)
            except RuntimeError as error:
                errors.append(str(error))

        thread = threading.Thread(target=second)
        thread.start()
        thread.join()

    handle = first_linear(model).register_forward_pre_hook(enter_while_the_first_is_inside)
    with pytest.raises(MissingGatesError):
        model(**inputs)
    handle.remove()
    assert len(errors) == 1
    assert "two threads" in errors[0]
    model(**inputs)
