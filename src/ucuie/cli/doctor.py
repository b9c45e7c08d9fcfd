"""`ucuie doctor`."""

import json
from typing import Annotated

import typer
from rich.text import Text

from ucuie.cli.common import Json, Model, results


def doctor(
    model: Model = None,
    seconds: Annotated[float, typer.Option(min=0, help="How long the self-test extracts.")] = 5.0,
    as_json: Json = False,
) -> None:
    """Tell what works on this machine, in words, and what to do about what does not."""
    from ucuie.cli.doctor_checks import examine

    colours = {"ok": "green", "note": "yellow", "broken": "red"}
    findings = []
    for finding in examine(model=model, seconds=seconds):
        findings.append(finding)
        if not as_json:
            line = Text(f"{finding.state:<7}", colours[finding.state]) + Text(f"{finding.subject:<13}")
            results().print(line + Text(finding.words), soft_wrap=True)
            if finding.advice:
                results().print(Text(f"{'':<20}-> {finding.advice}"), soft_wrap=True)
    if as_json:
        typer.echo(json.dumps([vars(finding) for finding in findings], ensure_ascii=False))
    if any(finding.state == "broken" for finding in findings):
        raise typer.Exit(1)
