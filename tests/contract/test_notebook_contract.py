"""What the notifier needs of its notebook: one suite for the fake and for Postgres."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
import pytest_asyncio
from kirby_common.database import connect
from kirby_notifier.adapters.postgres import PostgresNotebook
from kirby_notifier.adapters.schema import prepare
from kirby_notifier.domain.alerts import Alert
from kirby_notifier.domain.attempts import Next, Outcome
from kirby_notifier.domain.config import Entity, Gone, Group, Notification
from kirby_notifier.ports import Delivery, Kind, Notebook
from kirby_notifier.testing import MemoryNotebook
from sqlalchemy import text

CONTEXT, GROUP = uuid4(), uuid4()
LEASE = timedelta(seconds=30)
BOTH: frozenset[Kind] = frozenset({"webhook", "email"})
PassTime = Callable[[timedelta], Any]


@pytest_asyncio.fixture(loop_scope="session", params=["memory", "postgres"])
async def pair(request: pytest.FixtureRequest) -> AsyncIterator[tuple[Notebook, PassTime]]:
    """The notebook, and a way to let time pass for it."""
    if request.param == "memory":
        memory = MemoryNotebook()

        async def advance(by: timedelta) -> None:
            memory.clock.advance(by)

        yield memory, advance
        return
    engine = connect(request.getfixturevalue("database"), application="tests", pool_size=5)
    await prepare(engine)

    async def age(by: timedelta) -> None:
        async with engine.begin() as tx:
            earlier = "SET next_at = next_at - cast(:by AS interval), created_at = created_at - cast(:by AS interval)"
            await tx.execute(text(f"UPDATE notifier.deliveries {earlier}"), {"by": by})

    yield PostgresNotebook(engine), age
    await engine.dispose()


@pytest.fixture
def notebook(pair: tuple[Notebook, PassTime]) -> Notebook:
    return pair[0]


@pytest.fixture
def pass_time(pair: tuple[Notebook, PassTime]) -> PassTime:
    return pair[1]


def alert(rev: int = 1, *, run_id: UUID | None = None, occasion: Any = "on_failure", context: UUID = CONTEXT) -> Alert:
    return Alert("run.failed", occasion, run_id or uuid4(), rev, context, "load", "prod", f'{{"rev":{rev}}}')


def group(*webhooks: str, name: str = "ops", emails: tuple[str, ...] = (), id_: UUID = GROUP) -> Group:
    return Group(id=id_, name=name, emails=list(emails), webhooks=list(webhooks))


def notification(*, on_failure: bool = True, on_retry: bool = False, group_id: UUID = GROUP) -> Notification:
    return Notification(id=uuid4(), context_id=CONTEXT, group_id=group_id, on_failure=on_failure, on_retry=on_retry)


async def know(notebook: Notebook, *entities: Entity) -> None:
    start = await notebook.position("config")
    numbered = [(start + n, entity) for n, entity in enumerate(entities)]
    await notebook.project(numbered, topic="config", upto=start + len(entities))


async def listed(notebook: Notebook, **asked: Any) -> list[Delivery]:
    defaults: dict[str, Any] = {"state": None, "run_id": None, "before": None, "limit": 100}
    return list(await notebook.deliveries(**(defaults | asked)))


async def test_an_alert_makes_one_delivery_per_recipient(notebook: Notebook) -> None:
    await know(notebook, group("https://a", "https://b", emails=("x@y",)), notification())
    told = alert()
    assert await notebook.note([told], kinds=BOTH) == 3
    found = await listed(notebook)
    assert {(d.kind, d.target, d.group, d.state) for d in found} == {
        ("webhook", "https://a", "ops", "pending"),
        ("webhook", "https://b", "ops", "pending"),
        ("email", "x@y", "ops", "pending"),
    }
    assert {(d.run_id, d.rev, d.job, d.env, d.type) for d in found} == {(told.run_id, 1, "load", "prod", "run.failed")}
    assert len({d.webhook_id for d in found}) == 3


async def test_what_belongs_to_no_context_is_for_the_groups_of_the_suite(notebook: Notebook) -> None:
    told = Alert("mark.missed", "suite", None, 1, None, None, None, "{}", mark_id=uuid4())
    await know(notebook, group("https://a"), notification())
    assert await notebook.note([told], kinds=BOTH) == 0
    await know(notebook, Group(id=uuid4(), name="oncall", webhooks=["https://b"], suite_alerts=True))
    assert await notebook.note([told], kinds=BOTH) == 0
    over = replace(told, rev=2)
    assert await notebook.note([over, over], kinds=BOTH) == 1
    (delivery,) = await listed(notebook)
    assert (delivery.target, delivery.run_id, delivery.job) == ("https://b", None, None)


async def test_an_alert_noted_again_makes_nothing(notebook: Notebook) -> None:
    await know(notebook, group("https://a"), notification())
    told = alert()
    assert await notebook.note([told, told], kinds=BOTH) == 1
    await know(notebook, group("https://a", "https://late"))
    assert await notebook.note([told], kinds=BOTH) == 0
    assert await notebook.note([alert(2, run_id=told.run_id)], kinds=BOTH) == 2


async def test_one_address_in_two_groups_is_told_once(notebook: Notebook) -> None:
    other = uuid4()
    await know(notebook, group("https://a", name="b-team"), group("https://a", name="a-team", id_=other))
    await know(notebook, notification(), notification(group_id=other))
    assert await notebook.note([alert()], kinds=BOTH) == 1
    assert [d.group for d in await listed(notebook)] == ["a-team"]


async def test_who_is_told_depends_on_context_occasion_and_kind(notebook: Notebook) -> None:
    await know(notebook, group("https://a", emails=("x@y",)), notification(on_failure=True, on_retry=False))
    assert await notebook.note([alert(occasion="on_retry")], kinds=BOTH) == 0
    assert await notebook.note([alert(context=uuid4())], kinds=BOTH) == 0
    assert await notebook.note([alert()], kinds=frozenset({"webhook"})) == 1


async def test_what_is_gone_is_not_told_any_more(notebook: Notebook) -> None:
    told = notification()
    await know(notebook, group("https://a"), told, Gone("notification", told.id))
    assert await notebook.note([alert()], kinds=BOTH) == 0
    await know(notebook, notification(), Gone("notification-group", GROUP))
    assert await notebook.note([alert()], kinds=BOTH) == 0


async def test_the_projection_goes_forward_only(notebook: Notebook) -> None:
    await notebook.project([(0, group("https://old")), (1, group("https://new"))], topic="config", upto=2)
    await notebook.project([(0, group("https://old"))], topic="config", upto=1)
    assert await notebook.position("config") == 2
    await know(notebook, notification())
    await notebook.note([alert()], kinds=BOTH)
    assert [d.target for d in await listed(notebook)] == ["https://new"]
    await notebook.reset_position("config")
    assert await notebook.position("config") == 0


async def test_a_claimed_delivery_is_nobody_elses_until_its_lease_is_over(
    notebook: Notebook, pass_time: PassTime
) -> None:
    await know(notebook, group("https://a"), notification())
    await notebook.note([alert()], kinds=BOTH)
    (first,) = await notebook.claim(limit=5, lease=LEASE)
    assert (first.attempt, first.target, first.body) == (1, "https://a", '{"rev":1}')
    assert await notebook.claim(limit=5, lease=LEASE) == []
    await pass_time(LEASE)
    (second,) = await notebook.claim(limit=5, lease=LEASE)
    assert (second.id, second.message_id, second.attempt) == (first.id, first.message_id, 2)
    (delivery,) = await listed(notebook)
    assert [(e.attempt, e.status, e.error, e.duration_ms) for e in delivery.log] == [
        (1, None, None, None),
        (2, None, None, None),
    ]


async def test_claims_at_once_share_what_is_due(notebook: Notebook) -> None:
    await know(notebook, group(*(f"https://{n}" for n in range(6))), notification())
    await notebook.note([alert()], kinds=BOTH)
    claims = await asyncio.gather(*(notebook.claim(limit=2, lease=LEASE) for _ in range(4)))
    ids = [due.id for claim in claims for due in claim]
    assert len(ids) == len(set(ids))
    assert len(ids) <= 6
    assert len(ids) + len(await notebook.claim(limit=9, lease=LEASE)) == 6


async def test_outcomes_are_logged_and_decide_what_follows(notebook: Notebook, pass_time: PassTime) -> None:
    await know(notebook, group("https://a"), notification())
    await notebook.note([alert()], kinds=BOTH)
    (due,) = await notebook.claim(limit=1, lease=LEASE)
    bad = Outcome(delivered=False, status=500, error="answered 500", response="oops")
    took, delay = timedelta(milliseconds=40), timedelta(seconds=5)
    await notebook.finish(due, bad, then=Next("pending", delay), took=took)
    assert await notebook.claim(limit=1, lease=LEASE) == []
    await pass_time(delay)
    (due,) = await notebook.claim(limit=1, lease=LEASE)
    await notebook.finish(due, Outcome(delivered=True, status=204), then=Next("delivered"), took=took)
    await pass_time(LEASE)
    assert await notebook.claim(limit=1, lease=LEASE) == []
    (delivery,) = await listed(notebook, state="delivered")
    assert (delivery.state, delivery.attempts, delivery.next_at) == ("delivered", 2, None)
    assert [(e.status, e.error, e.response, e.duration_ms) for e in delivery.log] == [
        (500, "answered 500", "oops", 40),
        (204, None, None, 40),
    ]


async def test_a_late_outcome_counts_only_when_it_was_delivered(notebook: Notebook, pass_time: PassTime) -> None:
    await know(notebook, group("https://a"), notification())
    await notebook.note([alert()], kinds=BOTH)
    (early,) = await notebook.claim(limit=1, lease=LEASE)
    await pass_time(LEASE)
    await notebook.claim(limit=1, lease=LEASE)
    await notebook.finish(early, Outcome(delivered=False), then=Next("failed"), took=LEASE)
    assert [d.state for d in await listed(notebook)] == ["pending"]
    await notebook.finish(early, Outcome(delivered=True), then=Next("delivered"), took=LEASE)
    assert [d.state for d in await listed(notebook)] == ["delivered"]


async def test_the_log_is_newest_first_paged_and_filtered(notebook: Notebook) -> None:
    await know(notebook, group("https://a"), notification())
    alerts = [alert(n) for n in range(4)]
    for each in alerts:
        await notebook.note([each], kinds=BOTH)
    newest = await listed(notebook)
    assert [d.rev for d in newest] == [3, 2, 1, 0]
    assert [d.rev for d in await listed(notebook, before=newest[1].id, limit=1)] == [1]
    assert [d.rev for d in await listed(notebook, run_id=alerts[2].run_id)] == [2]
    assert await listed(notebook, state="failed") == []


async def test_a_purge_forgets_only_what_ended_long_ago(notebook: Notebook, pass_time: PassTime) -> None:
    await know(notebook, group("https://a", "https://b"), notification())
    await notebook.note([alert()], kinds=BOTH)
    (due,) = await notebook.claim(limit=1, lease=LEASE)
    await notebook.finish(due, Outcome(delivered=True), then=Next("delivered"), took=LEASE)
    month = timedelta(days=30)
    assert await notebook.purge(older_than=month) == 0
    await pass_time(month + LEASE)
    assert await notebook.purge(older_than=month) == 1
    assert [d.state for d in await listed(notebook)] == ["pending"]
