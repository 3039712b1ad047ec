"""A term of leadership: the epoch, and the check that every transaction of the leader begins with."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine


class Deposed(RuntimeError):
    """Another leader has taken a newer epoch: this term is over, at once."""


@dataclass(frozen=True)
class Term:
    engine: AsyncEngine
    holder: UUID
    epoch: int

    @asynccontextmanager
    async def transaction(self, *, timeout_ms: int = 10_000) -> AsyncIterator[AsyncConnection]:
        """A transaction that can only commit while no newer epoch has begun. Raises `Deposed`."""
        async with self.engine.begin() as tx:
            await tx.execute(text(f"SET LOCAL statement_timeout = {timeout_ms:d}"))
            await tx.execute(text(f"SET LOCAL idle_in_transaction_session_timeout = {timeout_ms:d}"))
            held = await tx.execute(
                text("SELECT 1 FROM leader WHERE epoch = :epoch AND holder = :holder FOR SHARE"),
                {"epoch": self.epoch, "holder": self.holder},
            )
            if held.first() is None:
                raise Deposed(f"epoch {self.epoch} is over")
            yield tx
