"""`ucuie serve`."""

from pathlib import Path
from typing import Annotated

import typer

from ucuie.cli.common import BatchSize, Device, Model, Quiet, require_serve_extra
from ucuie.server.settings import ServerSettings, make_settings, read_api_keys

_DEFAULTS = ServerSettings()


def serve(
    host: Annotated[
        str, typer.Option(help="Address to listen on; 0.0.0.0 for all of this machine.")
    ] = _DEFAULTS.host,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one.")] = 8000,
    model: Model = None,
    more_models: Annotated[
        list[str] | None,
        typer.Option(
            "--also",
            metavar="NAME=MODEL",
            help="Another model, for requests with this name; repeatable. Models with the same backbone have "
            "its weights in memory once.",
        ),
    ] = None,
    device: Device = None,
    batch_size: BatchSize = _DEFAULTS.batch_size,
    schemas: Annotated[
        Path | None,
        typer.Option(help="Folder of YAML and JSON schemas that requests may name by their files' names."),
    ] = None,
    api_keys: Annotated[
        Path | None,
        typer.Option(
            help="File of keys, one a line; requests need one of these or of UCUIE_API_KEYS (commas between)."
        ),
    ] = None,
    cors_origin: Annotated[
        list[str] | None,
        typer.Option(help="Web page origin that may read answers, such as https://example.org."),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(help="Name that the server goes by; left out on 127.0.0.1, only localhost."),
    ] = None,
    queue_size: Annotated[
        int, typer.Option(min=1, help="Texts that may wait; beyond that, 429.")
    ] = _DEFAULTS.queue_size,
    max_texts: Annotated[int, typer.Option(min=1, help="Texts of one request.")] = _DEFAULTS.max_texts,
    max_text_characters: Annotated[
        int, typer.Option(min=1, help="Characters of one text.")
    ] = _DEFAULTS.max_text_characters,
    max_body_bytes: Annotated[
        int, typer.Option(min=1, help="Bytes of one request.")
    ] = _DEFAULTS.max_body_bytes,
    request_seconds: Annotated[
        float, typer.Option(min=0.1, help="Until a request has its answer.")
    ] = _DEFAULTS.request_seconds,
    receive_seconds: Annotated[
        float, typer.Option(min=0.1, help="Until a request is received.")
    ] = _DEFAULTS.receive_seconds,
    log_texts: Annotated[bool, typer.Option("--log-texts", help="Write the texts into the log too.")] = False,
    quiet: Quiet = False,
) -> None:
    """Serve an HTTP API, and a web page to try it on.

    The address is printed once the model is loaded; the log, JSON lines, goes to stderr.
    """
    require_serve_extra()
    named = dict(_name_and_model(argument) for argument in more_models or ())
    from ucuie.server.serve import serve as run

    settings = make_settings(
        host=host,
        batch_size=batch_size,
        queue_size=queue_size,
        max_texts=max_texts,
        max_text_characters=max_text_characters,
        max_body_bytes=max_body_bytes,
        request_seconds=request_seconds,
        receive_seconds=receive_seconds,
        api_keys=read_api_keys(api_keys),
        cors_origins=tuple(cors_origin or ()),
        allowed_hosts=tuple(allow_host or ()),
        log_texts=log_texts,
    )
    run(
        settings,
        port=port,
        model=model,
        device=device,
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
