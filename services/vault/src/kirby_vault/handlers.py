"""The vault's use cases. Whoever gets a value has left an audit row first."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from kirby_common.callers import Caller

from kirby_vault.domain.envelope import MasterKey, seal, unseal
from kirby_vault.domain.names import check_data, check_path, check_pattern, covers
from kirby_vault.domain.plaintext import SecretData
from kirby_vault.errors import Absent, Denied, Tampered
from kirby_vault.ports import Access, AuditRow, Grant, SecretStore, SecretSummary


@dataclass(frozen=True)
class Vault:
    store: SecretStore
    key: MasterKey


@dataclass(frozen=True)
class RunIdentity:
    """A run, as its token states it."""

    run_id: UUID
    context_id: UUID | None
    job: str
    env: str


@dataclass(frozen=True)
class Revealed:
    path: str
    version: int
    data: SecretData


async def put_secret(vault: Vault, *, caller: Caller, path: str, data: SecretData) -> int:
    """Stores a new version and returns its number."""
    await _admin_only(vault, caller, Access(caller.name, "put", path=check_path(path)), what="changing secrets")
    check_data(data)
    return await vault.store.put(
        path,
        fields=data.fields,
        seal=lambda version: seal(data, key=vault.key, path=path, version=version),
        access=Access(caller.name, "put", path=path),
    )


async def get_secret(vault: Vault, *, caller: Caller, path: str, version: int | None = None) -> Revealed:
    """The values, for an admin."""
    access = Access(caller.name, "get", path=check_path(path), version=version)
    await _admin_only(vault, caller, access, what="reading secrets")
    return await _reveal(vault, path, version=version, access=access)


async def get_secret_for_run(vault: Vault, *, run: RunIdentity, path: str) -> Revealed:
    """The values, for a run whose context holds a grant."""
    access = Access(f"run:{run.run_id}", "run-get", path=check_path(path), run_id=run.run_id, context_id=run.context_id)
    held = await vault.store.grants(context_id=run.context_id) if run.context_id else ()
    if not any(covers(grant.path, path=path) for grant in held):
        await vault.store.record(replace(access, outcome="denied", reason="no grant"))
        raise Denied(
            f"job {run.job} in {run.env} has no grant for {path}:"
            f" kirby secrets grant {path} --job {run.job} --env {run.env}"
        )
    return await _reveal(vault, path, version=None, access=access)


async def list_secrets(vault: Vault, *, caller: Caller, after: str, limit: int) -> Sequence[SecretSummary]:
    await vault.store.record(Access(caller.name, "list"))
    return await vault.store.secrets(after=after, limit=limit)


async def delete_secret(vault: Vault, *, caller: Caller, path: str) -> None:
    access = Access(caller.name, "delete", path=check_path(path))
    await _admin_only(vault, caller, access, what="deleting secrets")
    if not await vault.store.delete(path, access=access):
        await vault.store.record(replace(access, outcome="absent"))
        raise Absent(f"there is no secret {path}")


async def grant(vault: Vault, *, caller: Caller, context_id: UUID, path: str) -> bool:
    """Lets a context's runs read a path; True when that is new."""
    access = Access(caller.name, "grant", path=check_pattern(path), context_id=context_id)
    await _admin_only(vault, caller, access, what="granting secrets")
    return await vault.store.grant(context_id, path=path, access=access)


async def revoke(vault: Vault, *, caller: Caller, context_id: UUID, path: str) -> None:
    access = Access(caller.name, "revoke", path=check_pattern(path), context_id=context_id)
    await _admin_only(vault, caller, access, what="revoking grants")
    if not await vault.store.revoke(context_id, path=path, access=access):
        await vault.store.record(replace(access, outcome="absent"))
        raise Absent(f"this context has no grant for {path}")


async def find_context(vault: Vault, *, job: str, env: str, patience_s: float = 2.0, pause_s: float = 0.1) -> UUID:
    """The context of a job in an environment. The news of a new one takes a moment, so it is waited for."""
    for _ in range(max(1, round(patience_s / pause_s))):
        found = await vault.store.context_named(job=job, env=env)
        if found is not None:
            return found
        await asyncio.sleep(pause_s)
    raise Absent(f"the vault knows of no job {job} in {env}: deploy it first, or try again in a moment")


async def list_grants(vault: Vault, *, caller: Caller, context_id: UUID | None) -> Sequence[Grant]:
    await vault.store.record(Access(caller.name, "list-grants", context_id=context_id))
    return await vault.store.grants(context_id=context_id)


async def list_audit(vault: Vault, *, caller: Caller, before: int | None, limit: int) -> Sequence[AuditRow]:
    await _admin_only(vault, caller, Access(caller.name, "list-audit"), what="reading the audit trail")
    return await vault.store.audit(before=before, limit=limit)


async def _admin_only(vault: Vault, caller: Caller, access: Access, *, what: str) -> None:
    if not caller.is_admin:
        await vault.store.record(replace(access, outcome="denied", reason=f"role {caller.role}"))
        raise Denied(f"{what} needs the role admin; {caller.name} has the role {caller.role}")


async def _reveal(vault: Vault, path: str, *, version: int | None, access: Access) -> Revealed:
    stored = await vault.store.read(path, version=version)
    if stored is None:
        await vault.store.record(replace(access, outcome="absent"))
        which = f"no version {version} of secret {path}" if version else f"no secret {path}"
        raise Absent(f"there is {which}: kirby secrets put {path} FIELD")
    try:
        data = unseal(stored.sealed, key=vault.key, path=stored.path, version=stored.version)
    except Tampered:
        await vault.store.record(replace(access, version=stored.version, outcome="denied", reason="does not decrypt"))
        raise
    await vault.store.record(replace(access, version=stored.version))
    return Revealed(stored.path, stored.version, data)
