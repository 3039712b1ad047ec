"""The store in memory, for tests; it passes the suite that Postgres passes and is not in the wheel."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from uuid import UUID

from kirby_common.clock import Clock, ManualClock

from kirby_vault.domain.envelope import Sealed
from kirby_vault.ports import Access, AuditRow, Grant, SecretSummary, StoredSecret


@dataclass
class _Secret:
    created_at: datetime
    updated_at: datetime
    updated_by: str
    deleted: bool = False
    versions: list[tuple[tuple[str, ...], Sealed | None]] = field(default_factory=list)


class MemorySecretStore:
    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or ManualClock()
        self._secrets: dict[str, _Secret] = {}
        self._grants: dict[tuple[UUID, str], Grant] = {}
        self._contexts: dict[UUID, tuple[str, str]] = {}
        self._audit: list[AuditRow] = []

    async def put(self, path: str, *, fields: Sequence[str], seal: Callable[[int], Sealed], access: Access) -> int:
        now = self._clock.now()
        version = len(self._secrets[path].versions) + 1 if path in self._secrets else 1
        sealed = seal(version)
        secret = self._secrets.setdefault(path, _Secret(now, now, access.principal))
        if secret.deleted:
            secret.created_at, secret.deleted = now, False
        secret.updated_at, secret.updated_by = now, access.principal
        secret.versions.append((tuple(fields), sealed))
        await self.record(replace(access, version=version))
        return version

    async def read(self, path: str, *, version: int | None = None) -> StoredSecret | None:
        secret = self._secrets.get(path)
        if secret is None or secret.deleted:
            return None
        number = len(secret.versions) if version is None else version
        if not 1 <= number <= len(secret.versions):
            return None
        sealed = secret.versions[number - 1][1]
        return None if sealed is None else StoredSecret(path, number, sealed)

    async def delete(self, path: str, *, access: Access) -> bool:
        secret = self._secrets.get(path)
        if secret is None or secret.deleted:
            return False
        secret.deleted, secret.updated_at, secret.updated_by = True, self._clock.now(), access.principal
        secret.versions = [(fields, None) for fields, _ in secret.versions]
        await self.record(access)
        return True

    async def secrets(self, *, after: str, limit: int) -> Sequence[SecretSummary]:
        found = [
            SecretSummary(path, len(s.versions), s.versions[-1][0], s.created_at, s.updated_at, s.updated_by)
            for path, s in sorted(self._secrets.items())
            if not s.deleted and path > after
        ]
        return found[:limit]

    async def grant(self, context_id: UUID, *, path: str, access: Access) -> bool:
        await self.record(access)
        if (context_id, path) in self._grants:
            return False
        self._grants[(context_id, path)] = Grant(context_id, path, self._clock.now(), access.principal)
        return True

    async def revoke(self, context_id: UUID, *, path: str, access: Access) -> bool:
        if self._grants.pop((context_id, path), None) is None:
            return False
        await self.record(access)
        return True

    async def grants(self, *, context_id: UUID | None = None) -> Sequence[Grant]:
        found = [self._named(g) for g in self._grants.values() if context_id in (None, g.context_id)]
        return sorted(found, key=lambda g: (g.job is None, g.job, g.env, str(g.context_id), g.path))

    async def record(self, access: Access) -> None:
        self._audit.append(AuditRow(len(self._audit) + 1, self._clock.now(), access))

    async def audit(self, *, before: int | None, limit: int) -> Sequence[AuditRow]:
        return [row for row in reversed(self._audit) if before is None or row.id < before][:limit]

    async def know_context(self, context_id: UUID, *, job: str, env: str) -> None:
        self._contexts = {known: names for known, names in self._contexts.items() if names != (job, env)}
        self._contexts[context_id] = (job, env)

    async def context_named(self, *, job: str, env: str) -> UUID | None:
        return next((known for known, names in self._contexts.items() if names == (job, env)), None)

    async def forget_context(self, context_id: UUID) -> None:
        self._contexts.pop(context_id, None)
        self._grants = {key: grant for key, grant in self._grants.items() if key[0] != context_id}

    def _named(self, grant: Grant) -> Grant:
        job, env = self._contexts.get(grant.context_id, (None, None))
        return replace(grant, job=job, env=env)
