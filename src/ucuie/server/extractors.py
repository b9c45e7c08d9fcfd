"""The models of a server and their extractors, for one thread alone: a model is never in two at a time."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ucuie.errors import contained
from ucuie.extract.query import Query, answer_each
from ucuie.extract.result import Extraction
from ucuie.schema import CAPABILITIES, Capability
from ucuie.server.messages import ModelFactsMessage

if TYPE_CHECKING:
    from ucuie.extract.extractor import Extractor
    from ucuie.model.folder import LoadedModel

_MAX_EXTRACTORS = 3
"""Each keeps caches of its own."""


@dataclass(frozen=True)
class Switches:
    """The parts of a model that take part; queries with equal switches may share a batch.

    Args:
        capabilities: the capability experts; None means all.
        model: by its name; None means the first.
    """

    capabilities: tuple[Capability, ...] | None = None
    model: str | None = None


class Extractors:
    """An extractor for each set of switches, the last few; they share the models.

    Args:
        load: gives the models by their names, the first for requests that name none.
        **options: of the extractors, such as `batch_size`.
    """

    def __init__(self, load: "Callable[[], Mapping[str, LoadedModel]]", **options: Any) -> None:
        self._load = load
        self._options = options
        self._loaded: Mapping[str, LoadedModel] = {}
        self._extractors: dict[Switches, Extractor] = {}

    def prepare(self) -> dict[str, ModelFactsMessage]:
        """Loads the models; gives what there is to say about them by their names."""
        self._loaded = self._load()
        for name in reversed(list(self._loaded)):
            self._extractor(Switches(model=name))
        return {name: _facts(name, loaded) for name, loaded in self._loaded.items()}

    def answer(self, queries: Sequence[Query], switches: Switches) -> list[Extraction | Exception]:
        """The extraction of each query, or why there is none."""
        try:
            extractor = self._extractor(switches)
        except BaseException as error:  # of any class: the engine goes on with other switches
            return [contained(error)] * len(queries)
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


def _facts(name: str, loaded: "LoadedModel") -> ModelFactsMessage:
    model = loaded.model
    return ModelFactsMessage(
        name=name,
        num_parameters=model.num_parameters(),
        device=str(next(model.parameters()).device),
        capabilities=_switchable(model),
        context_tokens=getattr(model.config, "max_position_embeddings", None),
        end_bias=loaded.operating_point.end_bias,
        threshold=loaded.operating_point.thresholds,
    )


def _switchable(model: Any) -> list[Capability]:
    """The capabilities that can be switched; none where the adapter has no experts for them."""
    try:
        with model.base_model.capabilities(*CAPABILITIES):
            return list(CAPABILITIES)
    except (AttributeError, ValueError):
        return []
