"""Which changes of a run, and which missed marks, are worth a message, and what it says."""

import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from kirby_common.messages import MarkMissed, MarkRecovered, RunChanged

EventType = Literal["run.failed", "run.lost", "run.retrying", "mark.missed", "mark.recovered"]
Occasion = Literal["on_failure", "on_retry", "suite"]

_TOLD: dict[str, tuple[EventType, Occasion]] = {
    "FAILED": ("run.failed", "on_failure"),
    "LOST": ("run.lost", "on_failure"),
    "RETRYING": ("run.retrying", "on_retry"),
}
_FIELDS = (
    "run_id", "rev", "status", "kind", "job", "env", "namespace", "labels", "due_at", "started_at", "ended_at",
    "attempt", "exit_code", "reason", "package_name", "package_version", "worker",
)  # fmt: skip


@dataclass(frozen=True)
class Alert:
    """One thing to tell: `body` is the exact text that is signed and sent.

    It is of a run, or of the missed mark `mark_id`; what belongs to no context is for the groups of the suite.
    """

    type: EventType
    occasion: Occasion
    run_id: UUID | None
    rev: int
    context_id: UUID | None
    job: str | None
    env: str | None
    body: str
    mark_id: UUID | None = None

    @property
    def source_id(self) -> UUID:
        """With `rev`, what makes it one thing to tell, however often it is read."""
        source = self.mark_id or self.run_id
        assert source is not None
        return source


def alert_for(change: RunChanged, *, at: datetime, public_url: str) -> Alert | None:
    """The alert that a change of a run gives rise to; None for most."""
    told = _TOLD.get(change.status)
    if told is None or change.previous == change.status or change.context_id is None:
        return None
    event_type, occasion = told
    data = change.model_dump(mode="json", include=set(_FIELDS))
    data["url"] = f"{public_url.rstrip('/')}/runs/{change.run_id}"
    body = _body(event_type, at, data)
    return Alert(event_type, occasion, change.run_id, change.rev, change.context_id, change.job, change.env, body)


def alert_for_mark(mark: MarkMissed | MarkRecovered, *, at: datetime, public_url: str) -> Alert | None:
    """The alert of a missed mark, or of its end; None for one without an id, which can't be told once."""
    if mark.alert_id is None:
        return None
    missed = isinstance(mark, MarkMissed)
    event_type: EventType = "mark.missed" if missed else "mark.recovered"
    data = mark.model_dump(mode="json", exclude={"context_id"})
    data["url"] = public_url.rstrip("/") + ("/" if mark.run_id is None else f"/runs/{mark.run_id}")
    occasion: Occasion = "suite" if mark.context_id is None else "on_failure"
    body = _body(event_type, at, data)
    return Alert(
        event_type, occasion, mark.run_id, 1 if missed else 2, mark.context_id, mark.job, mark.env, body,
        mark_id=mark.alert_id,
    )  # fmt: skip


def _body(event_type: EventType, at: datetime, data: dict[str, Any]) -> str:
    message = {"type": event_type, "timestamp": at.isoformat().replace("+00:00", "Z"), "data": data}
    return json.dumps(message, ensure_ascii=False, separators=(",", ":"))


def as_mail(body: str) -> tuple[str, str]:
    """Subject and text of the e-mail that says what a body says."""
    message: dict[str, Any] = json.loads(body)
    data = message["data"]
    what = {
        "run.failed": "failed", "run.lost": "was lost", "run.retrying": "failed and is tried again",
        "mark.missed": "needs attention", "mark.recovered": "is as it should be again",
    }  # fmt: skip
    of = f"{data['job']} in {data['env']}" if data.get("job") else data.get("subject", "")
    subject = f"[Kirby] {of} {what.get(message['type'], message['type'])}"
    lines = [
        f"{name.replace('_', ' ')}: {data[name]}"
        for name in (
            "reason",
            "exit_code",
            "attempt",
            "due_at",
            "started_at",
            "ended_at",
            "worker",
            "run_id",
            "opened_at",
            "closed_at",
        )
        if data.get(name) is not None
    ]
    return " ".join(subject.split()), "\n".join([data["url"], "", *lines, ""])
