"""`kirby api`, `kirby web`, `kirby adduser` and `kirby demo`: thin; the work is imported when it is needed."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from cyclopts import App, Parameter
from pydantic_settings import BaseSettings

S = TypeVar("S", bound=BaseSettings)

api = App(name="api", help="Serve REST and the web UI, or, as role `ledger`, the workers.")
web = App(name="web", help="Serve the web interface: both roles of the api under one command.")
adduser = App(name="adduser", help="Add a local user.")
demo = App(name="demo", help="Fill an empty script database with the demo.")

Host = Annotated[str, Parameter(help="The address to listen on.")]
Check = Annotated[bool, Parameter(help="Validate the settings, print ok, and connect to nothing.")]


class _Ends(Exception):
    """The command is over: one sentence, and its exit code."""

    def __init__(self, sentence: str, code: int) -> None:
        super().__init__(sentence)
        self.code = code


@api.default
def _api(
    *,
    role: Annotated[Literal["web", "ledger"], Parameter(help="web: people; ledger: workers.")] = "web",
    host: Host = "127.0.0.1",
    port: Annotated[int | None, Parameter(help="The port; by default 8080, or 8081 for the ledger.")] = None,
    check: Check = False,
) -> int:
    """Serve REST and the web UI, or, as role `ledger`, the workers."""
    from kirby_api.settings import LEDGER_PORT, WEB_PORT, ApiSettings

    def serve() -> int:
        settings = _settings(ApiSettings)
        if check:
            print("ok")
            return 0
        default = WEB_PORT if role == "web" else LEDGER_PORT
        return _serve(role, settings, host, default if port is None else port)

    return _told(serve)


@api.command(name="bootstrap")
def _bootstrap(*, fd: Annotated[int, Parameter(help="Where the line of JSON is written to.")]) -> int:
    """Make sure of the user `admin`; write an API token and a one-time login token as JSON."""
    from kirby_api.settings import DatabaseOnlySettings
    from kirby_api.usecases.first_user import bootstrap

    return _told(lambda: bootstrap(_settings(DatabaseOnlySettings), fd=fd))


@web.default
def _web(
    *,
    host: Host = "127.0.0.1",
    port: Annotated[int, Parameter(help="The port of the web interface.")] = 8080,
    ledger_port: Annotated[int | None, Parameter(help="The workers' port; by default the next one.")] = None,
    check: Check = False,
) -> int:
    """Serve the web interface, and beside it the endpoint of the workers."""
    from kirby_api.settings import ApiSettings
    from kirby_api.supervise import supervise_roles

    def serve() -> int:
        settings = _settings(ApiSettings)
        if check:
            print("ok")
            return 0
        _configure_logs("web", settings)
        return supervise_roles(host=host, port=port, ledger_port=port + 1 if ledger_port is None else ledger_port)

    return _told(serve)


@adduser.default
def _adduser(name: Annotated[str, Parameter(help="The user's name.")], /) -> int:
    """Add a local user; asks for the password and whether they are an admin."""
    from kirby_api.settings import DatabaseOnlySettings
    from kirby_api.usecases.first_user import UserExists, add_local_user, ask, must_be_new

    def add() -> int:
        settings = _settings(DatabaseOnlySettings)
        try:
            must_be_new(settings, name)
            password, admin = ask()
            print(add_local_user(settings, name=name, password=password, admin=admin))
        except UserExists as error:
            raise _Ends(str(error), 1) from error
        except ValueError as error:
            raise _Ends(str(error), 1) from error
        return 0

    return _told(add)


@demo.default
def _demo(
    *,
    json_file_path: Annotated[
        Path | None, Parameter(name="--json_file_path", help="The file to import; by default the demo of this release.")
    ] = None,
) -> int:
    """Fill an empty script database with the demo, or with a file of yours."""
    from kirby_api.settings import ApiSettings
    from kirby_api.usecases.demo import CantImport, import_demo

    def fill() -> int:
        try:
            told, waiting = import_demo(_settings(ApiSettings), file=json_file_path)
        except CantImport as error:
            raise _Ends(str(error), 1) from error
        print(told)
        if waiting:
            print(
                f"the package index does not answer: {len(waiting)} packages are uploaded when it does", file=sys.stderr
            )
        return 0

    return _told(fill)


def _settings(kind: type[S]) -> S:
    from kirby_common.settings import WrongSettings, load

    try:
        return load(kind)
    except WrongSettings as error:
        raise _Ends(str(error), 2) from error


def _serve(role: str, settings: Any, host: str, port: int) -> int:
    from kirby_common.runtime import CannotListen, run

    from kirby_api.supervise import die_with_parent

    if role == "web":
        from kirby_api.main import serve
    else:
        from kirby_api.ledger_role.main import serve
    die_with_parent()
    _configure_logs("api" if role == "web" else "ledger", settings)
    try:
        return run(lambda stop: serve(stop, settings=settings, host=host, port=port))
    except CannotListen as error:
        raise _Ends(f"kirby api {error}", 1) from error


def _configure_logs(service: str, settings: Any) -> None:
    from kirby_common.logs import configure

    configure(service=service, log_format=settings.log_format, level=settings.kirby_log_level)


def _told(command: Callable[[], int]) -> int:
    """The command's exit code; what ends it is told in one sentence."""
    try:
        return command()
    except _Ends as ends:
        sys.stdout.flush()
        print(ends, file=sys.stderr)
        return ends.code
