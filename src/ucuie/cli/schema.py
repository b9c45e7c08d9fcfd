"""`ucuie schema`."""

from pathlib import Path
from typing import Annotated

import typer

from ucuie.cli.common import AnnotatedFor, Json, Quiet, print_json, results, talk_console
from ucuie.errors import SchemaError, did_you_mean, show
from ucuie.files import write_text
from ucuie.schema import Schema
from ucuie.schema.drafting import check_schema, class_named, schema_of_names, schema_yaml
from ucuie.schema.sources import ready_schemas, title_of
from ucuie.templates import Table, counted

schema_app = typer.Typer(no_args_is_help=True, help="Make schemas, check them, and look at the ready ones.")

_SHAPES = {"NER": "entities", "RE": "relations", "EE": "events", "ABSA": "opinions"}


@schema_app.command("init")
def schema_init(
    names: Annotated[
        str | None,
        typer.Argument(help='Names with commas between: "person, city, works for (person, company)".'),
    ] = None,
    data: Annotated[
        Path | None, typer.Option("--data", help="Annotated file or folder: all labels that stand in it.")
    ] = None,
    format_name: Annotated[
        str,
        typer.Option("--format", metavar="NAME", help="Of --data; `ucuie convert --list` names the formats."),
    ] = "unified",
    task: AnnotatedFor = "NER",
    model_class: Annotated[
        str | None,
        typer.Option("--class", metavar="MODULE:CLASS", help="A pydantic class; or file.py:Class."),
    ] = None,
    json_schema: Annotated[
        Path | None, typer.Option("--json-schema", help="A JSON Schema in a file.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write; one that is there stays as it is.")
    ] = None,
    quiet: Quiet = False,
) -> None:
    """Make a schema from what you have, as YAML to go on from."""
    if sum(one is not None for one in (names, data, model_class, json_schema)) != 1:
        raise typer.BadParameter("give one of NAMES, --data, --class and --json-schema", param_hint="NAMES")
    if output is not None and output.exists():
        raise SchemaError(f"{output} is there already, perhaps edited by hand; name a new file")
    talk = talk_console(quiet=quiet)
    if names is not None:
        schema = schema_of_names(names)
    elif data is not None:
        from ucuie.data import schema_of_data

        found = schema_of_data(data, format_name=format_name, task=task)
        schema = found.schema
        talk.print(f"{counted(found.num_examples, 'example')}, {counted(found.counts.total(), 'record')}")
    else:
        schema = Schema.of(json_schema if model_class is None else class_named(model_class))
    content = schema_yaml(schema)
    if output is None:
        typer.echo(content, nl=False)
    else:
        write_text(output, content)
        talk.print(f"{_summary(schema)} -> {output}")
    for advice in check_schema(schema).advice:
        talk.print(f"  {advice.words}")


@schema_app.command("check")
def schema_check(
    schema: Annotated[str, typer.Argument(help="A file, JSON itself, or the name of a ready schema.")],
    as_json: Json = False,
) -> None:
    """Say what is wrong with a schema, how it is read, and what would make it better."""
    checked = check_schema(schema)
    if as_json:
        plain, listed = checked.schema.model_dump(mode="json"), [vars(advice) for advice in checked.advice]
        print_json({"schema": plain, "task": checked.schema.task, "advice": listed})
        return
    console = results()
    console.print(_summary(checked.schema), markup=False)
    for advice in checked.advice:
        place = "" if advice.line is None else f"line {advice.line}"
        console.print(f"  {place:<8}  {advice.words}", markup=False, soft_wrap=True)
    if not checked.advice:
        console.print("  nothing to improve", markup=False)


@schema_app.command("list")
def schema_list(as_json: Json = False) -> None:
    """List the schemas that come with the package; their names do wherever a schema is asked for."""
    ready = {name: (title_of(path), Schema.of(path)) for name, path in ready_schemas().items()}
    if as_json:
        print_json({name: {"title": title, "task": schema.task} for name, (title, schema) in ready.items()})
        return
    rows = [(name, title, ", ".join(schema.frame_names)) for name, (title, schema) in ready.items()]
    results().print(Table((), rows).to_terminal())


@schema_app.command("show")
def schema_show(name: Annotated[str, typer.Argument(help="Of a ready schema.")]) -> None:
    """Print a ready schema as YAML, to copy and change."""
    if name not in ready_schemas():
        raise SchemaError(f"no ready schema {show(name)}{did_you_mean(name, ready_schemas())}")
    typer.echo(ready_schemas()[name].read_text("utf-8"), nl=False)


def _summary(schema: Schema) -> str:
    num_slots = sum(len(frame.slots) for frame in schema.frames)
    slots = f" with {counted(num_slots, 'slot')}" if num_slots else ""
    return f"{counted(len(schema.frames), 'type')}{slots}, read as {_SHAPES[schema.task]} ({schema.task})"
