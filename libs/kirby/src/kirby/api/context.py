"""`ctx`: environment variables by name, with the types that the script's signature gives them."""

import os
from collections.abc import Callable
from typing import Any

_TRUE = frozenset({"1", "true", "yes", "on", "y", "t"})
_signature: dict[str, dict[str, Any]] = {}


class MissingEnvironmentVariable(Exception):
    """A variable that is not set, and has no default."""


class ContextManager:
    """Makes `config` the signature: per variable a `type`, a `default`, and for lists a `separator` (a comma).

    >>> _ = ContextManager({"LIMIT": {"type": int, "default": 3}})
    >>> ctx.LIMIT, ctx["LIMIT"]
    (3, 3)
    """

    def __init__(self, config: dict[str, dict[str, Any]]) -> None:
        self.config = config
        _signature.clear()
        _signature.update(config)


class Context:
    """Environment variables as attributes or items."""

    def __getattr__(self, item: str) -> Any:
        """Raises `MissingEnvironmentVariable`, and `ValueError` for a text that is not of the type."""
        if item.startswith("__"):
            raise AttributeError(item)  # Python itself asks for such names, and no variable has one.
        found = _value(item, **_signature.get(item, {}))
        if found is None:
            raise MissingEnvironmentVariable(f"The environment variable {item} is not set: set it, or add a config key")
        return found

    def __getitem__(self, item: str) -> Any:
        return self.__getattr__(item)

    def __repr__(self) -> str:
        return "; ".join(f"{name}={_value(name, **how)!r}" for name, how in _signature.items())


ctx: Context = Context()


def _value(name: str, *, type: Callable[[Any], Any] = str, default: Any = None, separator: str = ",") -> Any:
    text = os.environ.get(name)
    if text is None:
        return default
    if type is bool:
        return text.strip().lower() in _TRUE
    if type in (list, tuple):
        return type(part.strip() for part in text.split(separator))
    return type(text)
