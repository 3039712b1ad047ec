"""Web services that were recorded: `web/<nnn>.json` has a request and its answer.

    {"request": {"method": "GET", "url": "https://met.test/stations", "params": {"unit": "c"}},
     "answer": {"status": 200, "json": {"celsius": 11.4}}}

A request's body stands as `json` or `text`, an answer's as `json`, `text` or `base64`. What a request does not name is
not compared.
"""

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from kirby.errors import CallFailed
from kirby.testing.folders import BadFolder, parsed, pretty
from kirby.webclient import Answer, Request


@dataclass(frozen=True)
class Recording:
    """A call that was made once."""

    request: dict[str, Any]
    answer: Answer
    where: str = field(default="", compare=False)


class Unrecorded(CallFailed):
    """The script made a call that there is no recording of."""

    def __init__(self, told: dict[str, Any]) -> None:
        call = f"{told['method']} {told['url']}" + (f" {told['params']}" if "params" in told else "")
        super().__init__(
            "web", f"There is no recording of {call}: make it with `kirby test --record`, or write it into web/"
        )


class Player:
    """Answers calls from recordings, each once and the last of a kind for ever. `ask`: whom to ask for the others."""

    def __init__(self, recordings: Sequence[Recording], *, ask: Callable[[Request], Answer] | None = None) -> None:
        self.recordings: list[Recording] = list(recordings)
        self.used: set[int] = set()
        self._ask = ask

    def __call__(self, request: Request) -> Answer:
        told = told_of(request)
        fitting = [n for n, one in enumerate(self.recordings) if fits(one.request, told)]
        number = next((n for n in fitting if n not in self.used), fitting[-1] if fitting else None)
        if number is None:
            if self._ask is None:
                raise Unrecorded(told)
            number = len(self.recordings)
            self.recordings.append(Recording(told, self._ask(request)))
        self.used.add(number)
        return self.recordings[number].answer

    def unused(self) -> list[Recording]:
        """Those of the calls that were not made."""
        return [one for n, one in enumerate(self.recordings) if n not in self.used]


def told_of(request: Request) -> dict[str, Any]:
    """A request as a recording has it. Headers are left out: they hold credentials."""
    told: dict[str, Any] = {"method": request.method, "url": request.url}
    if request.params:
        told["params"] = {name: str(value) for name, value in request.params.items()}
    return told | _body(request.content)


def fits(recorded: dict[str, Any], told: dict[str, Any]) -> bool:
    """Whether a request is the recorded one, in what that names.

    >>> fits({"params": {"unit": "c"}}, {"method": "GET", "url": "/", "params": {"unit": "c", "n": "1"}})
    True
    """
    named = {name: str(value) for name, value in (recorded.get("params") or {}).items()}
    rest = {name: value for name, value in recorded.items() if name != "params"}
    return named.items() <= told.get("params", {}).items() and all(told.get(n) == value for n, value in rest.items())


def read_recordings(folder: Path) -> list[Recording]:
    """Raises BadFolder."""
    found = []
    for path in sorted(folder.glob("*.json")):
        told = parsed(path, path.read_bytes())
        try:
            request, answer = told["request"], told["answer"]
            headers = {str(n).lower(): str(v) for n, v in answer.get("headers", {}).items()}
            found.append(
                Recording(dict(request), Answer(int(answer["status"]), _bytes(answer), headers), where=str(path))
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise BadFolder(
                path, 'a recording is {"request": {"method", "url"}, "answer": {"status", "json"}}'
            ) from error
    return found


def write_recordings(folder: Path, recordings: Sequence[Recording]) -> None:
    """Write the folder anew."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.glob("*.json"):
        path.unlink()
    for number, one in enumerate(recordings, start=1):
        answer: dict[str, Any] = {"status": one.answer.status} | _body(one.answer.content)
        (folder / f"{number:03}.json").write_text(pretty({"request": one.request, "answer": answer}) + "\n")


def _body(content: bytes | None) -> dict[str, Any]:
    if not content:
        return {}
    try:
        return {"json": orjson.loads(content)}
    except orjson.JSONDecodeError:
        pass
    try:
        return {"text": content.decode()}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(content).decode()}


def _bytes(answer: dict[str, Any]) -> bytes:
    if "json" in answer:
        return orjson.dumps(answer["json"])
    if "base64" in answer:
        return base64.b64decode(answer["base64"])
    return str(answer.get("text", "")).encode()
