"""Enrolment of the worker that `kirby supervisor` starts: a token, of which the ledger keeps only the hash."""

import os
import secrets
from hashlib import sha256

from kirby_common.ledger.tables import WorkerToken
from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncEngine


async def enrol(engine: AsyncEngine, *, worker: str, fd: int) -> None:
    """Writes a new token of `worker` to the ledger (hashed) and to the pipe (plain), and closes the pipe."""
    token = f"kirbyw_{secrets.token_urlsafe(32)}"
    async with engine.begin() as tx:
        row = {"token_hash": sha256(token.encode()).hexdigest(), "name": worker, "created_by": "supervisor"}
        await tx.execute(insert(WorkerToken.__table__), row)  # type: ignore[arg-type]
    with os.fdopen(fd, "w") as pipe:
        pipe.write(token + "\n")
