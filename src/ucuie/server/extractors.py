"""The models of a server, and what extracts with them: all that the engine's thread does.

Only that thread comes here, so that a model is never in two threads at the same time.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ucuie.extract.query import Query, answer_each
from ucuie.extract.result import Extraction
from ucuie.model.operating_point import OperatingPoint
from ucuie.schema import CAPABILITIES, Capability

if TYPE_CHECKING:
    from ucuie.extract.extractor import Extractor
    from ucuie.model.folder import LoadedModel

_MAX_EXTRACTORS = 3
"""Each keeps caches of its own."""


@dataclass(frozen=True)
class Switches:
    """What of the model takes part; queries with equal switches may share a batch.

    Args:
        capabilities: the capability experts; None means all.
        model: by its name; None means the first.
    """

    capabilities: tuple[Capability, ...] | None = None
    model: str | None = None


@dataclass(frozen=True)
class ModelFacts:
    """What can be said about the model without asking it.

    Args:
        name: the model's, as extractions call it.
        num_parameters: backbone and adapter together.
        device: where it runs, such as "cpu".
        capabilities: those that can be switched; empty for a model without capability experts.
        context_tokens: of prompt and output together; None if it has no limit.
        operating_point: where it stands unless a request says otherwise.
    """

    name: str
    num_parameters: int
    device: str
    capabilities: tuple[Capability, ...]
    context_tokens: int | None
    operating_point: OperatingPoint


class Extractors:
    """An extractor for each set of switches, the last few; they share the models.

    Args:
        load: gives the models by their names, the first for requests that name none.
        batch_size: texts per forward pass.
        options: of the extractors, such as `max_new_tokens`.
    """

    def __init__(
        self, load: "Callable[[], Mapping[str, LoadedModel]]", *, batch_size: int, **options: Any
    ) -> None:
        self._load = load
        self._options = options | {"batch_size": batch_size}
        self._loaded: Mapping[str, LoadedModel] = {}
        self._extractors: dict[Switches, Extractor] = {}

    def prepare(self) -> dict[str, ModelFacts]:
        """Loads the models, and says what there is to say about them.

        Raises:
            ModelError: one cannot be loaded.
        """
        self._loaded = self._load()
        for name in reversed(list(self._loaded)):
            self._extractor(Switches(model=name))
        return {name: _facts(loaded) for name, loaded in self._loaded.items()}

    def answer(self, queries: Sequence[Query], switches: Switches) -> list[Extraction | Exception]:
        """The extraction of each query, or why there is none."""
        try:
            extractor = self._extractor(switches)
        except Exception as error:  # of any class: the engine goes on with other switches
            return [error for _ in queries]
        return answer_each(extractor, queries)

    def _extractor(self, switches: Switches) -> "Extractor":
        name = next(iter(self._loaded)) if switches.model is None else switches.model
        switches = replace(switches, model=name)
        extractor = self._extractors.pop(switches, None)
        if extractor is None:
            from ucuie.extract.extractor import Extractor

            extractor = Extractor(self._loaded[name], capabilities=switches.capabilities, **self._options)
        self._extractors[switches] = extractor
        if len(self._extractors) > _MAX_EXTRACTORS + len(self._loaded) - 1:
            del self._extractors[next(iter(self._extractors))]
        return extractor


def _facts(loaded: "LoadedModel") -> ModelFacts:
    model = loaded.model
    return ModelFacts(
        name=loaded.name,
        num_parameters=model.num_parameters(),
        device=str(next(model.parameters()).device),
        capabilities=_switchable(model),
        context_tokens=getattr(model.config, "max_position_embeddings", None),
        operating_point=loaded.operating_point,
    )


def _switchable(model: Any) -> tuple[Capability, ...]:
    """The capabilities that can be switched; none where the adapter has no experts for them."""
    try:
        with model.base_model.capabilities(*CAPABILITIES):
            return CAPABILITIES
    except (AttributeError, ValueError):
        return ()
