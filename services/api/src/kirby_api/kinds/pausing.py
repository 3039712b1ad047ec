"""What can be paused by hand: a job, a context, an environment; with who and why."""

from typing import Any, Protocol


class Pausable(Protocol):
    paused: Any
    pause_reason: Any
    paused_by: Any


def set_paused(row: Pausable, fields: dict[str, Any], *, author: str) -> None:
    """Takes `paused` and `pause_reason` out of the fields that were sent. A reason alone changes that of a pause."""
    paused, reason = fields.pop("paused", None), fields.pop("pause_reason", None)
    if paused is None and not (row.paused and reason is not None):
        return
    if paused is False:
        row.paused, row.pause_reason, row.paused_by = False, None, None
    else:
        row.paused, row.pause_reason, row.paused_by = True, reason, author
