"""The adapter as a PEFT method: whatever PEFT and transformers do with adapters works here too."""

import copy
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from adapter_cases import Inputs, MakeAdapted, MakeBackbone
from peft import PeftConfig, PeftModel, PeftType, TaskType, get_peft_model
from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING, PEFT_TYPE_TO_PREFIX_MAPPING, PEFT_TYPE_TO_TUNER_MAPPING
from peft.utils import register_peft_method
from torch import nn
from transformers import LlamaForCausalLM

from ucuie.adapter import HierarchicalMoeConfig, HierarchicalMoeLinear, HierarchicalMoeModel, register
from ucuie.errors import ConfigError


def test_registration_extends_the_enum_as_a_real_member() -> None:
    member = PeftType("HIERARCHICAL_MOE")
    assert member is PeftType.HIERARCHICAL_MOE
    assert member is PeftType["HIERARCHICAL_MOE"]
    assert isinstance(member, PeftType)
    assert member.name == member.value == "HIERARCHICAL_MOE"
    assert member in list(PeftType)
    assert list(PeftType).count("HIERARCHICAL_MOE") == 1
    assert json.dumps(member) == '"HIERARCHICAL_MOE"'
    assert copy.deepcopy(member) is member
    assert pickle.loads(pickle.dumps(member)) is member
    assert PEFT_TYPE_TO_CONFIG_MAPPING[member] is HierarchicalMoeConfig
    assert PEFT_TYPE_TO_TUNER_MAPPING[member] is HierarchicalMoeModel
    assert PEFT_TYPE_TO_PREFIX_MAPPING[member] == "hierarchical_moe_"


def test_registering_again_changes_nothing() -> None:
    before = list(PeftType)
    register()
    assert list(PeftType) == before
    with pytest.raises(KeyError, match="already PEFT method"):
        register_peft_method(
            name="hierarchical_moe", config_cls=HierarchicalMoeConfig, model_cls=HierarchicalMoeModel
        )


def test_saved_and_loaded_model_gives_equal_logits(
    adapted: MakeAdapted,
    make_backbone: MakeBackbone,
    inputs: Inputs,
    tmp_path: Path,
) -> None:
    model = adapted(r=3, num_sub_experts=2)
    model.save_pretrained(tmp_path)
    assert (tmp_path / "adapter_model.safetensors").exists()
    config = PeftConfig.from_pretrained(tmp_path)
    assert isinstance(config, HierarchicalMoeConfig)
    assert (config.r, config.num_sub_experts, config.task_type) == (3, 2, "CAUSAL_LM")
    loaded = PeftModel.from_pretrained(make_backbone(), tmp_path)
    assert torch.equal(loaded(**inputs).logits, model(**inputs).logits)
    assert not any(parameter.requires_grad for parameter in loaded.parameters())


@pytest.mark.parametrize("low_cpu_mem_usage", [True, False])
def test_loading_ways_agree(
    adapted: MakeAdapted,
    make_backbone: MakeBackbone,
    inputs: Inputs,
    tmp_path: Path,
    low_cpu_mem_usage: bool,
) -> None:
    model = adapted()
    model.save_pretrained(tmp_path)
    loaded = PeftModel.from_pretrained(
        make_backbone(), tmp_path, low_cpu_mem_usage=low_cpu_mem_usage, is_trainable=True
    )
    assert torch.equal(loaded(**inputs).logits, model(**inputs).logits)
    assert loaded.get_nb_trainable_parameters() == model.get_nb_trainable_parameters()


def test_config_file_does_not_depend_on_set_order(tmp_path: Path) -> None:
    HierarchicalMoeConfig(exclude_modules=["b", "a"]).save_pretrained(tmp_path)
    saved = json.loads((tmp_path / "adapter_config.json").read_text())
    assert saved["target_modules"] == ["down_proj", "gate_proj", "up_proj"]
    assert saved["exclude_modules"] == ["a", "b"]


def test_second_adapter_is_loaded_set_and_deleted(
    adapted: MakeAdapted,
    randomize: Callable[..., None],
    inputs: Inputs,
    tmp_path: Path,
) -> None:
    model = adapted()
    first = model(**inputs).logits
    other = adapted(router="hard", r=2, num_sub_experts=3, target_modules=["down_proj"])
    randomize(other, seed=5)
    second = other(**inputs).logits
    other.save_pretrained(tmp_path)

    model.load_adapter(tmp_path, "other")
    assert torch.equal(model(**inputs).logits, first)
    model.set_adapter("other")
    assert torch.equal(model(**inputs).logits, second)
    assert len(model.base_model.adapted_linears) == 2
    assert set(model.base_model.routing_statistics()) == set(model.base_model.adapted_linears)
    model.set_adapter("default")
    model.delete_adapter("other")
    assert torch.equal(model(**inputs).logits, first)
    assert not any("other" in name for name in model.state_dict())


