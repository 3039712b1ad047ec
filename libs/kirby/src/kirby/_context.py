"""The script's own environment, typed: what Kirby says about the run, and the script's variables."""

import dataclasses
import json
import os
import types
import typing
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar, Union

from kirby.errors import BadVariable, MissingVariable

T = TypeVar("T")

_TRUE = {"1", "true", "yes", "on"}
_FALSE = {"0", "false", "no", "off", ""}


class Context:
    """What Kirby tells a script by environment variables.

    Called with a class, it reads that class's annotated names from the environment, converted to their types; a class
    default makes a variable optional. Types: str, int, float, bool (1/0, true/false, yes/no, on/off), datetime and date
    (ISO 8601), timedelta (seconds), Path, and dict or list (JSON).
    Raises `MissingVariable`, which names all that are missing, or `BadVariable`, which names the first wrong one.

    >>> os.environ |= {"STATION": "KSEA", "BATCH": "50"}
    >>> class Settings:
    ...     STATION: str
    ...     BATCH: int = 100
    ...     VERBOSE: bool = False
    >>> settings = ctx(Settings)
    >>> settings.STATION, settings.BATCH, settings.VERBOSE
    ('KSEA', 50, False)
    """

    def __call__(self, signature: type[T]) -> T:
        hints = typing.get_type_hints(signature)
        defaults = _defaults(signature)
        missing = [name for name in hints if name not in os.environ and name not in defaults]
        if missing:
            raise MissingVariable(missing)
        values = {
            name: _convert(name, os.environ[name], hint) if name in os.environ else defaults[name]()
            for name, hint in hints.items()
        }
        if dataclasses.is_dataclass(signature):
            return signature(**values)
        made = signature()
        for name, value in values.items():
            setattr(made, name, value)
        return made

    def variable(self, name: str) -> str:
        """The text of one environment variable. Raises `MissingVariable`, which names it.

        >>> os.environ["STATION"] = "KSEA"
        >>> ctx.variable("STATION")
        'KSEA'
        """
        try:
            return os.environ[name]
        except KeyError:
            raise MissingVariable([name]) from None

    @property
    def run_id(self) -> str:
        """The run's id: the same in every attempt, so it serves as an idempotency key."""
        return self.variable("KIRBY_RUN_ID")

    @property
    def attempt(self) -> int:
        """Which attempt of the run this is, from 1."""
        return int(_convert("KIRBY_ATTEMPT", self.variable("KIRBY_ATTEMPT"), int))

    @property
    def grant(self) -> int:
        """The fencing token: a later holder of the run has a higher one."""
        return int(_convert("KIRBY_GRANT", self.variable("KIRBY_GRANT"), int))

    @property
    def job(self) -> str:
        """The job's name."""
        return self.variable("KIRBY_JOB")

    @property
    def env(self) -> str:
        """The environment's name, for example `prod`."""
        return self.variable("KIRBY_ENV")

    @property
    def due_at(self) -> datetime | None:
        """The instant this run was due, aware; None for a daemon."""
        text = os.environ.get("KIRBY_DUE_AT")
        return typing.cast(datetime, _convert("KIRBY_DUE_AT", text, datetime)) if text else None

    @property
    def rerun(self) -> bool:
        """Whether this run repeats an earlier one's inputs."""
        return bool(_convert("KIRBY_RERUN", os.environ.get("KIRBY_RERUN", ""), bool))

    def effect_key(self, index: int = 0) -> str:
        """A key for what a handler does because of the message in hand: the same when a re-run does it again.

        So a sink can replace what is there instead of adding to it. It is made of the message from which all came,
        the job, the message's key, and `index`, the number of the effect where a handler has several. It holds for
        handlers that make one message of one, all the way. Without a message it is that of the run's due time.

        >>> os.environ |= {"KIRBY_JOB": "report", "KIRBY_ENV": "prod", "KIRBY_DUE_AT": "2026-03-01T12:00:00Z"}
        >>> ctx.effect_key() == ctx.effect_key(0) != ctx.effect_key(1)
        True
        """
        from kirby._effects import effect_key

        return effect_key(index)

    @property
    def slot(self) -> int | None:
        """A daemon's replica slot, from 0; None for other runs."""
        text = os.environ.get("KIRBY_SLOT")
        return int(_convert("KIRBY_SLOT", text, int)) if text else None


ctx: Context = Context()


def _defaults(signature: type[Any]) -> dict[str, Any]:
    """The names that may be absent, each with a callable that gives its default."""
    if not dataclasses.is_dataclass(signature):
        names = typing.get_type_hints(signature)
        return {name: (lambda name=name: getattr(signature, name)) for name in names if hasattr(signature, name)}
    found: dict[str, Any] = {}
    for field in dataclasses.fields(signature):
        if field.default is not dataclasses.MISSING:
            found[field.name] = lambda field=field: field.default
        elif field.default_factory is not dataclasses.MISSING:
            found[field.name] = field.default_factory
    return found


def _convert(name: str, text: str, hint: Any) -> Any:
    wanted = _without_none(hint)
    plain = typing.get_origin(wanted) or wanted
    try:
        value = _parse(text, plain)
    except ValueError:
        raise BadVariable(name, getattr(plain, "__name__", str(plain))) from None
    if plain in (dict, list) and not isinstance(value, plain):
        raise BadVariable(name, f"JSON {plain.__name__}")
    return value


def _parse(text: str, wanted: Any) -> Any:
    if wanted is bool:
        if text.strip().lower() not in _TRUE | _FALSE:
            raise ValueError(text)
        return text.strip().lower() in _TRUE
    if wanted in (datetime, date):
        return wanted.fromisoformat(text)
    if wanted is timedelta:
        return timedelta(seconds=float(text))
    if wanted in (dict, list):
        return json.loads(text)
    if wanted in (str, int, float, Path):
        return wanted(text)
    raise TypeError(f"kirby.ctx does not read variables of type {wanted!r}")


def _without_none(hint: Any) -> Any:
    """`X` for `X | None`; other unions are not variables' types."""
    if typing.get_origin(hint) in (Union, types.UnionType):
        some = [a for a in typing.get_args(hint) if a is not type(None)]
        return some[0] if len(some) == 1 else hint
    return hint
