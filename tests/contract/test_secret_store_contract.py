"""What the vault needs of its store: one suite for the fake and for Postgres."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import pytest
import pytest_asyncio
from kirby_common.database import connect
from kirby_vault.adapters.postgres import PostgresSecretStore
from kirby_vault.adapters.schema import prepare
from kirby_vault.domain.envelope import MasterKey, Sealed
from kirby_vault.ports import Access, Action, SecretStore, StoredSecret
from kirby_vault.testing import MemorySecretStore

CONTEXT = uuid4()


def sealed(number: int) -> Sealed:
    return Sealed("key", b"wrapped %d" % number, b"cipher %d" % number)


def access(action: Action = "put", **more: Any) -> Access:
    return Access("ada", action, **more)


@pytest_asyncio.fixture(loop_scope="session", params=["memory", "postgres"])
async def store(request: pytest.FixtureRequest) -> AsyncIterator[SecretStore]:
    if request.param == "memory":
        yield MemorySecretStore()
        return
    engine = connect(request.getfixturevalue("database"), application="tests", pool_size=5)
    await prepare(engine, key=MasterKey(bytes(32)))
    yield PostgresSecretStore(engine)
    await engine.dispose()


async def put(store: SecretStore, path: str = "db/main", fields: tuple[str, ...] = ("password",)) -> int:
    return await store.put(path, fields=fields, seal=sealed, access=access(path=path))


async def read(store: SecretStore, path: str = "db/main", version: int | None = None) -> StoredSecret:
    found = await store.read(path, version=version)
    assert found is not None
    return found


async def test_versions_count_from_one_and_are_sealed_with_their_number(store: SecretStore) -> None:
    assert [await put(store) for _ in range(3)] == [1, 2, 3]
    newest = await read(store)
    assert (newest.path, newest.version, newest.sealed) == ("db/main", 3, sealed(3))
    assert (await read(store, version=2)).sealed == sealed(2)


async def test_what_is_absent_is_none(store: SecretStore) -> None:
    await put(store)
    assert await store.read("db/other") is None
    assert await store.read("db/main", version=2) is None
    assert await store.read("db/main", version=0) is None


async def test_puts_at_once_get_different_versions(store: SecretStore) -> None:
    assert sorted(await asyncio.gather(*(put(store) for _ in range(8)))) == list(range(1, 9))


async def test_a_failed_seal_changes_nothing(store: SecretStore) -> None:
    def broken(_: int) -> Sealed:
        raise RuntimeError("no entropy")

    with pytest.raises(RuntimeError):
        await store.put("db/main", fields=["f"], seal=broken, access=access())
    assert await store.read("db/main") is None
    assert await store.audit(before=None, limit=10) == []
    assert await put(store) == 1


async def test_delete_destroys_every_version_and_numbers_go_on(store: SecretStore) -> None:
    await put(store)
    await put(store)
    assert await store.delete("db/main", access=access("delete", path="db/main"))
    assert not await store.delete("db/main", access=access("delete", path="db/main"))
    assert await store.read("db/main", version=1) is None
    assert await store.secrets(after="", limit=10) == []
    assert await put(store) == 3
    assert await store.read("db/main", version=2) is None
    assert (await read(store)).version == 3


async def test_the_list_is_by_path_and_paged(store: SecretStore) -> None:
    for path in ("b", "a/b", "a-b", "B", "a"):
        await put(store, path, fields=("x", "y"))
    everything = await store.secrets(after="", limit=10)
    assert [s.path for s in everything] == ["B", "a", "a-b", "a/b", "b"]
    assert everything[0].fields == ("x", "y")
    assert everything[0].updated_by == "ada"
    assert [s.path for s in await store.secrets(after="a", limit=2)] == ["a-b", "a/b"]


async def test_grants_are_added_once_listed_and_taken_away(store: SecretStore) -> None:
    other = uuid4()
    assert await store.grant(CONTEXT, path="db/*", access=access("grant"))
    assert not await store.grant(CONTEXT, path="db/*", access=access("grant"))
    assert await store.grant(other, path="db/main", access=access("grant"))
    assert [(g.context_id, g.path, g.created_by) for g in await store.grants(context_id=CONTEXT)] == [
        (CONTEXT, "db/*", "ada")
    ]
    assert len(await store.grants()) == 2
    assert await store.revoke(CONTEXT, path="db/*", access=access("revoke"))
    assert not await store.revoke(CONTEXT, path="db/*", access=access("revoke"))
    assert await store.grants(context_id=CONTEXT) == []


async def test_a_contexts_names_show_in_lists_and_its_grants_go_with_it(store: SecretStore) -> None:
    await store.grant(CONTEXT, path="db/*", access=access("grant"))
    await store.know_context(CONTEXT, job="load", env="test")
    await store.know_context(CONTEXT, job="load", env="prod")
    (grant,) = await store.grants()
    assert (grant.job, grant.env) == ("load", "prod")
    assert await store.context_named(job="load", env="prod") == CONTEXT
    assert await store.context_named(job="load", env="test") is None
    made_anew = uuid4()
    await store.know_context(made_anew, job="load", env="prod")
    assert await store.context_named(job="load", env="prod") == made_anew
    await store.forget_context(CONTEXT)
    assert await store.grants() == []


async def test_changes_and_accesses_leave_audit_rows_newest_first(store: SecretStore) -> None:
    run_id = uuid4()
    await put(store)
    await store.record(access("run-get", outcome="denied", path="db/main", run_id=run_id, context_id=CONTEXT))
    await store.delete("db/main", access=access("delete", path="db/main"))
    rows = await store.audit(before=None, limit=10)
    assert [r.access.action for r in rows] == ["delete", "run-get", "put"]
    assert rows[2].access == access(path="db/main", version=1)
    assert (rows[1].access.run_id, rows[1].access.context_id) == (run_id, CONTEXT)
    assert [r.id for r in await store.audit(before=rows[0].id, limit=1)] == [rows[1].id]
