"""Serves a folder of packages: `python index_server.py PORT FOLDER PASSWORD_FILE`.

pypiserver's own command would answer one request at a time; installers ask for many at once.
"""

import hmac
import sys
from pathlib import Path
from socketserver import ThreadingMixIn
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import pypiserver

USERNAME = "kirby"


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True
    request_queue_size = 64


class _Handler(WSGIRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        """Reading is not logged: every run of every worker asks."""
        if self.command != "GET":
            super().log_message(format, *args)

    def address_string(self) -> str:
        return str(self.client_address[0])


def main() -> None:
    port, folder, password_file = int(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3])
    password = password_file.read_text().strip()

    def allowed(username: str, given: str) -> bool:
        return username == USERNAME and hmac.compare_digest(given.encode(), password.encode())

    app = pypiserver.app(
        roots=[folder],
        authenticate=["update"],
        auther=allowed,
        password_file="",
        disable_fallback=True,
        overwrite=False,
        backend_arg="simple-dir",
        health_endpoint="/health",
    )
    with make_server("127.0.0.1", port, app, server_class=_Server, handler_class=_Handler) as server:
        server.serve_forever()


if __name__ == "__main__":
    main()
