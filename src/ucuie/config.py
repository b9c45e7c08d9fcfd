"""Typed configuration from YAML: one pydantic class a program, unknown keys refused with the nearest one.

Overrides come as `section.key=value` strings, their values read as YAML.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from ucuie.errors import ConfigError, did_you_mean, show


class Config(BaseModel):
    """Base of all configurations: immutable, and strict about its keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def load(cls, path: str | Path | None = None, *, overrides: Sequence[str] = ()) -> Self:
        """The configuration in a YAML file (defaults without one) with `a.b=1` overrides on top.

        Raises:
            ConfigError: the file is missing or malformed, or holds unknown keys or impossible values; all
                faults at once.
        """
        values = {} if path is None else _read_yaml(Path(path))
        for override in overrides:
            _set(values, override)
        return validate_config(cls, values, origin=str(path or "the options"))


C = TypeVar("C", bound=BaseModel)


def validate_config(config_class: type[C], values: Any, *, origin: str) -> C:
    """`values` as a `config_class`, or one ConfigError with every fault in it."""
    try:
        return config_class.model_validate(values)
    except ValidationError as error:
        faults = [_explain(config_class, fault) for fault in error.errors()]
        raise ConfigError(f"in {origin}\n  " + "\n  ".join(faults)) from None


def _explain(config_class: type[BaseModel], fault: Any) -> str:
    *parents, key = fault["loc"] or ("",)
    place = ".".join(map(str, fault["loc"]))
    if fault["type"] != "extra_forbidden":
        message: str = fault["msg"].removeprefix("Value error, ")
        # What is wrong between keys names them itself.
        return f"{place}: {message} (given: {show(fault['input'])})" if place else message
    return f"{place}: unknown key{did_you_mean(str(key), _keys_at(config_class, parents))}"


def _keys_at(config_class: type[BaseModel], location: Sequence[int | str]) -> list[str]:
    for step in location:
        field = config_class.model_fields.get(str(step))
        inner = field and field.annotation
        if not (isinstance(inner, type) and issubclass(inner, BaseModel)):
            return []
        config_class = inner
    return list(config_class.model_fields)


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError(f"there is no file {show(str(path))}") from None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else "?"
        raise ConfigError(f"{error.problem} ({path}, line {line})") from None
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(f"{path} cannot be read: {reason}") from None
    if not isinstance(values, dict | None):
        raise ConfigError(f"{path} holds {show(values)}, not a mapping from keys to values")
    return values or {}


def _set(values: dict[str, Any], override: str) -> None:
    place, equals, text = override.partition("=")
    if not equals or not place.strip():
        raise ConfigError(f"{show(override)} is not of the form section.key=value")
    *parents, key = place.strip().split(".")
    for parent in parents:
        values = values.setdefault(parent, {})
        if not isinstance(values, dict):
            raise ConfigError(f"{show(override)} goes into {parent!r}, which is not a section")
    try:
        values[key] = yaml.safe_load(text)
    except yaml.YAMLError:
        raise ConfigError(f"the value of {show(override)} is not YAML") from None
