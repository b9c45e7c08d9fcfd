"""UC-UIE: typed, source-grounded information extraction with one model and one schema language."""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ucuie.errors import UcuieError as UcuieError
    from ucuie.errors import UserError as UserError
    from ucuie.extract.extractor import Extractor as Extractor
    from ucuie.extract.remote import RemoteExtractor as RemoteExtractor
    from ucuie.extract.result import Extraction as Extraction
    from ucuie.schema import Example as Example
    from ucuie.schema import FilledSlot as FilledSlot
    from ucuie.schema import Filler as Filler
    from ucuie.schema import Frame as Frame
    from ucuie.schema import Record as Record
    from ucuie.schema import Schema as Schema
    from ucuie.schema import Slot as Slot

_MODULES = {
    "Example": "schema",
    "Extraction": "extract.result",
    "Extractor": "extract.extractor",
    "FilledSlot": "schema",
    "Filler": "schema",
    "Frame": "schema",
    "Record": "schema",
    "RemoteExtractor": "extract.remote",
    "Schema": "schema",
    "Slot": "schema",
    "UcuieError": "errors",
    "UserError": "errors",
}

__version__ = version("ucuie")
__all__ = [*_MODULES, "__version__"]


def __getattr__(name: str) -> Any:
    """Imports what is asked for: torch is loaded by the first `Extractor`, not by `import ucuie`."""
    if name not in _MODULES:
        raise AttributeError(f"module 'ucuie' has no attribute {name!r}")
    return getattr(import_module(f"ucuie.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
