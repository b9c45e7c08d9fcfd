"""YAML whose strings remember their lines, so that faults in what they say can be told with their place.

Every scalar is a string or null (`no` is a name, not false), and keys are unique. How they make a schema is
not known here.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from ucuie.errors import show


def load_located(text: str) -> Any:
    """The content of some YAML.

    Raises:
        YAMLError: it is malformed, refers to other places, or has a key twice or one that is no name.
    """
    return yaml.load(text, Loader=_Loader)  # noqa: S506 - a SafeLoader subclass


def line_at(node: Any, location: Sequence[int | str]) -> int | None:
    """The line of the innermost located string on the way to `location`, if the source has lines."""
    line = _first_line(node)
    for step in location:
        if isinstance(node, Mapping):
            line = next((_first_line(key) for key in node if key == step), None) or line
        try:
            node = node[step]
        except (KeyError, IndexError, TypeError):
            break
        line = _first_line(node) or line
    return line


def _first_line(node: Any) -> int | None:
    if isinstance(node, _LocatedString):
        return node.line
    if isinstance(node, Mapping):
        return _first_line(node.get("name"))
    return None


class _LocatedString(str):
    """A string that remembers the line of the file it stands on."""

    line: int


class _Loader(yaml.SafeLoader):
    """Nothing may refer to another place: a few lines of references to references would fill any memory."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - declared by the base class
        first: [(tag, pattern) for tag, pattern in resolvers if tag == "tag:yaml.org,2002:null"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            problem = "a schema is written out, without references to other places"
            raise yaml.composer.ComposerError(None, None, problem, mark)
        return super().compose_node(parent, index)

    def construct_located_string(self, node: yaml.ScalarNode) -> _LocatedString:
        string = _LocatedString(self.construct_scalar(node))
        string.line = node.start_mark.line + 1
        return string

    def construct_unique_mapping(self, node: yaml.MappingNode) -> dict[Any, Any]:
        mapping = {}
        for key_node, value_node in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, str):
                raise yaml.constructor.ConstructorError(
                    None, None, "a key is not a name", key_node.start_mark
                )
            if key in mapping:
                problem = f"the key {show(str(key))} stands twice"
                raise yaml.constructor.ConstructorError(None, None, problem, key_node.start_mark)
            mapping[key] = self.construct_object(value_node, deep=True)
        return mapping


_Loader.add_constructor("tag:yaml.org,2002:str", _Loader.construct_located_string)
_Loader.add_constructor("tag:yaml.org,2002:map", _Loader.construct_unique_mapping)
