"""`kirby exceptions`: windows in which due times are skipped or thinned out; they end by themselves."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any

from cyclopts import App, Parameter

from kirby.cli.database.resource import Ref, Resource, given
from kirby.cli.errors import UsageError
from kirby.cli.options import Home, Output, connect
from kirby.cli.show import Column, local_time, print_items, print_json


def effect_in_words(exception: Mapping[str, Any]) -> str:
    """What an exception does, in one phrase."""
    if exception["every_nth"]:
        return f"one in {exception['every_nth']} runs"
    return f"runs at '{exception['cron']}'" if exception.get("cron") else str(exception["effect"])


def opening_in_words(exception: Mapping[str, Any]) -> str:
    """When an exception is open, in one phrase."""
    until = f"until {local_time(exception['end'])}" if exception["end"] else "until it is removed"
    again = f"'{exception['recurrence']}' ({exception['tz']}) for {exception['lasts']}, "
    return f"{again if exception.get('recurrence') else ''}{local_time(exception['start'])} {until}"


_exceptions = Resource(
    "exceptions",
    "exception",
    [
        ("ID", lambda e: e["id"][:8]),
        ("STATE", "state"),
        ("ON", lambda e: f"{e['scope']} {e['target']}"),
        ("EFFECT", effect_in_words),
        ("OPEN", opening_in_words),
        ("REASON", "reason"),
        ("WHO", "author"),
    ],
)
app: App = _exceptions.app("exceptions", help="Windows in which schedules pause or slow down; they end by themselves.")

Job = Annotated[str | None, Parameter(help="On this job, everywhere unless --env is given.")]
Env = Annotated[str | None, Parameter(help="On this environment, or on the job in it.")]
Label = Annotated[str | None, Parameter(help="On jobs with this NAME=VALUE.")]
OnSchedule = Annotated[str | None, Parameter(help="On the due times of this schedule, wherever it is used.")]
EveryNth = Annotated[int | None, Parameter(help="Slow down: every Nth due time runs. Default: pause.")]
Cron = Annotated[str | None, Parameter(help="Slow down: run at the times of this cron expression instead.")]
Start = Annotated[str | None, Parameter(name="--from", help="When it begins; default now.")]
End = Annotated[str | None, Parameter(name="--until", help="When it ends for good.")]
Recurring = Annotated[str | None, Parameter(help="It opens at each time of this cron expression, for --lasts.")]
Lasts = Annotated[str | None, Parameter(help="How long each opening lasts, for example 2h.")]
Tz = Annotated[str | None, Parameter(help="The IANA zone of --recurring and --cron; default UTC.")]
ForEver = Annotated[bool, Parameter(negative="", help="Yes, it is to pause until somebody removes it.")]


@app.default
@app.command(name="list")
def list_exceptions(*, home: Home = None, output: Output = "table") -> None:
    """List the exceptions, with what they do now: active, upcoming or over."""
    _exceptions.list(home=home, output=output)


@app.command
def add(
    *,
    reason: Annotated[str, Parameter(help="Why; shown with every run that it skips.")],
    job: Job = None,
    env: Env = None,
    label: Label = None,
    schedule: OnSchedule = None,
    every_nth: EveryNth = None,
    cron: Cron = None,
    start: Start = None,
    end: End = None,
    recurring: Recurring = None,
    lasts: Lasts = None,
    tz: Tz = None,
    for_ever: ForEver = False,
    home: Home = None,
    output: Output = "table",
) -> None:
    """Pause or slow down a job, an environment, a label or a schedule for a while."""
    body = {
        **_on(job=job, env=env, label=label, schedule=schedule),
        **_window(every_nth=every_nth, cron=cron, start=start, end=end, recurring=recurring, lasts=lasts, tz=tz),
        "effect": "slow" if every_nth or cron else "pause",
        "for_ever": for_ever or None,
        "reason": reason,
    }
    _exceptions.add(body, home=home, output=output)


@app.command
def preview(
    *,
    job: Job = None,
    env: Env = None,
    label: Label = None,
    schedule: OnSchedule = None,
    every_nth: EveryNth = None,
    cron: Cron = None,
    start: Start = None,
    end: End = None,
    recurring: Recurring = None,
    lasts: Lasts = None,
    tz: Tz = None,
    n: Annotated[int, Parameter(name="-n", help="How many due times.")] = 50,
    home: Home = None,
    output: Output = "table",
) -> None:
    """Print the next due times as they would be, with the skipped ones marked; nothing is saved."""
    body = {
        **_on(job=job, env=env, label=label, schedule=schedule),
        **_window(every_nth=every_nth, cron=cron, start=start, end=end, recurring=recurring, lasts=lasts, tz=tz),
        "effect": "slow" if every_nth or cron else "pause",
        "for_ever": True,
        "n": n,
    }
    with connect(home) as client:
        answer = client.post("/exceptions/preview", given(body))
    if output == "json":
        return print_json(answer)
    columns: Sequence[Column] = [
        ("DUE", "at"),
        *([("STARTS", "fire_at")] if any(due["fire_at"] != due["at"] for due in answer["due"]) else []),
        ("JOB", lambda due: f"{due['job']}@{due['env']}"),
        ("WHAT", "outcome"),
        ("BY", lambda due: "this exception" if due["this"] else (due["exception"] or "")[:8]),
        ("WHY", lambda due: "" if due["this"] else due["reason"]),
    ]
    print_items(answer["due"], columns, output=output, none="Nothing that is enabled is due under it.")


@app.command(name="set")
def set_exception(
    name: Ref,
    /,
    *,
    every_nth: EveryNth = None,
    cron: Cron = None,
    start: Start = None,
    end: End = None,
    recurring: Recurring = None,
    lasts: Lasts = None,
    tz: Tz = None,
    reason: str | None = None,
    home: Home = None,
    output: Output = "table",
) -> None:
    """Change when an exception is open, how far it slows down, or its reason."""
    window = _window(every_nth=every_nth, cron=cron, start=start, end=end, recurring=recurring, lasts=lasts, tz=tz)
    _exceptions.set(name, {**window, "reason": reason}, home=home, output=output)


def _on(*, job: str | None, env: str | None, label: str | None, schedule: str | None) -> dict[str, Any]:
    scope, target = _scope(job=job, env=env, label=label, schedule=schedule)
    return {"scope": scope, "target": target}


def _window(
    *,
    every_nth: int | None,
    cron: str | None,
    start: str | None,
    end: str | None,
    recurring: str | None,
    lasts: str | None,
    tz: str | None,
) -> dict[str, Any]:
    return {
        "every_nth": every_nth,
        "cron": cron,
        "start": _instant(start),
        "end": _instant(end),
        "recurrence": recurring,
        "lasts": lasts,
        "tz": tz,
    }


def _scope(*, job: str | None, env: str | None, label: str | None, schedule: str | None) -> tuple[str, str]:
    if job and env and not (label or schedule):
        return "context", f"{job}@{env}"
    chosen = given({"job": job, "environment": env, "label": label, "schedule": schedule})
    if len(chosen) != 1:
        raise UsageError("Say what it is on: --job (with --env or without), --env, --label or --schedule")
    return next(iter(chosen.items()))


def _instant(text: str | None) -> str | None:
    if text is None:
        return None
    try:
        return datetime.fromisoformat(text).astimezone().isoformat()
    except ValueError:
        raise UsageError(f"{text!r} is not an instant: write it like 2026-10-24T06:00:00Z") from None
