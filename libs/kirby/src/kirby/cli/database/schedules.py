"""`kirby schedules`, and `preview`: when would it be due?"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from cyclopts import App, Parameter

from kirby.cli.database.resource import Ref, Resource, given
from kirby.cli.errors import UsageError
from kirby.cli.options import Home, Output, connect
from kirby.cli.show import local_time, print_json

_schedules = Resource(
    "schedules",
    "schedule",
    [
        ("NAME", "name"),
        ("WHEN", lambda s: when_in_words(s)),
        ("USED BY", "contexts"),
    ],
)
app: App = _schedules.app("schedules", help="Schedules: a cron expression, an interval, or one instant.")

Cron = Annotated[str | None, Parameter(help="5 fields, or 6 with seconds first, for example '30 2 * * *'.")]
Every = Annotated[str | None, Parameter(help="An interval, for example 10s, 5m or 1h30m.")]
At = Annotated[str | None, Parameter(help="One instant, for example 2026-12-01T06:00:00Z.")]
Tz = Annotated[str | None, Parameter(help="The IANA zone of a cron expression; default UTC.")]
Dst = Annotated[
    Literal["debian", "skip_gap", "utc"] | None,
    Parameter(help="What the two changes of the clock do; default as Debian's cron."),
]


@app.default
@app.command(name="list")
def list_schedules(*, home: Home = None, output: Output = "table") -> None:
    """List the schedules."""
    _schedules.list(home=home, output=output)


@app.command
def add(
    name: str,
    expr: Cron = None,
    /,
    *,
    every: Every = None,
    at: At = None,
    tz: Tz = None,
    dst: Dst = None,
    home: Home = None,
    output: Output = "table",
) -> None:
    """Add a schedule: a cron expression, --every or --at."""
    _schedules.add({"name": name} | timing(expr, every=every, at=at, tz=tz, dst=dst), home=home, output=output)


@app.command(name="set")
def set_schedule(
    name: Ref,
    expr: Cron = None,
    /,
    *,
    every: Every = None,
    at: At = None,
    tz: Tz = None,
    dst: Dst = None,
    home: Home = None,
    output: Output = "table",
) -> None:
    """Change a schedule; due times that are not due yet follow at once."""
    body = {"expr": expr, "every": every, "at": at, "tz": tz, "dst": dst}
    _schedules.set(name, body, home=home, output=output)


@app.command
def preview(
    expr: Cron = None,
    /,
    *,
    every: Every = None,
    at: At = None,
    tz: Tz = None,
    dst: Dst = None,
    start: Annotated[str | None, Parameter(name="--from", help="A day or instant; default now.")] = None,
    n: Annotated[int, Parameter(name="-n", help="How many due times.")] = 5,
    home: Home = None,
    output: Output = "table",
) -> None:
    """Print the next due times of an expression. A job with the policy `jitter` starts up to so much later."""
    with connect(home) as client:
        body = timing(expr, every=every, at=at, tz=tz, dst=dst)
        answer = client.post("/schedules/preview", body | given({"from": _instant(start, tz), "n": n}))
    if output == "json":
        return print_json(answer)
    for due in answer["due"]:
        print(_in_zone(due, tz))


def timing(
    expr: str | None, *, every: str | None, at: str | None, tz: str | None, dst: str | None = None
) -> dict[str, Any]:
    """The fields of a schedule. Raises UsageError unless exactly one kind was said."""
    kinds = given({"cron": expr, "every": every, "at": at})
    if len(kinds) != 1:
        raise UsageError("Say when in one way: a cron expression, --every or --at")
    kind = next(iter(kinds))
    return given({"kind": kind, "expr": expr, "every": every, "at": at and _instant(at, tz), "tz": tz, "dst": dst})


def when_in_words(when: Mapping[str, Any]) -> str:
    """A schedule in one phrase."""
    if when.get("every"):
        return f"every {when['every']}"
    if when.get("at"):
        return f"once, at {local_time(when['at'])}"
    return f"{when['expr']} ({when.get('tz') or 'UTC'})"


def _instant(text: str | None, tz: str | None) -> str | None:
    """An instant with an offset: a day or local time is read in the schedule's zone."""
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{text!r} is not an instant: write it like 2026-10-24 or 2026-10-24T06:00:00Z") from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=_zone(tz))).isoformat()


def _zone(tz: str | None) -> Any:
    if tz is None:
        return UTC
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        return ZoneInfo(tz)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise UsageError(f"There is no time zone {tz!r}: use a name such as Europe/Brussels") from None


def _in_zone(due: Any, tz: str | None) -> str:
    text = due if isinstance(due, str) else str(due.get("at") or due)
    try:
        return datetime.fromisoformat(text).astimezone(_zone(tz)).strftime("%Y-%m-%d %H:%M:%S %Z")
    except ValueError:
        return text
