"""A stream beside a table: each message with what a State says of it."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal, TypeVar

from kirby._process import process
from kirby.errors import KirbyError
from kirby.message import Message
from kirby.state.table import State

V = TypeVar("V")


def join(
    messages: Iterable[Message[V]],
    table: State,
    *,
    key: str | Callable[[Message[V]], str | None] | None = None,
    how: Literal["left", "inner"] = "left",
) -> Iterator[tuple[Message[V], Any]]:
    """Each message with the newest value that `table` has for it now, or None; `inner` passes over those without.

    `messages`: a Topic, or what its `iterate`, `exactly_once` or `between` give. `key`: the field of the value, or a
    function of the message, that says which key to look for; default the message's own. The message is in hand: what
    is sent is made from it alone, for reading a State does not flag. `State(fresh_within=…)` says how old the copy of
    the table may be. Raises KirbyError for an unknown `how`.

    >>> import kirby
    >>> with kirby.State("rates", create=True) as rates, kirby.Topic("sales", group="tills", create=True) as sales:
    ...     version = rates.set("CHF", 1.07)
    ...     sales.send({"amount": 10, "currency": "CHF"})
    ...     [message.value["amount"] * rate for message, rate in join(sales.iterate(1), rates, key="currency")]
    [10.700000000000001]
    """
    if how not in ("left", "inner"):
        raise KirbyError(f'join(…): how= is "left" or "inner", not {how!r}')
    return _joined(messages, table, key, how == "inner")


def _joined(
    messages: Iterable[Message[V]], table: State, key: str | Callable[[Message[V]], str | None] | None, is_inner: bool
) -> Iterator[tuple[Message[V], Any]]:
    for message in messages:
        wanted = _key_of(message, key)
        found = None if wanted is None else table.get(wanted)
        process().touched("state", table.name, direction="in")
        if found is not None or not is_inner:
            yield message, found


def _key_of(message: Message[Any], key: str | Callable[[Message[Any]], str | None] | None) -> str | None:
    if key is None:
        return message.key
    if callable(key):
        return key(message)
    value: Any = message.value
    found = value.get(key) if isinstance(value, dict) else getattr(value, key, None)
    return None if found is None else str(found)
