"""Secrets, over the socket that the worker left open for the script: never on disk, argv or in the environment."""

import json
import os
import re
import secrets
import socket
import threading
from typing import Any, overload

from kirby.errors import SecretUnavailable

_TIMEOUT_S = 30.0
_lock = threading.Lock()
_channels: dict[int, socket.socket] = {}


@overload
def secret(path: str, field: str) -> str: ...
@overload
def secret(path: str, field: None = None) -> dict[str, Any]: ...
def secret(path: str, field: str | None = None) -> str | dict[str, Any]:
    """The secret at `path`, asked anew from the vault at every call: one field's text, or all fields as a dict.

    Raises `SecretUnavailable`, whose `code` is `denied` (the job has no grant for it), `absent`, or `unavailable`
    (the vault did not answer within 30 s; worth another try). Outside Kirby, as in tests, it is read from
    `KIRBY_SECRET_<PATH>_<FIELD>`, or from the JSON object in `KIRBY_SECRET_<PATH>`.

    >>> os.environ["KIRBY_SECRET_DB_MAIN"] = '{"user": "kirby", "password": "hunter2"}'
    >>> secret("db/main", "user")
    'kirby'
    >>> sorted(secret("db/main"))
    ['password', 'user']
    """
    number = os.environ.get("KIRBY_SECRET_FD")
    if number is None:
        return _from_environment(path, field)
    with _lock:
        answer = _ask(int(number), path, field)
    if "error" in answer:
        raise SecretUnavailable(path, str(answer["error"]), str(answer.get("code", "unavailable")))
    value = answer.get("value")
    if isinstance(value, str | dict):
        return value
    raise SecretUnavailable(path, f"The worker gave no value for the secret {path!r}", "unavailable")


def run_token() -> str | None:
    """The run's own token, with which the api knows the script; None outside Kirby, or when the worker has none."""
    number = os.environ.get("KIRBY_SECRET_FD")
    if number is None:
        return None
    with _lock:
        try:
            answer = _ask(int(number), "", None, what="run-token")
        except SecretUnavailable:
            return None
    value = answer.get("value")
    return value if isinstance(value, str) else None


def _ask(number: int, path: str, field: str | None, *, what: str = "secret") -> dict[str, Any]:
    wanted = secrets.randbits(48)
    request = json.dumps({"id": wanted, "what": what, "path": path, "field": field}) + "\n"
    try:
        channel = _channels.get(number) or _channels.setdefault(number, socket.socket(fileno=number))
        channel.settimeout(_TIMEOUT_S)
        channel.sendall(request.encode())
        answer = json.loads(_line(channel))
    except (OSError, ValueError) as error:
        reason = "in time" if isinstance(error, TimeoutError) else f"({error})"
        told = f"The worker did not answer {reason} for the secret {path!r}"
        raise SecretUnavailable(path, told, "unavailable") from error
    if not isinstance(answer, dict) or answer.get("id") != wanted:
        # Two processes that share the socket after a fork, or an answer that came after its request gave up.
        told = f"Another request's answer came for the secret {path!r}: ask again"
        raise SecretUnavailable(path, told, "unavailable")
    return answer


def _line(channel: socket.socket) -> bytes:
    got = b""
    while not got.endswith(b"\n"):
        part = channel.recv(65536)
        if not part:
            raise ConnectionError("the socket was closed")
        got += part
    return got


def _from_environment(path: str, field: str | None) -> str | dict[str, Any]:
    name = "KIRBY_SECRET_" + re.sub(r"\W", "_", path).upper()
    one = f"{name}_{re.sub(chr(92) + 'W', '_', field).upper()}" if field else None
    if one and one in os.environ:
        return os.environ[one]
    hint = f"outside Kirby, set {one or name}" + (f" or {name} (JSON)" if one else " to a JSON object")
    if name not in os.environ:
        raise SecretUnavailable(path, f"There is no secret {path!r} here: {hint}", "absent")
    try:
        data = json.loads(os.environ[name])
    except ValueError:
        data = None
    if not isinstance(data, dict):
        raise SecretUnavailable(path, f"{name} is not a JSON object: {hint}", "absent")
    if field is None:
        return data
    if field not in data:
        raise SecretUnavailable(path, f"The secret {path!r} has no field {field!r}", "absent")
    return str(data[field])
