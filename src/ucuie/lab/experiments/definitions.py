"""The experiments: which jobs each needs, given what is finished already, and what finished ones gave.

The learning rate of a variant is the one of the scale's grid whose model, trained with the first seed, is
best on validation texts; all variants have the same grid. Trials of several experiments are the same wherever
they can be, so a training is done once.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ucuie.lab.experiments.tables import headline
from ucuie.lab.experiments.trials import MASKS, Cost, Data, Evaluation, Gates, Job, Training
from ucuie.lab.experiments.variants import ABLATIONS, LONGER, VARIANTS
from ucuie.lab.experiments.workspace import Workspace
from ucuie.metrics import Report
from ucuie.schema import CAPABILITIES

ROUTERS = ("soft", "hard")
ROUTED = ("soft", "no-entropy")
"""Whose routing figure6 compares."""
LOW_RESOURCE_OF_SUB_EXPERTS = 10
"""Per cent of the training splits, in figure5."""


@dataclass(frozen=True)
class Plan:
    """The jobs that an experiment asks of a workspace.

    Args:
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

    def trainings(
        self, variant: str, *, percent: int | None = None, rate_of: str | None = None
    ) -> list[Training]:
        """A variant's trainings by seed, at its best learning rate or another's; none while it is unknown."""
        rate = self.learning_rate(rate_of or variant)
        return (
            [] if rate is None else [Training(variant, rate, seed, percent) for seed in range(self.num_seeds)]
        )

    def is_finished(self, job: Job) -> bool:
        """Tell whether the result of a job is there."""
        return self.workspace.state(job) == "finished"

    def finished_trainings(self, variant: str) -> list[Training]:
        """The finished trainings of a variant, by seed."""
        return list(filter(self.is_finished, self.trainings(variant)))

    def finished(
        self, variant: str, data: Data = "test", *, gates: Gates | None = None, **trained: Any
    ) -> list[Evaluation]:
        """The finished evaluations of a variant's models, by seed; `trained` is as of `trainings`."""
        evaluations = (Evaluation(one, data, gates) for one in self.trainings(variant, **trained))
        return list(filter(self.is_finished, evaluations))

    def reports(self, variant: str, data: Data = "test", **of: Any) -> list[Report]:
        """The finished reports of a variant, by seed; arguments as of `finished`."""
        return list(map(self.workspace.report, self.finished(variant, data, **of)))


@dataclass(frozen=True)
class _Wanted:
    """What an experiment evaluates a variant's models on, in every trial.

    Args:
        data: one evaluation for each, under every mask.
        rate_of: the variant whose learning rate it takes, instead of the one that `VARIANTS` says.
    """

    variant: str
    data: Sequence[Data] = ("test",)
    masks: Sequence[Gates | None] = (None,)
    percent: int | None = None
    rate_of: str | None = None

    def jobs(self, training: Training) -> list[Job]:
        """One of its trainings, and what its model is evaluated on."""
        return [training, *(Evaluation(training, data, mask) for data in self.data for mask in self.masks)]


@dataclass(frozen=True)
class Experiment:
    """A table or figure of the paper.

    Args:
        wanted: what it evaluates; None measures the cost of all variants instead.
    """

    name: str
    title: str
    wanted: Callable[[Plan], Iterable[_Wanted]] | None

    def jobs(self, plan: Plan) -> list[Job]:
        """The jobs, in order: tuning and the first seed variant by variant, then the other seeds of all."""
        if self.wanted is None:
            return [Cost()]
        wanted = list(self.wanted(plan))
        trainings = [plan.trainings(one.variant, percent=one.percent, rate_of=one.rate_of) for one in wanted]
        jobs: list[Job] = []
        for seed in range(plan.num_seeds):
            for one, of_one in zip(wanted, trainings, strict=True):
                if seed == 0:
                    jobs += plan.tuning(one.rate_of or one.variant)
                for training in of_one[seed : seed + 1]:
                    jobs += one.jobs(training)
        return jobs


def _figure5(plan: Plan) -> Iterator[_Wanted]:
    for number in plan.workspace.scale.sub_experts:
        name = f"sub-experts-{number}"
        yield _Wanted(name, ["test", "zero-shot"])
        yield _Wanted(name, percent=LOW_RESOURCE_OF_SUB_EXPERTS)


EXPERIMENTS: Mapping[str, Experiment] = {
    experiment.name: experiment
    for experiment in (
        Experiment("table4", "Ablations", lambda plan: map(_Wanted, plan.variants)),
        Experiment(
            "table5",
            "Capability tasks under single capabilities",
            lambda _: [_Wanted("soft", CAPABILITIES, (None, *MASKS))],
        ),
        Experiment(
            "table6",
            "Extraction under single capabilities",
            lambda _: [_Wanted("soft", masks=(None, *MASKS))],
        ),
        Experiment(
            "figure6",
            "Routing of the sub-experts",
            # At one learning rate, so that the loss alone is another.
            lambda _: [_Wanted(variant, ["routing"], rate_of="soft") for variant in ROUTED],
        ),
        Experiment("table1", "Supervised extraction", lambda _: map(_Wanted, ROUTERS)),
        Experiment(
            "longer",
            "Four times as many steps",
            lambda _: map(_Wanted, (*LONGER, *(f"{name}-longer" for name in LONGER))),
        ),
        Experiment("cost", "Time and memory", None),
        Experiment(
            "table3",
            "Zero-shot extraction",
            lambda _: [_Wanted(variant, ["zero-shot"]) for variant in ("soft", "no-paraphrase")],
        ),
        Experiment(
            "table2",
            "Low-resource extraction",
            lambda plan: [
                _Wanted(variant, percent=percent)
                for percent in plan.workspace.scale.percents
                for variant in ROUTERS
            ],
        ),
        Experiment("figure5", "Number of sub-experts", _figure5),
    )
}
"""Every experiment by name, in the order in which `run-all` runs them."""

RUN_ALL = "run-all"
"""Instead of an experiment's name: all of them."""
