"""The first two minutes, `python -m ucuie.cli.demo`: four texts as a table, and as demo.html.

The texts were written for this project.
"""

import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from rich.console import Console

from ucuie.cli.common import fetch_bar
from ucuie.errors import ModelError, StorageError, UserError
from ucuie.extract.result import render_report
from ucuie.files import write_text
from ucuie.render.tables import extraction_table

if TYPE_CHECKING:
    from ucuie.model.folder import LoadedModel

OUTPUT = Path("demo.html")


class DemoText(NamedTuple):
    """A text with what to look for in it."""

    id: str
    text: str
    schema: dict[str, Any] | list[str]


_OPINION = ["aspect", "opinion"]

TEXTS = (
    DemoText(
        "news: who works and lives where",
        "Maria Okafor, a chemist at Bayer, lives in Cologne. Her brother Daniel Okafor works for the "
        "Smithsonian Institution in Washington.",
        {relation: ["subject", "object"] for relation in ("work for", "live in", "located in")},
    ),
    DemoText(
        "case report: what a drug did",
        "A 64-year-old man developed severe hepatitis after two weeks of treatment with amoxicillin.",
        {event: ["treatment", "effect"] for event in ("adverse event", "potential therapeutic event")},
    ),
    DemoText(
        "review: what a guest liked",
        "The dumplings were superb and the staff friendly, but the service was painfully slow.",
        {"positive": _OPINION, "negative": _OPINION},
    ),
    DemoText(
        "tweet: names",
        "Just landed in Lisbon with Priya Raman, off to hear Coldplay tonight! Thanks @Lufthansa",
        ["person", "location", "organization"],
    ),
)


def _load(console: Console) -> "LoadedModel":
    """The default model; where its backbone cannot be fetched the embedded one, which is then said."""
    from ucuie.model.folder import DEFAULT, EMBEDDED, EMBEDDED_NAME, load_model
    from ucuie.model.source import model_name

    try:
        with fetch_bar(Console(stderr=True)):
            return load_model()
    except (ModelError, StorageError) as fault:
        if model_name(DEFAULT) == EMBEDDED_NAME:
            raise
        console.print(
            f"the default model cannot be fetched ({fault}); showing the embedded {EMBEDDED_NAME} instead\n",
            markup=False,
        )
    return load_model(EMBEDDED)


def main() -> int:
    """Run the demo; the exit code of the process."""
    from ucuie.extract.extractor import Extractor

    # A file gets the same layout as a terminal, however narrow that is.
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 120)
    start = time.perf_counter()
    try:
        loaded = _load(console)
        extractor = Extractor(loaded)
        millions = loaded.model.num_parameters() / 1e6
        seconds = time.perf_counter() - start
        console.print(f"model {loaded.name} ({millions:.1f} M parameters, {seconds:.1f} s to load)\n")
        extractions = []
        for demo in TEXTS:
            extraction = extractor.extract(demo.text, demo.schema, id=demo.id)
            extractions.append(extraction)
            console.print(extraction_table(extraction))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    write_text(OUTPUT, render_report(extractions))
    console.print(f"wrote {OUTPUT} - open it in a browser")
    console.print("""next: ucuie extract --schema '["person", "location"]' --text "...\"""", markup=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
