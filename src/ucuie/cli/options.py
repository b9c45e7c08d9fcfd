"""Flags made of options that are declared elsewhere: a command takes a whole group of them as one value.

    @grouped
    def command(*, answer: AnswerFlags, model: ModelFlags) -> None: ...

`command` is given an `AnswerOptions` and a `ModelOptions`; its help lists every field of theirs. What was
given is in their `model_fields_set`.
"""

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import wraps
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer
from annotated_types import Ge
from pydantic import BaseModel, Field
from rich.console import Console
from rich.text import Text

from ucuie.cli.common import refuse
from ucuie.extract.options import AnswerOptions, ModelOptions, Thresholds

if TYPE_CHECKING:
    from ucuie.extract.extractor import Extractor
    from ucuie.extract.remote import RemoteExtractor

NOT_ELSEWHERE = "is for a model here, not for one behind --endpoint"
NOT_HERE = "is for a model behind --endpoint, so give that too"


class EndpointOptions(BaseModel, frozen=True, use_attribute_docstrings=True):
    """An OpenAI-compatible server that is asked instead of a model here."""

    endpoint: str | None = None
    """Ask an OpenAI-compatible server, such as http://localhost:8000/v1, instead of a model here; its key, if
    it wants one, is taken from the environment: UCUIE_ENDPOINT_KEY or OPENAI_API_KEY."""

    endpoint_model: str | None = None
    """The model, as the endpoint calls it."""

    constraint: str | None = None
    """What the endpoint has to hold answers to: grammar, json-schema or none; left out, or auto, the first of
    these that it obeys."""

    window_characters: int | None = Field(default=None, ge=1)
    """Longer texts are sent to the endpoint in windows of so many characters."""

    concurrency: int | None = Field(default=None, ge=1)
    """Requests to the endpoint at the same time, at most."""

    def connect(self, model: ModelOptions, talk: Console) -> "RemoteExtractor":
        """An extractor that asks the endpoint, once that has told what it obeys, which is said to `talk`.

        Of the options of a model only `max_new_tokens` means something elsewhere.
        """
        from ucuie.extract.remote import RemoteExtractor

        refuse(model.model_fields_set - {"max_new_tokens"}, NOT_ELSEWHERE)
        if self.endpoint_model is None:
            raise typer.BadParameter(
                "the endpoint has to be told which model", param_hint="'--endpoint-model'"
            )
        options: dict[str, Any] = {
            "constraint": self.constraint,
            "window_characters": self.window_characters,
            "num_concurrent": self.concurrency,
            "max_new_tokens": model.max_new_tokens,
        }
        given = {name: value for name, value in options.items() if value is not None}
        extractor = RemoteExtractor(self.endpoint or "", self.endpoint_model, **given)
        with talk.status(Text(f"asking {self.endpoint_model} what its answers can be held to")):
            found = extractor.connect()
        talk.print(f"answers of {self.endpoint_model} are held to: {found}")
        return extractor


@dataclass(frozen=True)
class Flag:
    """How a field looks on the command line, where its declaration does not say it."""

    names: tuple[str, ...] = ()
    """Instead of its own with two dashes."""
    kind: Any = None
    """Type of what is given, if not the field's."""
    metavar: str | None = None
    read: Callable[[Any], Any] = lambda given: given
    """Makes the field's value of what is given."""
    example: str = ""
    """What the help adds."""


def _names(listed: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in listed.split(",") if name.strip())


_FLAGS: Mapping[str, Flag] = {
    "threshold": Flag(
        kind=list[str],
        metavar="[NAME=]NUMBER",
        read=Thresholds.parse,
        example=" 0.5, or person=0.7 for one type; repeatable.",
    ),
    "n_best": Flag(metavar="N"),
    "explain": Flag(kind=bool),
    "model": Flag(names=("--model", "-m")),
    "capabilities": Flag(kind=str, metavar="NAME,NAME", read=_names),
    "cors_origins": Flag(names=("--cors-origin",), kind=list[str], read=tuple),
    "allowed_hosts": Flag(names=("--allow-host",), kind=list[str], read=tuple),
    "endpoint": Flag(metavar="URL"),
    "endpoint_model": Flag(metavar="NAME"),
    "constraint": Flag(metavar="NAME"),
}


@dataclass(frozen=True)
class Group:
    """Fields of a class of options, as flags; `make` makes the value of those that were given."""

    options: type[BaseModel]
    names: Iterable[str]
    make: Callable[..., Any]

    def parameters(self) -> Iterator[inspect.Parameter]:
        """A parameter for each field, for typer to read."""
        for name in self.names:
            field, flag = self.options.model_fields[name], _FLAGS.get(name, Flag())
            option = typer.Option(
                *(flag.names or (f"--{name.replace('_', '-')}",)),
                help=" ".join((field.description or "").split()) + flag.example,
                metavar=flag.metavar,
                min=next((one.ge for one in field.metadata if isinstance(one, Ge)), None),  # type: ignore[arg-type]
                show_default=f"{field.default:g}" if type(field.default) in (int, float) else False,
            )
            kind: Any = flag.kind or field.annotation
            yield inspect.Parameter(
                name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind | None, option]
            )

    def read(self, arguments: dict[str, Any]) -> Any:
        """The value, of the arguments that are its fields'; they are taken out."""
        taken = {name: arguments.pop(name) for name in self.names}
        # A flag without a value is False where it was not given.
        given = {name: value for name, value in taken.items() if value is not None and value is not False}
        return self.make(**{name: _FLAGS.get(name, Flag()).read(value) for name, value in given.items()})


def answer_flags(*names: str) -> Group:
    """Flags for fields of `AnswerOptions`; without names for all."""
    return Group(AnswerOptions, names or AnswerOptions.model_fields, AnswerOptions.of)


def model_flags(*names: str) -> Group:
    """Flags for fields of `ModelOptions`; without names for all."""
    # Not validated: typer has, and the names of capabilities are the extractor's to check.
    return Group(ModelOptions, names or ModelOptions.model_fields, ModelOptions.model_construct)


def all_flags(options: type[BaseModel]) -> Group:
    """A flag for each field."""
    return Group(options, options.model_fields, options)


AnswerFlags = Annotated[AnswerOptions, answer_flags()]
ModelFlags = Annotated[ModelOptions, model_flags()]
EndpointFlags = Annotated[EndpointOptions, all_flags(EndpointOptions)]


def grouped(command: Callable[..., None]) -> Callable[..., None]:
    """The command with the flags of its groups in their place."""
    parameters: list[inspect.Parameter] = []
    groups: dict[str, Group] = {}
    for parameter in inspect.signature(command, eval_str=True).parameters.values():
        group = next((one for one in get_args(parameter.annotation) if isinstance(one, Group)), None)
        if group is None:
            parameters.append(parameter)
        else:
            groups[parameter.name] = group
            parameters += group.parameters()

    @wraps(command)
    def run(**arguments: Any) -> None:
        values = {name: group.read(arguments) for name, group in groups.items()}
        command(**arguments, **values)

    run.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {}
    return run


def load_extractor(options: ModelOptions) -> "Extractor":
    """The extractor that the options ask for; torch is loaded here."""
    from ucuie.extract.extractor import Extractor

    return Extractor.from_pretrained(**dict(options))
