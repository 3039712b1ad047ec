"""Secrets, grants and the audit trail in PostgreSQL, schema `vault`."""

from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from kirby_vault.domain.envelope import Sealed
from kirby_vault.ports import Access, AuditRow, Grant, SecretSummary, StoredSecret

_NEXT_VERSION = text(
    """INSERT INTO vault.secrets AS s (path, version, updated_by) VALUES (:path, 1, :by)
    ON CONFLICT (path) DO UPDATE SET version = s.version + 1, updated_at = clock_timestamp(), updated_by = :by,
        created_at = CASE WHEN s.deleted_at IS NULL THEN s.created_at ELSE clock_timestamp() END, deleted_at = NULL
    RETURNING version"""
)
_ADD_VERSION = text(
    """INSERT INTO vault.secret_versions (path, version, fields, key_id, wrapped_key, ciphertext, created_by)
    VALUES (:path, :version, :fields, :key_id, :wrapped_key, :ciphertext, :by)"""
)
_READ = text(
    """SELECT v.path, v.version, v.key_id, v.wrapped_key, v.ciphertext
    FROM vault.secrets s JOIN vault.secret_versions v ON v.path = s.path AND v.version = coalesce(:version, s.version)
    WHERE s.path = :path AND s.deleted_at IS NULL AND v.destroyed_at IS NULL"""
).bindparams(version=None)
_MARK_DELETED = text(
    "UPDATE vault.secrets SET deleted_at = clock_timestamp(), updated_at = clock_timestamp(), updated_by = :by"
    " WHERE path = :path AND deleted_at IS NULL"
)
_DESTROY = text(
    "UPDATE vault.secret_versions SET wrapped_key = NULL, ciphertext = NULL, destroyed_at = clock_timestamp()"
    " WHERE path = :path AND destroyed_at IS NULL"
)
_LIST = text(
    """SELECT s.path, s.version, v.fields, s.created_at, s.updated_at, s.updated_by
    FROM vault.secrets s JOIN vault.secret_versions v USING (path, version)
    WHERE s.deleted_at IS NULL AND s.path COLLATE "C" > :after ORDER BY s.path COLLATE "C" LIMIT :limit"""
)
_GRANTS = text(
    """SELECT g.context_id, g.path, g.created_at, g.created_by, c.job, c.env
    FROM vault.grants g LEFT JOIN vault.contexts c USING (context_id)
    WHERE cast(:context_id AS uuid) IS NULL OR g.context_id = :context_id
    ORDER BY c.job, c.env, g.context_id, g.path COLLATE "C" """
)
_AUDIT = text(
    """INSERT INTO vault.audit (principal, action, outcome, path, version, run_id, context_id, reason)
    VALUES (:principal, :action, :outcome, :path, :version, :run_id, :context_id, :reason)"""
)
_READ_AUDIT = text(
    "SELECT * FROM vault.audit WHERE cast(:before AS bigint) IS NULL OR id < :before ORDER BY id DESC LIMIT :limit"
)


class PostgresSecretStore:
    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine

    async def put(self, path: str, *, fields: Sequence[str], seal: Callable[[int], Sealed], access: Access) -> int:
        async with self._engine.begin() as tx:
            version: int = (await tx.execute(_NEXT_VERSION, {"path": path, "by": access.principal})).scalar_one()
            sealed = seal(version)
            row = {"path": path, "version": version, "fields": list(fields), "by": access.principal, **vars(sealed)}
            await tx.execute(_ADD_VERSION, row)
            await _record(tx, access, version=version)
        return version

    async def read(self, path: str, *, version: int | None = None) -> StoredSecret | None:
        async with self._engine.connect() as tx:
            row = (await tx.execute(_READ, {"path": path, "version": version})).first()
        if row is None:
            return None
        return StoredSecret(row.path, row.version, Sealed(row.key_id, row.wrapped_key, row.ciphertext))

    async def delete(self, path: str, *, access: Access) -> bool:
        async with self._engine.begin() as tx:
            if not (await tx.execute(_MARK_DELETED, {"path": path, "by": access.principal})).rowcount:
                return False
            await tx.execute(_DESTROY, {"path": path})
            await _record(tx, access)
        return True

    async def secrets(self, *, after: str, limit: int) -> Sequence[SecretSummary]:
        async with self._engine.connect() as tx:
            rows = await tx.execute(_LIST, {"after": after, "limit": limit})
            return [SecretSummary(r.path, r.version, tuple(r.fields), *r[3:]) for r in rows]

    async def grant(self, context_id: UUID, *, path: str, access: Access) -> bool:
        async with self._engine.begin() as tx:
            added = await tx.execute(
                text(
                    "INSERT INTO vault.grants (context_id, path, created_by) VALUES (:context_id, :path, :by)"
                    " ON CONFLICT DO NOTHING"
                ),
                {"context_id": context_id, "path": path, "by": access.principal},
            )
            await _record(tx, access)
        return added.rowcount == 1

    async def revoke(self, context_id: UUID, *, path: str, access: Access) -> bool:
        async with self._engine.begin() as tx:
            gone = await tx.execute(
                text("DELETE FROM vault.grants WHERE context_id = :context_id AND path = :path"),
                {"context_id": context_id, "path": path},
            )
            if gone.rowcount:
                await _record(tx, access)
        return gone.rowcount == 1

    async def grants(self, *, context_id: UUID | None = None) -> Sequence[Grant]:
        async with self._engine.connect() as tx:
            rows = await tx.execute(_GRANTS, {"context_id": context_id})
            return [Grant(**row._mapping) for row in rows]

    async def record(self, access: Access) -> None:
        async with self._engine.begin() as tx:
            await _record(tx, access)

    async def audit(self, *, before: int | None, limit: int) -> Sequence[AuditRow]:
        async with self._engine.connect() as tx:
            return [_audit_row(row) for row in await tx.execute(_READ_AUDIT, {"before": before, "limit": limit})]

    async def know_context(self, context_id: UUID, *, job: str, env: str) -> None:
        names = {"id": context_id, "job": job, "env": env}
        async with self._engine.begin() as tx:
            await tx.execute(text("DELETE FROM vault.contexts WHERE job = :job AND env = :env"), names)
            await tx.execute(
                text(
                    "INSERT INTO vault.contexts (context_id, job, env) VALUES (:id, :job, :env)"
                    " ON CONFLICT (context_id) DO UPDATE SET job = :job, env = :env"
                ),
                names,
            )

    async def context_named(self, *, job: str, env: str) -> UUID | None:
        async with self._engine.connect() as tx:
            query = text("SELECT context_id FROM vault.contexts WHERE job = :job AND env = :env")
            found: UUID | None = await tx.scalar(query, {"job": job, "env": env})
            return found

    async def forget_context(self, context_id: UUID) -> None:
        async with self._engine.begin() as tx:
            await tx.execute(text("DELETE FROM vault.grants WHERE context_id = :id"), {"id": context_id})
            await tx.execute(text("DELETE FROM vault.contexts WHERE context_id = :id"), {"id": context_id})


async def _record(tx: AsyncConnection, access: Access, *, version: int | None = None) -> None:
    await tx.execute(_AUDIT, vars(access) | ({"version": version} if version is not None else {}))


def _audit_row(row: Row[Any]) -> AuditRow:
    values = dict(row._mapping)
    return AuditRow(values.pop("id"), values.pop("at"), Access(**values))
