"""The web page, and the files that it is made of."""

from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles

_STATIC = Path(__file__).parents[1] / "static"


def add_playground(app: FastAPI) -> None:
    """Adds `/` and `/static`."""

    @app.get("/", include_in_schema=False)
    async def playground() -> FileResponse:
        # Without a word on it, browsers keep pages for a while: also that of the version before.
        return FileResponse(_STATIC / "index.html", headers={"cache-control": "no-cache"})

    app.mount("/static", StaticFiles(directory=_STATIC), name="static")
