"""Durations as people write them: `300ms`, `20s`, `5m`, `1h30m`, `2d`, or plain seconds."""

import re
from datetime import timedelta
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d|w)")


def parse_duration(text: object) -> timedelta:
    """A timedelta from text, a number of seconds or a timedelta.

    Raises ValueError with a sentence for the user.
    """
    if isinstance(text, timedelta):
        return text
    if isinstance(text, bool):
        raise ValueError(f"{text!r} is not a duration; write for example 20s, 5m or 1h30m")
    try:
        if isinstance(text, int | float):
            return timedelta(seconds=text)
        compact = str(text).strip().replace(" ", "")
        if re.fullmatch(r"\d+(\.\d+)?", compact):
            return timedelta(seconds=float(compact))
        if compact and not _PART.sub("", compact):
            return timedelta(seconds=sum(float(n) * _UNITS[u] for n, u in _PART.findall(compact)))
    except OverflowError:
        raise ValueError(f"{text!r} is too long a duration") from None
    raise ValueError(f"{text!r} is not a duration; write for example 20s, 5m or 1h30m")


def format_duration(value: timedelta) -> str:
    """The shortest exact text that `parse_duration` reads back."""
    ms = round(value.total_seconds() * 1000)
    parts = []
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)):
        count, ms = divmod(ms, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


Duration = Annotated[timedelta, BeforeValidator(parse_duration), PlainSerializer(format_duration)]
