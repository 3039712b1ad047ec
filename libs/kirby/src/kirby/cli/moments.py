"""Instants as people type them: `2026-03-01`, `2026-03-01T12:00Z`, or so long ago: `-2d`, `-1h30m`."""

import re
from datetime import UTC, datetime, timedelta

from kirby.cli.errors import UsageError

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_PART = re.compile(r"(\d+)([smhdw])")


def moment(text: str, *, option: str, now: datetime | None = None) -> str:
    """The instant in ISO form; a date or a time without a zone is UTC. Raises UsageError."""
    if text.startswith("-") and not _PART.sub("", text[1:]) and text != "-":
        ago = timedelta(**_summed(_PART.findall(text)))
        return ((now or datetime.now(UTC)) - ago).isoformat()
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(
            f"{option} {text!r} is no instant: write 2026-03-01, 2026-03-01T12:00:00Z, or -2d for two days ago"
        ) from None
    return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).isoformat()


def _summed(parts: list[tuple[str, str]]) -> dict[str, int]:
    found: dict[str, int] = {}
    for number, unit in parts:
        found[_UNITS[unit]] = found.get(_UNITS[unit], 0) + int(number)
    return found
