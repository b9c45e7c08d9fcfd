"""The command `ucuie`: arguments in, results on stdout, talk on stderr. All work is done elsewhere.

Exit codes: 0 all right, 2 the user's mistake, 130 interrupted, 1 anything else, such as crashed trials. What
loads torch is imported where it is used, so `--help` and mistakes in a schema are answered at once.
"""

from typing import Annotated

import typer

from ucuie import __version__
from ucuie.cli.batch import batch
from ucuie.cli.bench import bench_app
from ucuie.cli.common import Commands, fetch_bar, is_quiet, talk_console
from ucuie.cli.data import convert, data_app
from ucuie.cli.doctor import doctor
from ucuie.cli.evaluate import calibrate, evaluate, score, trials
from ucuie.cli.experiment import experiment
from ucuie.cli.extract import extract
from ucuie.cli.model import model_app
from ucuie.cli.schema import schema_app
from ucuie.cli.serve import serve
from ucuie.cli.train import train

app = typer.Typer(cls=Commands, no_args_is_help=True, pretty_exceptions_enable=False)
for run in (extract, batch, serve, convert, train, evaluate, calibrate, score, trials, experiment, doctor):
    app.command()(run)
app.add_typer(bench_app, name="bench")
app.add_typer(data_app, name="data")
app.add_typer(model_app, name="model")
app.add_typer(schema_app, name="schema")


def main() -> None:
    """Run the command."""
    app()


def _print_version(is_wanted: bool) -> None:
    if is_wanted:
        typer.echo(f"ucuie {__version__}")
        raise typer.Exit


@app.callback()
def root(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Typed, source-grounded information extraction with one model and one schema language."""
    context.with_resource(fetch_bar(talk_console(), is_wanted=lambda: not is_quiet()))
