"""A bar for what is fetched while a command runs."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from ucuie.files import fetches_shown


@contextmanager
def fetch_bar(console: Console, *, is_wanted: Callable[[], bool] = lambda: True) -> Iterator[None]:
    """Whatever is fetched inside has a bar, if the console is a terminal and it is wanted then."""
    columns = (TextColumn("fetching the backbone"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    bar = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
    task = bar.add_task("", total=None)

    def show_bytes(num_bytes: int, total: int) -> None:
        if is_wanted():
            bar.start()
            bar.update(task, completed=num_bytes, total=total or None)
        if num_bytes == total:
            bar.stop()

    with fetches_shown(show_bytes):
        try:
            yield
        finally:
            bar.stop()
