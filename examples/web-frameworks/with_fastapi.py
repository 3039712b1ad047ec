"""FastAPI: `uvicorn with_fastapi:app`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated

from board import Board
from fastapi import FastAPI, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from fastapi.templating import Jinja2Templates

templates = Jinja2Templates(directory=Path(__file__).parent)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """A process has one board, from its start to its end."""
    app.state.board = Board().start()
    yield
    app.state.board.close()


app = FastAPI(lifespan=lifespan)


# Plain functions, not `async def`: FastAPI runs them in threads, where waiting for Kafka holds up nobody.
@app.get("/")
def show(request: Request, error: str = "") -> HTMLResponse:
    seen = request.app.state.board.page()
    return templates.TemplateResponse(request, "board.html", {"framework": "FastAPI", "error": error, **seen})


@app.post("/")
def ask(request: Request, item: Annotated[str, Form()], net: Annotated[str, Form()]) -> Response:
    try:
        request.app.state.board.ask(item, net)
    except ValueError as error:
        return show(request, str(error))
    return RedirectResponse("/", status_code=303)
