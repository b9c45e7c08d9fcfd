"""The collections that the released model learns from, each read by a module of this folder.

A module names its own in `SOURCES: tuple[Source, ...]`; a module without that is a helper of others.
"""

from importlib import import_module
from pkgutil import iter_modules

from making.sources.source import Source

__all__ = ["SOURCES", "Source"]


def _collected() -> dict[str, Source]:
    modules = [
        import_module(f"{__name__}.{module.name}")
        for module in iter_modules(__path__)
        if module.name != "__main__"
    ]
    sources = [source for module in modules for source in getattr(module, "SOURCES", ())]
    return {source.name: source for source in sorted(sources, key=lambda source: source.name)}


SOURCES: dict[str, Source] = _collected()
"""Every source by its name."""
