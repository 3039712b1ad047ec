"""What the vault needs of a store. Postgres and the fake in `kirby_vault.testing` pass one suite."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol
from uuid import UUID

from kirby_vault.domain.envelope import Sealed

Action = Literal["put", "get", "list", "delete", "grant", "revoke", "list-grants", "run-get", "list-audit"]
Outcome = Literal["allowed", "denied", "absent"]


@dataclass(frozen=True)
class Access:
    """Who asked for what, and what came of it: one audit row."""

    principal: str
    action: Action
    outcome: Outcome = "allowed"
    path: str | None = None
    version: int | None = None
    run_id: UUID | None = None
    context_id: UUID | None = None
    reason: str | None = None


@dataclass(frozen=True)
class AuditRow:
    id: int
    at: datetime
    access: Access


@dataclass(frozen=True)
class StoredSecret:
    path: str
    version: int
    sealed: Sealed


@dataclass(frozen=True)
class SecretSummary:
    """What may be listed of a secret: never a value."""

    path: str
    version: int
    fields: tuple[str, ...]
    created_at: datetime
    updated_at: datetime
    updated_by: str


@dataclass(frozen=True)
class Grant:
    context_id: UUID
    path: str
    created_at: datetime
    created_by: str
    job: str | None = None
    env: str | None = None


class SecretStore(Protocol):
    """Versions of sealed secrets, grants and the audit trail. Every method may raise a store's own
    connection errors; a change and its audit row are written together or not at all."""

    async def put(self, path: str, *, fields: Sequence[str], seal: Callable[[int], Sealed], access: Access) -> int:
        """Writes the next version (1, 2, 3, … for ever, also after a deletion) and returns its number.

        `seal` is called with that number, inside the transaction.
        """
        ...

    async def read(self, path: str, *, version: int | None = None) -> StoredSecret | None:
        """The newest version, or the given one; None when it is absent or deleted. Writes no audit row."""
        ...

    async def delete(self, path: str, *, access: Access) -> bool:
        """Destroys the ciphertexts of all versions; their numbers stay used. False when there was none."""
        ...

    async def secrets(self, *, after: str, limit: int) -> Sequence[SecretSummary]:
        """Secrets that are not deleted, by path, those after `after`."""
        ...

    async def grant(self, context_id: UUID, *, path: str, access: Access) -> bool:
        """Adds a grant; False when it was there already (the audit row is written all the same)."""
        ...

    async def revoke(self, context_id: UUID, *, path: str, access: Access) -> bool:
        """Takes a grant away; False when it was not there (no audit row then)."""
        ...

    async def grants(self, *, context_id: UUID | None = None) -> Sequence[Grant]:
        """Grants by context and path, of one context or of all; with the context's names where they are known."""
        ...

    async def record(self, access: Access) -> None:
        """Writes an audit row for something that changes nothing else. Returns once it is durable."""
        ...

    async def audit(self, *, before: int | None, limit: int) -> Sequence[AuditRow]:
        """Audit rows, newest first, those with a lower id than `before`."""
        ...

    async def know_context(self, context_id: UUID, *, job: str, env: str) -> None:
        """Remembers the names of a context; another one of these names has them no longer."""
        ...

    async def context_named(self, *, job: str, env: str) -> UUID | None:
        """The context of these names, if it is known."""
        ...

    async def forget_context(self, context_id: UUID) -> None:
        """The context is gone: its grants and names go too."""
        ...
