"""Settings of the hierarchical mixture-of-experts adapter, as PEFT reads and writes them.

In: the values of `adapter_config.json`. Out: a checked `HierarchicalMoeConfig` and the `Layout` of the
stacked parameters it leads to. Knows nothing about models or tensors.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

from peft import PeftConfig, PeftType, TaskType

from ucuie.errors import ConfigError

PEFT_TYPE_NAME = "HIERARCHICAL_MOE"
CAPABILITIES = ("judging", "locating", "associating")
MAX_ALPHA = 1_000_000


def register_peft_type() -> PeftType:
    """Make `HIERARCHICAL_MOE` a member of PEFT's enum of methods and return it; later calls change nothing.

    PEFT's `register_peft_method` takes only members of `PeftType`, and `transformers` looks a loaded
    adapter up by the member's `.value`, so a plain string in PEFT's tables would not do.
    """
    if PEFT_TYPE_NAME in PeftType.__members__:
        return PeftType[PEFT_TYPE_NAME]
    member = str.__new__(PeftType, PEFT_TYPE_NAME)
    member._name_ = member._value_ = PEFT_TYPE_NAME
    PeftType._member_map_[PEFT_TYPE_NAME] = member
    PeftType._value2member_map_[PEFT_TYPE_NAME] = member
    PeftType._member_names_.append(PEFT_TYPE_NAME)
    return member


@dataclass(frozen=True)
class Layout:
    """The places of experts and routers in the stacked parameters of one adapted linear.

    The rows of `down` and the columns of `up` are, in this order: the shared expert, then capability by
    capability its sub-experts, `rank` each. Below them `down` holds the routers: one row per sub-expert
    (`W_i`), then one per capability (`W_G`, only with a soft router).
    """

    rank: int
    scaling: float
    has_shared_expert: bool
    num_capabilities: int
    num_sub_experts: int
    num_levels: int
    has_soft_router: bool

    @property
    def num_routed_experts(self) -> int:
        """Experts that a router weighs: C * Q."""
        return self.num_capabilities * self.num_sub_experts

    @property
    def num_experts(self) -> int:
        """All experts, the shared one included: 13 in the paper."""
        return int(self.has_shared_expert) + self.num_routed_experts

    @property
    def num_ranks(self) -> int:
        """R, columns of the stacked down-projection: 52 in the paper."""
        return self.rank * self.num_experts

    @property
    def choices(self) -> tuple[int, int]:
        """(softmaxes, experts in each): (C, Q) with two levels, (1, C * Q) with one."""
        if self.num_levels == 1:
            return 1, self.num_routed_experts
        return self.num_capabilities, self.num_sub_experts

    @property
    def num_gates(self) -> int:
        """Capability gates: C with two levels, otherwise 0."""
        return self.num_capabilities if self.num_levels == 2 else 0

    @property
    def routes_capabilities(self) -> bool:
        """True where the linear computes its capability gates itself (`W_G`)."""
        return self.has_soft_router and self.num_gates > 0

    @property
    def columns(self) -> tuple[int, int, int]:
        """Widths of one projected token: ranks, sub-expert router logits, capability router logits."""
        return self.num_ranks, self.num_routed_experts, self.num_gates if self.routes_capabilities else 0


@dataclass
class HierarchicalMoeConfig(PeftConfig):  # type: ignore[misc]  # PEFT is not type-checked
    """Settings of the adapter of UC-UIE, Section 3.4; the defaults are the paper's (Section 4.1).

    Args:
        r: rank of every expert.
        alpha: every expert is scaled by `alpha / r`.
        num_sub_experts: Q, sub-experts of each capability expert.
        num_capabilities: C, capability experts.
        router: what the capability gates are. "soft": a sigmoid over the mean hidden state of the
            instruction; "hard": the row's `capability_labels`.
        use_shared_expert: True has one more expert, which is always on.
        use_capability_experts: False leaves the shared expert alone, which is plain LoRA.
        num_levels: 2 is the paper's hierarchy; 1 is a flat LoRA-MoE, one softmax over all C * Q experts
            and no capability gates.
        target_modules: names (or a regex) of the linears to adapt.
        exclude_modules: names (or a regex) of linears to leave alone.
        layers_to_transform: indexes of the layers to adapt; None adapts all.
        layers_pattern: name of the backbone's list of layers, when it is an unusual one.
        task_type: "CAUSAL_LM", nothing else.
    """

    task_type: str | None = TaskType.CAUSAL_LM
    r: int = 4
    alpha: float = 8
    num_sub_experts: int = 4
    num_capabilities: int = 3
    router: Literal["soft", "hard"] = "soft"
    use_shared_expert: bool = True
    use_capability_experts: bool = True
    num_levels: int = 2
    target_modules: list[str] | set[str] | str | None = field(
        default_factory=lambda: ["gate_proj", "up_proj", "down_proj"]
    )
    exclude_modules: list[str] | set[str] | str | None = None
    layers_to_transform: list[int] | int | None = None
    layers_pattern: list[str] | str | None = None

    def __post_init__(self) -> None:
        # With no task type PeftModel.forward bypasses the tuner, and auxiliary losses vanish silently.
        if self.task_type is None:
            self.task_type = TaskType.CAUSAL_LM
        super().__post_init__()
        self.peft_type = register_peft_type()
        for name in ("target_modules", "exclude_modules"):
            if isinstance(value := getattr(self, name), list):
                setattr(self, name, set(value))
        if faults := self._faults():
            raise ConfigError("HierarchicalMoeConfig: " + "; ".join(faults))

    def _faults(self) -> list[str]:
        faults = [
            f"{name} must be at least 1, not {getattr(self, name)}"
            for name in ("r", "num_sub_experts", "num_capabilities")
            if getattr(self, name) < 1
        ]
        if not 0 < self.alpha <= MAX_ALPHA:
            faults.append(f"alpha must be above 0 and at most {MAX_ALPHA:,}, not {self.alpha}")
        if self.router not in ("soft", "hard"):
            faults.append(f'router must be "soft" or "hard", not {self.router!r}')
        if self.num_levels not in (1, 2):
            faults.append(f"num_levels must be 1 or 2, not {self.num_levels}")
        if not (self.use_shared_expert or self.use_capability_experts):
            faults.append("use_shared_expert and use_capability_experts are both off: nothing to train")
        if self.task_type != TaskType.CAUSAL_LM:
            faults.append(f"task_type must be CAUSAL_LM, not {self.task_type}")
        if isinstance(self.target_modules, str) and self.layers_to_transform is not None:
            faults.append("layers_to_transform needs target_modules as a list of names, not a regex")
        if self.layers_pattern and self.layers_to_transform is None:
            faults.append("layers_pattern needs layers_to_transform")
        return faults

    @property
    def capability_names(self) -> tuple[str, ...]:
        """Names in the order of the gates: the paper's three, else `capability_0` and so on."""
        if self.num_capabilities == len(CAPABILITIES):
            return CAPABILITIES
        return tuple(f"capability_{index}" for index in range(self.num_capabilities))

    def layout(self) -> Layout:
        """The layout of every linear that this configuration adapts."""
        return Layout(
            rank=self.r,
            scaling=self.alpha / self.r,
            has_shared_expert=self.use_shared_expert,
            num_capabilities=self.num_capabilities if self.use_capability_experts else 0,
            num_sub_experts=self.num_sub_experts if self.use_capability_experts else 0,
            num_levels=self.num_levels,
            has_soft_router=self.router == "soft",
        )

    def to_dict(self) -> dict[str, Any]:
        """The content of `adapter_config.json`; sets become sorted lists, so files are reproducible."""
        return {
            key: sorted(value) if isinstance(value, set) else value
            for key, value in super().to_dict().items()
        }
