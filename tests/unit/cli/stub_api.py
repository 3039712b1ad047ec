"""An http server that answers what a test tells it to: for the client's own behaviour, not for the api's."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Answer:
    status: int = 200
    body: bytes = b"{}"
    kind: str = "application/json"
    cut: bool = False
    """Break the connection after the body, without the end that was promised."""


@dataclass
class Asked:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Stub:
    url: str
    asked: list[Asked] = field(default_factory=list)


def json_answer(value: Any, *, status: int = 200) -> Answer:
    kind = "application/json" if status < 400 else "application/problem+json"
    return Answer(status, json.dumps(value).encode(), kind)


def events(*parts: tuple[str, Any]) -> bytes:
    return b"".join(f"event: {name}\r\ndata: {json.dumps(data)}\r\n\r\n".encode() for name, data in parts)


@contextmanager
def stub_api(answer: Callable[[Asked], Answer]) -> Iterator[Stub]:
    stub = Stub("")

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            asked = Asked(self.command, self.path, dict(self.headers), body)
            stub.asked.append(asked)
            given = answer(asked)
            self.send_response(given.status)
            self.send_header("Content-Type", given.kind)
            if given.cut:
                self.send_header("Transfer-Encoding", "chunked")
                self.end_headers()
                self.wfile.write(f"{len(given.body):x}\r\n".encode() + given.body + b"\r\n")
            else:
                self.send_header("Content-Length", str(len(given.body)))
                self.end_headers()
                self.wfile.write(given.body)
            self.close_connection = given.cut

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _answer

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    stub.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield stub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
