"""Fields of pydantic models as parameters; an extension of griffe, which reads the docstrings."""

from typing import Any

import griffe

BASES = {"BaseModel", "ExpertUse", "_Value"}
"""What the documented models inherit from, as their class statements have it."""


class PydanticFields(griffe.Extension):
    """Gives every model the `__init__` that pydantic makes when the program runs."""

    def on_class_members(self, *, cls: griffe.Class, **_: Any) -> None:
        """Adds it, once the fields of the class are known."""
        is_dataclass = any("pydantic_dataclass" in str(one.value) for one in cls.decorators)
        if not is_dataclass and BASES.isdisjoint(map(str, cls.bases)):
            return
        fields = [
            griffe.Parameter(
                name,
                annotation=field.annotation,
                kind=griffe.ParameterKind.keyword_only,
                default=_default(field.value),
            )
            for name, field in cls.members.items()
            if field.is_attribute and field.annotation is not None and "property" not in field.labels
        ]
        this = griffe.Parameter("self", kind=griffe.ParameterKind.positional_or_keyword)
        init = griffe.Function("__init__", parameters=griffe.Parameters(this, *fields), parent=cls)
        cls.set_member("__init__", init)


def _default(value: Any) -> Any:
    """The default of a field; None where it has none."""
    if not isinstance(value, griffe.ExprCall):
        return value
    if str(value.function) == "_if_given":
        return "None"
    keywords = (one for one in value.arguments if isinstance(one, griffe.ExprKeyword))
    return next((one.value for one in keywords if one.name == "default"), None)
