"""`kirby scheduler`."""

import os
import socket
import sys
from datetime import timedelta
from typing import Annotated

from cyclopts import App, Parameter

app = App(name="scheduler", help="Elect a leader among the schedulers; the leader writes down what is due.")


@app.default
def scheduler(
    *,
    name: Annotated[str | None, Parameter(help="The candidate's name; default: this host's.")] = None,
    window: Annotated[float, Parameter(help="The leader's lease in seconds; it is renewed at a third.")] = 5.0,
    wakeup: Annotated[float, Parameter(help="The leader's longest sleep in seconds when nothing is due.")] = 30.0,
    host: Annotated[str, Parameter(help="The address of /healthz and /readyz.")] = "127.0.0.1",
    port: Annotated[int | None, Parameter(help="Their port; 0 picks a free one.")] = None,
    enrol: Annotated[str | None, Parameter(help="Make a token for the worker of this name.")] = None,
    enrol_fd: Annotated[int | None, Parameter(help="The pipe to write that token to.")] = None,
    check: Annotated[bool, Parameter(help="Validate the settings, print ok, and connect to nothing.")] = False,
) -> int:
    """Elect a leader among the schedulers; the leader writes down what is due."""
    from kirby_common.database import NotPostgres, normalise_uri
    from kirby_common.settings import WrongSettings, load

    from kirby_scheduler.settings import SchedulerSettings

    if not window >= 1 or not wakeup >= 1:
        return _wrong("--window and --wakeup are seconds, at least 1")
    try:
        settings = load(SchedulerSettings)
        normalise_uri(settings.sqlalchemy_database_uri.get_secret_value())
    except (WrongSettings, NotPostgres) as error:
        return _wrong(str(error))
    if check:
        print("ok")
        return 0

    from kirby_common import failpoints
    from kirby_common.logs import configure
    from kirby_common.runtime import CannotListen, run

    from kirby_scheduler.main import Options, serve

    failpoints.arm(os.environ)
    configure(service="scheduler", log_format=settings.log_format, level=settings.kirby_log_level)
    options = Options(
        name=name or f"{socket.gethostname()}-{os.getpid()}",
        window=timedelta(seconds=window),
        wakeup=timedelta(seconds=wakeup),
        host=host,
        port=settings.kirby_health_port if port is None else port,
        enrol_worker=enrol,
        enrol_fd=enrol_fd,
    )
    try:
        return run(lambda stop: serve(stop, settings=settings, options=options))
    except CannotListen as error:
        print(f"kirby scheduler {error}", file=sys.stderr)
        return 1


def _wrong(sentence: str) -> int:
    print(sentence, file=sys.stderr)
    return 2
