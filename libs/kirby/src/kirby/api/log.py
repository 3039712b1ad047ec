"""`Logger` and `LogReader`, on the topic `_logs`. What a script prints is in Kirby's own logs without them."""

import os
import sys
import uuid
from collections.abc import Callable
from typing import Any

from kirby.api.ext.topic import Topic

LOGGER_TOPIC_NAME = "_logs"
LEVELS: list[str] = ["critical", "error", "warning", "info", "debug", "noset"]
CORRESPONDENCES_VALUES_LEVELS: dict[str, int] = {
    "critical": 50,
    "error": 40,
    "warning": 30,
    "info": 20,
    "debug": 10,
    "noset": 0,
}


class Logger:
    """`critical`, `error`, `warning`, `info`, `debug`, `noset`, and `log` for the default level.

    Further arguments are those of `Topic`. Raises ValueError for a level that is none.

    >>> logger = Logger(default_level="info", testing=True)
    >>> logger.log("started")
    >>> logger.logs_topic.next()
    'started'
    """

    def __init__(self, default_level: str = "noset", **kargs: Any) -> None:
        if default_level not in LEVELS:
            raise ValueError(f"{default_level!r} is no level: use one of {', '.join(LEVELS)}")
        kargs["group_id"] = kargs.get("group_id") or str(uuid.uuid4())
        self.logs_topic: Topic = Topic(LOGGER_TOPIC_NAME, **kargs)
        self.name: str = os.path.splitext(os.path.basename(sys.argv[0]))[0]
        self.default_level = default_level

    def __getattr__(self, item: str) -> Callable[[Any], None]:
        if item not in (*LEVELS, "log"):
            raise AttributeError(f"Logger has no attribute {item}")
        level = self.default_level if item == "log" else item

        def send_log(message: Any) -> None:
            self.logs_topic.send(message, headers={"level": level, "package_name": self.name})

        return send_log


class LogReader(Topic):
    """Reads what Loggers wrote, as records with the headers `level` and `package_name`."""

    def __init__(self, **kargs: Any) -> None:
        kargs["group_id"] = kargs.get("group_id") or str(uuid.uuid4())
        super().__init__(LOGGER_TOPIC_NAME, **{**kargs, "raw_records": True})

    def nexts(
        self, timeout_ms: float = 500, package_name: str | None = None, max_records: int | None = None
    ) -> list[Any]:
        """As `Topic.nexts`; with `package_name` only what that package wrote."""
        records = self._consumer().nexts(timeout_ms=timeout_ms, max_records=max_records)
        if package_name is None:
            return records
        return [record for record in records if dict(record.headers).get("package_name") == package_name]
