"""The experiments: which jobs each needs, given what is finished already.

The learning rate of a variant is the one of the scale's grid whose model, trained with the first seed, is
best on validation texts; all variants have the same grid. Trials of several experiments are the same wherever
they can be, so a training is done once.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from ucuie.lab.experiments.trials import MASKS, Cost, Data, Evaluation, Gates, Job, RoutingTrial, Training
from ucuie.lab.experiments.variants import ABLATIONS, LONGER, VARIANTS
from ucuie.lab.experiments.workspace import Workspace
from ucuie.metrics import HEADLINE_ROWS, Report
from ucuie.schema import CAPABILITIES

ROUTERS = ("soft", "hard")
ROUTED = ("soft", "no-entropy")
"""Whose routing figure6 compares."""
LOW_RESOURCE_OF_SUB_EXPERTS = 10
"""Per cent of the training splits, in figure5."""


def headline(report: Report) -> float:
    """The unweighted mean F1 over data sets and their rows, in per cent; capability tasks count as rows."""
    scores = [one.counts.f1 for one in report.scores if one.row in (*HEADLINE_ROWS, *CAPABILITIES)]
    return sum(scores) / len(scores) if scores else 0.0


@dataclass(frozen=True)
class Plan:
    """What an experiment asks of a workspace.

    Args:
        workspace: knows what is finished.
        num_seeds: trials of everything.
        variants: of table4; others are left out.
    """

    workspace: Workspace
    num_seeds: int
    variants: tuple[str, ...] = ABLATIONS

    def tuning(self, variant: str) -> list[Job]:
        """The jobs that choose a variant's learning rate; none where there is nothing to choose."""
        rates = self.workspace.scale.learning_rates
        variant = VARIANTS[variant].tuned_as or variant
        if len(rates) == 1:
            return []
        trainings = [Training(variant, rate, seed=0) for rate in rates]
        return [job for one in trainings for job in (one, Evaluation(one, "validation"))]

    def learning_rate(self, variant: str) -> float | None:
        """The best of the grid; None while it is not known, or if all its trials crashed."""
        rates = self.workspace.scale.learning_rates
        variant = VARIANTS[variant].tuned_as or variant
        if len(rates) == 1:
            return rates[0]
        scores = {}
        for rate in rates:
            training = Training(variant, rate, seed=0)
            evaluation = Evaluation(training, "validation")
            if self.workspace.state(evaluation) == "finished":
                scores[rate] = headline(self.workspace.report(evaluation))
            elif "crashed" not in (self.workspace.state(training), self.workspace.state(evaluation)):
                return None
        return max(scores, key=scores.__getitem__) if scores else None

    def training(self, variant: str, seed: int, *, percent: int | None = None) -> Training | None:
        """A variant's training with its best learning rate; None while that is not known."""
        rate = self.learning_rate(variant)
        return None if rate is None else Training(variant, rate, seed, percent)

    def trainings(self, variant: str, *, percent: int | None = None) -> list[Training]:
        """A variant's trainings by seed; none while its learning rate is not known."""
        trainings = (self.training(variant, seed, percent=percent) for seed in range(self.num_seeds))
        return [one for one in trainings if one is not None]

    def evaluations(
        self,
        variant: str,
        seed: int,
        data: Iterable[Data] = ("test",),
        *,
        masks: Sequence[Gates | None] = (None,),
        percent: int | None = None,
    ) -> list[Job]:
        """A training and the evaluations of its model; none while its learning rate is not known."""
        training = self.training(variant, seed, percent=percent)
        if training is None:
            return []
        return [training, *(Evaluation(training, one, mask) for one in data for mask in masks)]


def _trials(plan: Plan, variants: Sequence[str]) -> list[Job]:
    """Tuning and the first seed variant by variant, then the other seeds of all."""
    jobs: list[Job] = []
    for variant in variants:
        jobs += [*plan.tuning(variant), *plan.evaluations(variant, 0)]
    for seed in range(1, plan.num_seeds):
        for variant in variants:
            jobs += plan.evaluations(variant, seed)
    return jobs


def _masked(plan: Plan, data: Sequence[Data]) -> list[Job]:
    """The soft model under each mask of its capabilities."""
    jobs = plan.tuning("soft")
    for seed in range(plan.num_seeds):
        jobs += plan.evaluations("soft", seed, data, masks=(None, *MASKS))
    return jobs


def _table2(plan: Plan) -> list[Job]:
    jobs = [job for variant in ROUTERS for job in plan.tuning(variant)]
    for seed in range(plan.num_seeds):
        for percent in plan.workspace.scale.percents:
            for variant in ROUTERS:
                jobs += plan.evaluations(variant, seed, percent=percent)
    return jobs


def _table3(plan: Plan) -> list[Job]:
    jobs = plan.tuning("soft")
    for seed in range(plan.num_seeds):
        for variant in ("soft", "no-paraphrase"):
            jobs += plan.evaluations(variant, seed, ["zero-shot"])
    return jobs


def _figure5(plan: Plan) -> list[Job]:
    jobs = plan.tuning("soft")
    for seed in range(plan.num_seeds):
        for number in plan.workspace.scale.sub_experts:
            name = f"sub-experts-{number}"
            jobs += plan.evaluations(name, seed, ["test", "zero-shot"])
            jobs += plan.evaluations(name, seed, percent=LOW_RESOURCE_OF_SUB_EXPERTS)
    return jobs


def _figure6(plan: Plan) -> list[Job]:
    jobs = plan.tuning("soft")
    for seed in range(plan.num_seeds):
        for variant in ROUTED:
            training = routed_training(plan, variant, seed)
            if training is not None:
                jobs += [training, RoutingTrial(training)]
    return jobs


def routed_training(plan: Plan, variant: str, seed: int) -> Training | None:
    """Figure 6's training, with the learning rate of the soft router, so that the loss alone is another."""
    rate = plan.learning_rate("soft")
    return None if rate is None else Training(variant, rate, seed)


@dataclass(frozen=True)
class Experiment:
    """A table or figure of the paper.

    Args:
        name: what the command calls it.
        title: what its page is called.
        jobs: what it needs.
    """

    name: str
    title: str
    jobs: Callable[[Plan], list[Job]]


EXPERIMENTS: Mapping[str, Experiment] = {
    experiment.name: experiment
    for experiment in (
        Experiment("table4", "Ablations", lambda plan: _trials(plan, plan.variants)),
        Experiment(
            "table5", "Capability tasks under single capabilities", lambda plan: _masked(plan, CAPABILITIES)
        ),
        Experiment("table6", "Extraction under single capabilities", lambda plan: _masked(plan, ["test"])),
        Experiment("figure6", "Routing of the sub-experts", _figure6),
        Experiment("table1", "Supervised extraction", lambda plan: _trials(plan, ROUTERS)),
        Experiment(
            "longer",
            "Four times as many steps",
            lambda plan: _trials(plan, LONGER) + _trials(plan, [f"{name}-longer" for name in LONGER]),
        ),
        Experiment("cost", "Time and memory", lambda _: [Cost()]),
        Experiment("table3", "Zero-shot extraction", _table3),
        Experiment("table2", "Low-resource extraction", _table2),
        Experiment("figure5", "Number of sub-experts", _figure5),
    )
}
"""Every experiment by name, in the order in which `run-all` runs them."""


RUN_ALL = "run-all"
"""Instead of an experiment's name: all of them."""
