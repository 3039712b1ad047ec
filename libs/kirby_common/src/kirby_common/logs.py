"""The services' own logs: JSON lines, or console output on a terminal, or the `LOG_FORMAT` of old."""

import logging
import sys
import time
from collections.abc import Callable

import structlog
from structlog.typing import Processor

_AGAIN_AFTER_S = 60.0


class Seldom(logging.Filter):
    """Lets each message of a library through once a minute, with how often it was held back meanwhile.

    While a broker is away, aiokafka tells of it many times a second.
    """

    def __init__(self, library: str, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._of = logging.Filter(library)
        self._monotonic = monotonic
        self._told: dict[str, tuple[float, int]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if not self._of.filter(record):
            return True
        message = str(record.msg)
        at, held_back = self._told.get(message, (float("-inf"), 0))
        now = self._monotonic()
        if now - at < _AGAIN_AFTER_S:
            self._told[message] = (at, held_back + 1)
            return False
        self._told[message] = (now, 0)
        if held_back:
            record.msg = f"{message} (and {held_back} times more since)"
        return True


def configure(*, service: str, log_format: str | None, level: str = "INFO") -> None:
    """Sets up structlog and the standard library's logging; call once, first thing in `main`."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    handler = logging.StreamHandler(sys.stderr)
    if log_format:
        handler.setFormatter(logging.Formatter(log_format))
        processors: list[Processor] = [
            *shared[:2],
            structlog.processors.format_exc_info,
            structlog.processors.KeyValueRenderer(key_order=["event"]),
        ]
        structlog.configure(
            processors=processors,
            logger_factory=structlog.stdlib.LoggerFactory(),
            wrapper_class=structlog.stdlib.BoundLogger,
            cache_logger_on_first_use=True,
        )
    else:
        terminal = sys.stderr.isatty()
        # Never a traceback with local variables: they may hold a secret.
        console = structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
        renderer: Processor = console if terminal else structlog.processors.JSONRenderer()
        final: list[Processor] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer]
        if not terminal:
            final.insert(1, structlog.processors.format_exc_info)
        handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=final))
        structlog.configure(
            processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
            logger_factory=structlog.stdlib.LoggerFactory(),
            wrapper_class=structlog.stdlib.BoundLogger,
            cache_logger_on_first_use=True,
        )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    for noisy in (
        "aiokafka",
        "httpx2",
        "httpcore2",
        "uvicorn.access",
        "uvicorn.error",
        "alembic",
        "kirby_common.database",  # Where SQLAlchemy logs of our connection pool.
        "aiokafka.conn",
    ):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    handler.addFilter(Seldom("aiokafka"))
    structlog.contextvars.bind_contextvars(service=service)