def test_two_adapters_at_once_are_refused(adapted: MakeAdapted, inputs: Inputs) -> None:
    model = adapted()
    model.add_adapter("other", HierarchicalMoeConfig())
    model.base_model.set_adapter(["default", "other"])
    with pytest.raises(ValueError, match="one adapter at a time; active are 'default', 'other'"):
        model(**inputs)


def test_disabled_adapter_is_the_backbone(
    adapted: MakeAdapted, backbone: LlamaForCausalLM, inputs: Inputs
) -> None:
    plain = {name: inputs[name] for name in ("input_ids", "attention_mask")}
    want = backbone(**plain).logits
    model = adapted()
    with model.disable_adapter():
        assert torch.equal(model(**plain).logits, want)
        assert torch.equal(model(**inputs).logits, want)
    assert not torch.equal(model(**inputs).logits, want)


def num_hooks(model: nn.Module) -> int:
    return len(model._forward_pre_hooks) + len(model._forward_hooks)


def test_unloaded_model_is_the_backbone_again(
    adapted: MakeAdapted, backbone: LlamaForCausalLM, inputs: Inputs
) -> None:
    plain = {name: inputs[name] for name in ("input_ids", "attention_mask")}
    unloaded = adapted().unload()
    assert torch.equal(unloaded(**plain).logits, backbone(**plain).logits)
    assert not any(isinstance(module, HierarchicalMoeLinear) for module in unloaded.modules())
    assert num_hooks(unloaded) == 0
    again = get_peft_model(unloaded, HierarchicalMoeConfig())
    assert torch.equal(again(**inputs).logits, backbone(**plain).logits)


def test_unloading_a_copy_frees_the_copy(adapted: MakeAdapted) -> None:
    model = adapted()
    duplicate = copy.deepcopy(model)
    assert num_hooks(duplicate.unload()) == 0
    assert num_hooks(model.get_base_model()) == 2  # before and after its forward


def test_merging_says_why_it_cannot(adapted: MakeAdapted) -> None:
    model = adapted()
    for merge in (model.merge_and_unload, model.merge_adapter):
        with pytest.raises(NotImplementedError, match="depends on the instruction and on every token"):
            merge()


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_copies_work_after_a_forward_and_share_nothing(
    adapted: MakeAdapted, inputs: Inputs, duplicate: Callable[[PeftModel], PeftModel]
) -> None:
    model = adapted()
    model.base_model.set_capabilities(["judging"])
    logits = model(**inputs).logits
    other = duplicate(model)
    assert torch.equal(other(**inputs).logits, logits)
    other.base_model.set_capabilities(["locating"])
    assert torch.equal(model(**inputs).logits, logits)
    with pytest.raises(RuntimeError, match="run one first"):
        duplicate(model).base_model.auxiliary_losses()


def test_task_type_is_always_causal_lm() -> None:
    assert HierarchicalMoeConfig().task_type == TaskType.CAUSAL_LM
    with pytest.raises(ConfigError, match="task_type must be CAUSAL_LM"):
        HierarchicalMoeConfig(task_type="SEQ_CLS")


def test_all_faults_of_a_config_are_reported_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        HierarchicalMoeConfig(
            r=0, router="both", num_levels=3, use_shared_expert=False, use_capability_experts=False
        )
    for fault in ("r must", 'router must be "soft" or "hard"', "num_levels must", "nothing to train"):
        assert fault in str(caught.value)


@pytest.mark.parametrize(
    ("config", "linears"),
    [
        ({"exclude_modules": ["gate_proj", "up_proj"]}, {"0.mlp.down_proj", "1.mlp.down_proj"}),
        ({"layers_to_transform": [1], "target_modules": ["up_proj"]}, {"1.mlp.up_proj"}),
        (
            {"layers_to_transform": [0], "layers_pattern": "layers", "target_modules": ["q_proj", "v_proj"]},
            {"0.self_attn.q_proj", "0.self_attn.v_proj"},
        ),
        ({"target_modules": r".*\.0\..*down_proj"}, {"0.mlp.down_proj"}),
    ],
)
def test_linears_are_chosen_as_in_other_peft_methods(
    adapted: MakeAdapted, inputs: Inputs, config: dict[str, Any], linears: set[str]
) -> None:
    model = adapted(**config)
    assert set(model.base_model.adapted_linears) == {"model.layers." + name for name in linears}
    model(**inputs)
    assert set(model.base_model.routing_statistics()) == set(model.base_model.adapted_linears)


