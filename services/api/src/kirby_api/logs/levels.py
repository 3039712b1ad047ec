"""The level of a line, where the line shows one. Pure."""

import re
from typing import Any

import orjson

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
_SAME = {
    "TRACE": "DEBUG", "DEBUG": "DEBUG", "INFO": "INFO", "INFORMATION": "INFO", "NOTICE": "INFO", "WARN": "WARNING",
    "WARNING": "WARNING", "ERROR": "ERROR", "ERR": "ERROR", "SEVERE": "ERROR", "CRITICAL": "CRITICAL",
    "FATAL": "CRITICAL", "PANIC": "CRITICAL", "EMERGENCY": "CRITICAL", "ALERT": "CRITICAL",
}  # fmt: skip
_WORD = re.compile(
    rb"(?<![A-Za-z0-9_])(TRACE|DEBUG|INFO|NOTICE|WARN(?:ING)?|ERROR|SEVERE|CRITICAL|FATAL)(?![A-Za-z0-9_])"
)
_BRACKETED = re.compile(rb"\[\s*(trace|debug|info|notice|warn(?:ing)?|error|severe|critical|fatal)\s*\]", re.IGNORECASE)
_LOGFMT = re.compile(rb"(?<![A-Za-z0-9_])(?:level|lvl|severity)=\"?([A-Za-z]+)")
_LEADS_UP = re.compile(rb"[\s\[(<|:*#>-]*")
_SIGNS = re.compile(rb"[0-9\[|:]")
_LOOK_AT = 160
_JSON_KEYS = ("level", "levelname", "severity", "lvl", "log.level")


class LevelReader:
    """Reads the lines of one stream of one attempt in order: a traceback goes on over several of them."""

    def __init__(self) -> None:
        self._in_traceback = False

    def level(self, line: bytes) -> str | None:
        """DEBUG, INFO, WARNING, ERROR or CRITICAL, or None when the line shows none."""
        if self._in_traceback:
            self._in_traceback = not line or line[:1].isspace()
            return "ERROR"
        if line.startswith(b"Traceback (most recent call last):"):
            self._in_traceback = True
            return "ERROR"
        if line.startswith(b"{"):
            return _of_json(line)
        return _of_text(line[:_LOOK_AT])


def _of_text(head: bytes) -> str | None:
    found = _WORD.search(head)
    if found is not None:
        before = head[: found.start()]
        if _LEADS_UP.fullmatch(before) or _SIGNS.search(before):
            return _SAME[found[1].decode()]
    other = _BRACKETED.search(head) or _LOGFMT.search(head)
    return None if other is None else _SAME.get(other[1].decode().upper())


def _of_json(line: bytes) -> str | None:
    try:
        record: Any = orjson.loads(line)
    except orjson.JSONDecodeError:
        return _of_text(line[:_LOOK_AT])
    for key in _JSON_KEYS:
        value = record.get(key)
        if isinstance(value, str):
            return _SAME.get(value.upper())
        if isinstance(value, int) and not isinstance(value, bool):
            return LEVELS[min(max(value // 10, 1), 5) - 1]
    return None


def at_least(level: str) -> frozenset[str]:
    """This level and those above it. Raises ValueError with a sentence."""
    name = _SAME.get(level.upper())
    if name is None:
        raise ValueError(f"level '{level}' is unknown; known are {', '.join(LEVELS)}")
    return frozenset(LEVELS[LEVELS.index(name) :])
