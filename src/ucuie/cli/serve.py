"""`ucuie serve`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from ucuie.cli.common import Quiet, require_serve_extra
from ucuie.cli.options import Group, grouped, model_flags
from ucuie.extract.options import ModelOptions
from ucuie.server.settings import ServerSettings, make_settings, read_api_keys

_SETTINGS = (
    "host", "cors_origins", "allowed_hosts", "queue_size", "max_texts", "max_text_characters",
    "max_body_bytes", "request_seconds", "receive_seconds", "log_texts",
)  # fmt: skip
Port = Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")]
MoreModels = Annotated[
    list[str] | None,
    typer.Option(
        "--also",
        metavar="NAME=MODEL",
        help="Another model, for requests with this name; repeatable. Models with the same backbone have "
        "its weights in memory once.",
    ),
]
Schemas = Annotated[
    Path | None,
    typer.Option(help="Folder of YAML and JSON schemas that requests may name by their files' names."),
]
ApiKeys = Annotated[
    Path | None,
    typer.Option(
        help="File of keys, one a line; requests need one of these or of UCUIE_API_KEYS (commas between)."
    ),
]


@grouped
def serve(
    *,
    port: Port = 8000,
    model: Annotated[ModelOptions, model_flags("model", "device", "batch_size")],
    more_models: MoreModels = None,
    schemas: Schemas = None,
    api_keys: ApiKeys = None,
    given: Annotated[dict[str, Any], Group(ServerSettings, _SETTINGS, dict)],
    quiet: Quiet = False,
) -> None:
    """Serve an HTTP API, and a web page to try it on.

    The address is printed once the model is loaded; the log, JSON lines, goes to stderr.
    """
    require_serve_extra()
    named = dict(_name_and_model(argument) for argument in more_models or ())
    settings = make_settings(**given, batch_size=model.batch_size, api_keys=read_api_keys(api_keys))
    from ucuie.server.serve import serve as run

    run(
        settings,
        port=port,
        model=model.model,
        device=model.device,
        more_models=named,
        schemas_folder=schemas,
        on_ready=typer.echo,
        is_quiet=quiet,
    )


def _name_and_model(argument: str) -> tuple[str, str]:
    name, separator, model = argument.partition("=")
    if not separator or not name or not model:
        raise typer.BadParameter(f"{argument!r} is not of the form NAME=MODEL", param_hint="'--also'")
    return name, model