def test_a_failed_attempt_leaves_the_backbone_usable(backbone: LlamaForCausalLM, inputs: Inputs) -> None:
    with pytest.raises(ValueError, match="not found in the base model"):
        get_peft_model(backbone, HierarchicalMoeConfig(target_modules=["nowhere"]))
    assert num_hooks(backbone) == 0
    get_peft_model(backbone, HierarchicalMoeConfig())(**inputs)
    assert num_hooks(backbone) == 2


def test_a_flattened_batch_is_refused(adapted: MakeAdapted) -> None:
    layer = adapted().get_submodule("base_model.model.model.layers.0.mlp.gate_proj")
    with pytest.raises(ValueError, match=r"got \(6, 16\), wanted \(batch, tokens, width\)"):
        layer(torch.randn(6, 16))


def test_only_linears_can_be_adapted(backbone: LlamaForCausalLM) -> None:
    with pytest.raises(TypeError, match=r"model\.embed_tokens is a Embedding"):
        get_peft_model(backbone, HierarchicalMoeConfig(target_modules=["embed_tokens"]))


@pytest.mark.filterwarnings("ignore:Already found a `peft_config` attribute:UserWarning")
def test_transformers_adds_and_loads_adapters(
    adapted: MakeAdapted,
    make_backbone: MakeBackbone,
    randomize: Callable[..., None],
    inputs: Inputs,
    tmp_path: Path,
) -> None:
    model = adapted()
    model.save_pretrained(tmp_path)
    want = model(**inputs).logits

    loaded = make_backbone()
    loaded.load_adapter(tmp_path)
    assert torch.equal(loaded(**inputs).logits, want)

    other = make_backbone()
    other.add_adapter(HierarchicalMoeConfig(), "mine")
    randomize(other)
    assert torch.equal(other(**inputs).logits, want)
    other.add_adapter(HierarchicalMoeConfig(), "second")
    other.set_adapter("mine")
    assert torch.equal(other(**inputs).logits, want)
    other.disable_adapters()
    assert not torch.equal(other(**inputs).logits, want)


def test_bfloat16_backbone_stays_close_to_float32(
    adapted: MakeAdapted,
    make_backbone: MakeBackbone,
    randomize: Callable[..., None],
    inputs: Inputs,
) -> None:
    model = adapted()
    want = model(**inputs).logits
    low = get_peft_model(make_backbone().to(torch.bfloat16), HierarchicalMoeConfig()).eval()
    randomize(low)
    logits = low(**inputs).logits
    assert logits.dtype == torch.bfloat16
    assert {p.dtype for name, p in low.named_parameters() if "hierarchical_moe_" in name} == {torch.float32}
    assert (logits.float() - want).norm() / want.norm() < 0.1
    losses = low.base_model.auxiliary_losses()
    assert losses.bce.dtype == losses.entropy.dtype == torch.float32


def test_autocast_keeps_routing_in_float32(adapted: MakeAdapted, inputs: Inputs) -> None:
    model = adapted()
    want = model(**inputs).logits
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = model(**inputs).logits
        losses = model.base_model.auxiliary_losses()
    assert (logits.float() - want).norm() / want.norm() < 0.1
    assert losses.bce.dtype == losses.entropy.dtype == torch.float32
    assert all(entry.usage.dtype == torch.float32 for entry in model.base_model.state.records.values())


@pytest.mark.parametrize("kind", ["Linear4bit", "Linear8bitLt"])
def test_quantised_linears_can_be_adapted(
    make_backbone: MakeBackbone,
    randomize: Callable[..., None],
    inputs: Inputs,
    kind: str,
) -> None:
    bitsandbytes = pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed")
    backbone = make_backbone()
    for layer in backbone.model.layers:
        for name in ("gate_proj", "up_proj", "down_proj"):
            linear = getattr(layer.mlp, name)
            settings = {"Linear8bitLt": {"has_fp16_weights": False}, "Linear4bit": {}}[kind]
            quantised = getattr(bitsandbytes.nn, kind)(
                linear.in_features, linear.out_features, bias=False, **settings
            )
            quantised.load_state_dict(linear.state_dict())
            setattr(layer.mlp, name, quantised.to("cpu"))
    plain = {name: inputs[name] for name in ("input_ids", "attention_mask")}
    want = backbone(**plain).logits
    model = get_peft_model(backbone, HierarchicalMoeConfig())
    assert torch.equal(model(**inputs).logits, want)
    randomize(model)
    model(**inputs).loss.backward()
    assert all(p.grad is not None for name, p in model.named_parameters() if "_up" in name)
