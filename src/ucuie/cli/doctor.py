"""`ucuie doctor`."""

import json

import typer
from rich.text import Text

from ucuie.cli.common import Json, results


def doctor(as_json: Json = False) -> None:
    """Tell what works on this machine, in words."""
    from ucuie.doctor import examine

    colours = {"ok": "green", "note": "yellow", "broken": "red"}
    findings = []
    for finding in examine():
        findings.append(finding)
        if not as_json:
            line = Text(f"{finding.state:<7}", colours[finding.state]) + Text(f"{finding.subject:<13}")
            results().print(line + Text(finding.words), soft_wrap=True)
    if as_json:
        typer.echo(json.dumps([vars(finding) for finding in findings], ensure_ascii=False))
    if any(finding.state == "broken" for finding in findings):
        raise typer.Exit(1)
