"""The message in hand: what a handler is working on, so that what it sends can say where it comes from.

A context variable, so that threads, tasks and nested handlers each have their own. Reading sets it; `holding` sets it
for a block, for those who hand messages out otherwise (thread pools, process pools, timers).
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol


class InHand(Protocol):
    """A message, or several."""

    def onward(self) -> bytes:
        """The `kirby` header of what is made from it; the same for all of it."""


hand: ContextVar[InHand | None] = ContextVar("kirby_in_hand", default=None)
hold = hand.set
in_hand = hand.get


@contextmanager
def holding(what: InHand | None) -> Iterator[None]:
    """Have `what` in hand while the block lasts."""
    token = hand.set(what)
    try:
        yield
    finally:
        hand.reset(token)
