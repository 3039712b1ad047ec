"""Flask: `flask --app with_flask run`, or any WSGI server with `with_flask:app`."""

import atexit
from pathlib import Path

from board import Board
from flask import Flask, redirect, render_template, request
from werkzeug.wrappers import Response

app = Flask(__name__, template_folder=str(Path(__file__).parent))
board = Board().start()
atexit.register(board.close)


@app.get("/")
def show(error: str = "") -> str:
    return render_template("board.html", framework="Flask", error=error, **board.page())


@app.post("/")
def ask() -> Response | str:
    try:
        board.ask(request.form["item"], request.form["net"])
    except ValueError as error:
        return show(str(error))
    return redirect("/", code=303)
