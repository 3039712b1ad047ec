"""Identities: a run's id follows from what it is, so that inserting it twice is impossible."""

from datetime import datetime
from uuid import UUID, uuid5

_NAMESPACE = UUID("6b697262-7900-4000-8000-6c61756e6368")


def run_id(context_id: UUID, kind: str, key: str) -> UUID:
    """The id of the run of `kind` with `key` in a context."""
    return uuid5(_NAMESPACE, f"{context_id}|{kind}|{key}")


def schedule_key(due_at: datetime) -> str:
    """A due instant as UTC milliseconds: two schedules of a context due together are one run."""
    return str(round(due_at.timestamp() * 1000))


def manual_key(principal: str, idempotency_key: str) -> str:
    return f"{principal}|{idempotency_key}"


def backfill_key(backfill_id: UUID, due_at: datetime) -> str:
    return f"{backfill_id}|{schedule_key(due_at)}"


def rerun_key(of_run: UUID, request_key: str) -> str:
    return f"{of_run}|{request_key}"


def daemon_key(slot: int, generation: int) -> str:
    return f"{slot}|{generation}"


def shadow_key(rewind_id: UUID, number: int) -> str:
    return f"{rewind_id}|{number}"


def range_key(start: datetime) -> str:
    return f"range|{schedule_key(start)}"
