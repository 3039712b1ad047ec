"""Kirby's script SDK: what a script imports, and nothing is loaded before it is used.

    import kirby

    with kirby.Topic("weather.raw") as raw:
        raw.send({"city": "Seattle", "celsius": 11.4}, key="Seattle")

A script needs none of this: environment variables in, stdout and an exit code out, is enough for Kirby.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kirby._context import ctx
    from kirby._drain import draining
    from kirby._effects import effect
    from kirby._logging import LevelFormatter, logger
    from kirby._secret import secret
    from kirby._serializers import Serializer
    from kirby.dead_letters import DeadLetters
    from kirby.errors import (
        BadMessage,
        BadValue,
        BadVariable,
        CallFailed,
        HeldBack,
        KafkaUnavailable,
        KirbyError,
        MissingVariable,
        NotDelivered,
        OutsideRetention,
        SecretUnavailable,
        TopicAbsent,
    )
    from kirby.files import File
    from kirby.joins import join
    from kirby.message import Message
    from kirby.registration import Kirby
    from kirby.state.owned import OwnedState
    from kirby.state.table import State
    from kirby.timers import Timer, Timers
    from kirby.topic import Topic
    from kirby.webclient import WebClient
    from kirby.windows import Hopping, TooLate, Tumbling, Window

__version__ = "0.1.0"

__all__ = [
    "BadMessage",
    "BadValue",
    "BadVariable",
    "CallFailed",
    "DeadLetters",
    "File",
    "HeldBack",
    "Hopping",
    "KafkaUnavailable",
    "Kirby",
    "KirbyError",
    "LevelFormatter",
    "Message",
    "MissingVariable",
    "NotDelivered",
    "OutsideRetention",
    "OwnedState",
    "SecretUnavailable",
    "Serializer",
    "State",
    "Timer",
    "Timers",
    "TooLate",
    "Topic",
    "TopicAbsent",
    "Tumbling",
    "WebClient",
    "Window",
    "__version__",
    "ctx",
    "draining",
    "effect",
    "join",
    "logger",
    "secret",
]

_MODULES = {
    "ctx": "kirby._context",
    "draining": "kirby._drain",
    "effect": "kirby._effects",
    "LevelFormatter": "kirby._logging",
    "logger": "kirby._logging",
    "secret": "kirby._secret",
    "Serializer": "kirby._serializers",
    "DeadLetters": "kirby.dead_letters",
    "Message": "kirby.message",
    "File": "kirby.files",
    "Kirby": "kirby.registration",
    "OwnedState": "kirby.state.owned",
    "State": "kirby.state.table",
    "Timer": "kirby.timers",
    "Timers": "kirby.timers",
    "Topic": "kirby.topic",
    "WebClient": "kirby.webclient",
    "Hopping": "kirby.windows",
    "TooLate": "kirby.windows",
    "Tumbling": "kirby.windows",
    "Window": "kirby.windows",
    "join": "kirby.joins",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'kirby' has no attribute {name!r}")
    import importlib

    value = getattr(importlib.import_module(_MODULES.get(name, "kirby.errors")), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
