"""Waiting for something in the database, with a deadline: woken by what is told, else by the clock."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, TypeVar

from fastapi import Query

T = TypeVar("T")
Wait = Annotated[float, Query(ge=0, le=3600, description="seconds to wait for the outcome; 0: don't wait")]


async def wait_for(look: Callable[[], Awaitable[T]], *, done: Callable[[T], bool], seconds: float) -> T:
    """Looks until `done`, or until the time is over; returns what was seen last."""
    deadline = asyncio.get_running_loop().time() + seconds
    pause = 0.02
    while True:
        seen = await look()
        left = deadline - asyncio.get_running_loop().time()
        if done(seen) or left <= 0:
            return seen
        await asyncio.sleep(min(pause, left))
        pause = min(pause * 1.5, 0.5)
