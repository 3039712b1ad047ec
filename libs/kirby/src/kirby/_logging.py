"""Standard logging, with the level in front of every line, where Kirby finds it."""

import logging
import sys


class LevelFormatter(logging.Formatter):
    """`LEVEL name: text`; every further line of a record (a traceback) is indented below it.

    >>> LevelFormatter().format(logging.makeLogRecord({"name": "weather", "levelname": "WARNING", "msg": "late"}))
    'WARNING weather: late'
    """

    def __init__(self) -> None:
        super().__init__("%(levelname)s %(name)s: %(message)s")


def tell(level: str, sentence: str) -> None:
    """A line of the SDK's own, in the format of the script's."""
    sys.stderr.write(f"{level} kirby: {sentence}\n")
    sys.stderr.flush()


def logger(name: str = "script", *, level: int | str = logging.INFO) -> logging.Logger:
    """A logger whose lines show their level in Kirby. Sets up standard logging once, unless the script has done so.

    `level` is the lowest one printed, a number or a name. Lines go to stderr at once.

    >>> logger("weather").name
    'weather'
    """
    root = logging.getLogger()
    if not root.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(LevelFormatter())
        root.addHandler(handler)
        root.setLevel(level)
    named = logging.getLogger(name)
    named.setLevel(level)
    return named
