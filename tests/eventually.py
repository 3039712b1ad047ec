"""Waiting in tests: poll until it is so, or fail at the deadline; never sleep and hope."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, overload

T = TypeVar("T")

# A continuous-integration machine may be shared and slow: how long a test is willing to wait says nothing about
# what it asserts, so there it waits longer before it calls a thing failed.
_PATIENCE = 4.0 if os.environ.get("CI") else 1.0


@overload
async def eventually(
    predicate: Callable[[], Awaitable[T]], *, timeout: float = 10, every: float = 0.02, what: str = ""
) -> T: ...


@overload
async def eventually(predicate: Callable[[], T], *, timeout: float = 10, every: float = 0.02, what: str = "") -> T: ...


async def eventually(predicate: Callable[[], Any], *, timeout: float = 10, every: float = 0.02, what: str = "") -> Any:
    """Returns the predicate's first true value. An exception of it counts as "not yet", and is shown at the end."""
    deadline = time.monotonic() + timeout * _PATIENCE
    while True:
        try:
            got = predicate()
            value = await got if isinstance(got, Awaitable) else got
            problem: object = value
            if value:
                return value
        except Exception as error:
            problem = repr(error)
        if time.monotonic() > deadline:
            raise AssertionError(f"{what or 'it'} did not happen within {timeout * _PATIENCE:g} s; last: {problem}")
        await asyncio.sleep(every)


def eventually_sync(predicate: Callable[[], T], *, timeout: float = 10, every: float = 0.02, what: str = "") -> T:
    """As `eventually`, for tests without an event loop."""
    deadline = time.monotonic() + timeout * _PATIENCE
    while True:
        try:
            value = predicate()
            problem: object = value
            if value:
                return value
        except Exception as error:
            problem = repr(error)
        if time.monotonic() > deadline:
            raise AssertionError(f"{what or 'it'} did not happen within {timeout * _PATIENCE:g} s; last: {problem}")
        time.sleep(every)
