"""How many rooms of the package one text, one request and one training example pass.

    python tools/rooms.py

A room is a folder of `src/ucuie`, or a file beside them. Counted is what runs, not what is only imported: the
functions that are called while the command, the request or the training step is under way.
"""

import contextlib
import inspect
import io
import json
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from types import CodeType, FrameType

PACKAGE = Path(__file__).parents[1] / "src" / "ucuie"
TEXT = "Ada Lovelace was born in London and worked for the Analytical Society."


class Calls:
    """The code of every function that is called while `is_counting`, in this thread and those it starts."""

    def __init__(self) -> None:
        self.is_counting = False
        self.codes: set[CodeType] = set()

    def __call__(self, frame: FrameType, event: str, _: object) -> None:
        if self.is_counting and event == "call":
            self.codes.add(frame.f_code)

    def listen(self) -> None:
        """Be told of all calls from here on."""
        threading.setprofile(self)
        sys.setprofile(self)


def passed(codes: set[CodeType]) -> tuple[list[str], list[str], int]:
    """The rooms, the files and the number of functions of the package."""
    # Bodies of modules and classes run when they are imported.
    own = [
        code
        for code in codes
        if code.co_filename.startswith(str(PACKAGE)) and code.co_flags & inspect.CO_OPTIMIZED
    ]
    files = sorted({str(Path(code.co_filename).relative_to(PACKAGE)) for code in own})
    return sorted({file.partition("/")[0] for file in files}), files, len(own)


def cold_command() -> None:
    """`ucuie extract --text`, the model loaded and all."""
    from ucuie.cli import app

    command = ["extract", "--text", TEXT, "--schema", '["person", "location"]', "--model", "ucuie-mini"]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
        app(command)


def warm_request() -> Callable[[], None]:
    """A request to a server that has answered one before."""
    from fastapi.testclient import TestClient

    from ucuie.model.folder import load_model
    from ucuie.server.app import create_app
    from ucuie.server.observer import Metrics
    from ucuie.server.schemas import NamedSchemas
    from ucuie.server.settings import make_settings
    from ucuie.server.text_queue import TextQueue

    settings, metrics = make_settings(), Metrics()
    engine = TextQueue(
        lambda: {"ucuie-mini": load_model("ucuie-mini")},
        batch_size=settings.batch_size,
        queue_size=settings.queue_size,
        watcher=metrics,
    )
    client = TestClient(
        create_app(engine, settings, metrics=metrics, schemas=NamedSchemas(None)), base_url="http://localhost"
    )
    client.__enter__()

    def ask() -> None:
        while client.get("/readyz").status_code != 200:
            pass
        answer = client.post("/v1/extract", json={"text": TEXT, "schema": ["person", "location"]})
        assert answer.status_code == 200, answer.text

    ask()
    return ask


def training_run(folder: Path) -> Callable[[], None]:
    """An example from JSON Lines to a loss and a model folder."""
    from ucuie.train import TrainConfig
    from ucuie.train.run import run_training

    example = {
        "id": "1", "task": "NER", "text": TEXT, "schema": {"frames": [{"name": "person"}, {"name": "city"}]},
        "records": [{"frame": "person", "filler": {"text": "Ada Lovelace", "start": 0, "end": 12}}],
    }  # fmt: skip
    (folder / "train.jsonl").write_text(
        "".join(json.dumps(example | {"id": f"{n}"}) + "\n" for n in range(8))
    )
    config = {
        "backbone": "embedded",
        "output": str(folder / "model"),
        "data": {"train": [str(folder / "train.jsonl")]},
        "batch_size": 4,
        "warming": {"max_steps": 1},
        "multitask": {"max_steps": 1},
        "trainer": {"disable_tqdm": True, "logging_steps": 1},
    }
    return lambda: void(run_training(TrainConfig.model_validate(config)))


def void(_: object) -> None:
    """Nothing of a value."""


def main() -> None:
    """Print a line for each way, and the files under it."""
    with tempfile.TemporaryDirectory() as folder:
        ways: dict[str, Callable[[], Callable[[], None]]] = {
            "extract --text, cold": lambda: cold_command,
            "HTTP request, warm": warm_request,
            "JSON Lines to model folder": lambda: training_run(Path(folder)),
        }
        for name, prepare in ways.items():
            calls = Calls()
            calls.listen()
            way = prepare()
            calls.is_counting = True
            way()
            calls.is_counting = False
            rooms, files, num_functions = passed(calls.codes)
            print(f"{name}: {len(rooms)} rooms, {len(files)} files, {num_functions} functions")
            print(f"  {', '.join(rooms)}")
            if "--files" in sys.argv:
                print(*(f"    {file}" for file in files), sep="\n")


if __name__ == "__main__":
    main()
