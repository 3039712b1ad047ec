"""Rewinds in place on a real ledger, with a group in memory: replicas go down, the group is moved, they come back."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from kirby.rewinding import Mark, mark_of
from kirby_common import failpoints
from kirby_common.failpoints import FailpointError
from kirby_common.ledger import daemons, rewinds, shadows
from kirby_common.ledger.rewind_parts import Part
from kirby_common.ledger.rewinds import RewindRow, WantedRewind
from kirby_common.ledger.triggers import Conflict
from kirby_common.ports import Bounds, Commit, GroupInUse, GroupLook, GroupMember, Place
from kirby_common.topics import DEFAULT_OFFERS_PREFIX
from kirby_scheduler.loops.arbiter import arbitrate
from kirby_scheduler.loops.rewind import look_after

from tests.integration.ledger.world import HandWorker, World

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Groups:
    """One group of a topic `raw` with two partitions, in memory."""

    def __init__(self) -> None:
        self.commits: dict[Place, Commit] = {("raw", 0): Commit(100), ("raw", 1): Commit(50)}
        self.members: list[GroupMember] = []
        self.only_marks: set[Place] = set()

    async def look(self, names: Sequence[str]) -> Mapping[str, GroupLook]:
        return {name: GroupLook(dict(self.commits), list(self.members)) for name in names}

    async def cluster(self) -> str:
        return "memory"

    async def remove(self, group: str, names: Sequence[str]) -> None:
        self.members = [m for m in self.members if not any(m.id.startswith(f"{name}-") for name in names)]

    async def commit(self, group: str, commits: Mapping[Place, Commit]) -> None:
        if self.members:
            raise GroupInUse(group)
        self.commits |= commits

    async def forget(self, group: str, is_ours: Callable[[str], bool]) -> None:
        raise AssertionError("nothing is deleted")

    async def bounds(
        self, places: Iterable[Place], *, start: datetime, end: datetime | None = None
    ) -> Mapping[Place, Bounds]:
        raise AssertionError("the leader asks for no times")

    async def passed(self, places: Mapping[Place, tuple[int, int]]) -> set[Place]:
        return self.only_marks & places.keys()

    def at(self, number: int = 0) -> Commit:
        return self.commits["raw", number]


@pytest.fixture
def groups() -> Groups:
    return Groups()


class Scene:
    """A daemon with one replica that is up, and its rewind."""

    def __init__(self, world: World, groups: Groups, worker: HandWorker, context: UUID) -> None:
        self.world, self.groups, self.worker, self.context = world, groups, worker, context

    async def asked(self, *parts: Part, rate: float | None = None) -> UUID:
        wanted = WantedRewind(
            context_id=self.context, job="daily", env="prod", namespace="default", target="raw", group="g",
            kafka_bootstrap_servers=None, start=NOON, end=None, parts=parts or [Part("raw", 0, 40)], rate=rate,
        )  # fmt: skip
        async with self.world.engine.begin() as tx:
            return (await rewinds.start(tx, wanted, by="ann")).id  # type: ignore[no-any-return]

    async def passes(self, times: int = 3) -> None:
        """The leader's loops, and a replica that ends when it is asked to."""
        for _ in range(times):
            await arbitrate(await self.world.term(), lease_s=20, offers_prefix=DEFAULT_OFFERS_PREFIX)
            for run in await self.world.runs(self.context):
                if run.kill_why is not None and run.status == "RUNNING":
                    grant = next(g for g in self.grants if g.run_id == run.id)
                    await self.worker.end(grant, exit_code=0)
            await look_after(await self.world.term(), lambda _: self.groups)

    async def up(self) -> None:
        """The next generation starts."""
        await arbitrate(await self.world.term(), lease_s=20, offers_prefix=DEFAULT_OFFERS_PREFIX)
        self.grants: list[Any] = [*getattr(self, "grants", []), *await self.worker.claim()]
        await self.worker.start(self.grants[-1])
        await arbitrate(await self.world.term(), lease_s=20, offers_prefix=DEFAULT_OFFERS_PREFIX)
        assert await self.slot() == "UP"

    async def slot(self) -> str:
        (row,) = await self.world.sql("SELECT state FROM daemon_slots")
        return str(row.state)

    async def row(self, rewind: UUID) -> RewindRow:
        async with self.world.engine.connect() as tx:
            found = await rewinds.read(tx, rewind)
        assert found is not None
        return found

    async def order(self, name: str, rewind: UUID, **more: Any) -> RewindRow:
        async with self.world.engine.begin() as tx:
            return await getattr(rewinds, name)(tx, rewind, by="ben", **more)  # type: ignore[no-any-return]


@pytest.fixture
async def scene(world: World, groups: Groups) -> Scene:
    context = await world.context(job="daily", type="daemon", group="g")
    made = Scene(world, groups, await world.worker(), context)
    await made.up()
    return made


async def test_the_group_is_moved_while_no_replica_is_there_and_goes_on_live_at_the_end(
    scene: Scene, groups: Groups
) -> None:
    rewind = await scene.asked(Part("raw", 0, 40), Part("raw", 1, 30, to=45))
    await scene.passes()
    row = await scene.row(rewind)
    assert (row.state, row.total, row.done) == ("running", 75, 0)
    assert groups.at(0) == Commit(40, Mark(str(rewind), 100, 100).text())
    assert groups.at(1) == Commit(30, Mark(str(rewind), 45, 50).text())
    await scene.up()
    groups.commits |= {("raw", 0): Commit(70, groups.at(0).metadata), ("raw", 1): Commit(50)}
    await scene.passes(1)
    row = await scene.row(rewind)
    assert (row.state, row.done, row.positions) == ("running", 45, {"raw:0": 70, "raw:1": 45})
    groups.commits["raw", 0] = Commit(103)
    await scene.passes(1)
    row = await scene.row(rewind)
    assert (row.state, row.done) == ("done", 75)
    assert row.ended_at is not None
    assert await scene.slot() == "UP"


async def test_as_long_as_a_replica_is_there_nothing_is_moved(scene: Scene, groups: Groups) -> None:
    await scene.asked()
    await arbitrate(await scene.world.term(), lease_s=20, offers_prefix=DEFAULT_OFFERS_PREFIX)
    await look_after(await scene.world.term(), lambda _: groups)
    assert await scene.slot() == "DRAINING"
    assert groups.at() == Commit(100)
    async with scene.world.engine.connect() as tx:
        (daemon,) = await daemons.load(tx)
    assert daemon.facts.off == "its rewind is draining", "nobody is alarmed"


async def test_a_leader_that_dies_after_moving_the_group_has_lost_nothing(scene: Scene, groups: Groups) -> None:
    rewind = await scene.asked()
    failpoints.arm({"TESTING": "1", "KIRBY_FAILPOINT": "rewind.after_commit:error"})
    try:
        with pytest.raises(FailpointError):
            await scene.passes()
    finally:
        failpoints.arm({})
    assert (await scene.row(rewind)).state == "draining"
    await scene.passes()
    row = await scene.row(rewind)
    assert (row.state, row.total, row.parts[0]["back"]) == ("running", 60, 100)
    assert groups.at() == Commit(40, Mark(str(rewind), 100, 100).text())


async def test_who_is_cancelled_goes_on_live_where_it_was(scene: Scene, groups: Groups) -> None:
    rewind = await scene.asked()
    await scene.passes()
    await scene.up()
    groups.commits["raw", 0] = Commit(55, groups.at().metadata)
    await scene.order("cancel", rewind, reason="wrong day")
    await scene.passes()
    row = await scene.row(rewind)
    assert (row.state, row.reason) == ("cancelled", "cancelled by ben: wrong day")
    assert groups.at() == Commit(100)
    await scene.up()
    with pytest.raises(Conflict, match="is cancelled: it can't be resumed"):
        await scene.order("resume", rewind)


async def test_who_is_cancelled_before_it_began_has_not_been_moved(scene: Scene, groups: Groups) -> None:
    rewind = await scene.asked()
    await scene.order("cancel", rewind)
    await scene.passes()
    assert (await scene.row(rewind)).state == "cancelled"
    assert groups.at() == Commit(100)


async def test_a_paused_one_stays_down_and_goes_on_where_it_was(scene: Scene, groups: Groups) -> None:
    rewind = await scene.asked()
    await scene.passes()
    await scene.up()
    groups.commits["raw", 0] = Commit(55, groups.at().metadata)
    await scene.order("pause", rewind)
    await scene.passes()
    assert ((await scene.row(rewind)).state, await scene.slot()) == ("paused", "DOWN")
    with pytest.raises(Conflict, match="is paused: it can't be paused"):
        await scene.order("pause", rewind)
    await scene.order("resume", rewind)
    await scene.passes()
    await scene.up()
    assert (await scene.row(rewind)).state == "running"
    assert groups.at() == Commit(55, Mark(str(rewind), 100, 100).text())


async def test_a_throttle_reaches_what_runs(scene: Scene, groups: Groups) -> None:
    rewind = await scene.asked(Part("raw", 0, 40), Part("raw", 1, 30))
    await scene.passes()
    await scene.up()
    await scene.order("throttle", rewind, rate=10.0)
    await scene.passes()
    marks = [mark_of(groups.at(number).metadata) for number in (0, 1)]
    assert [mark and mark.rate for mark in marks] == [5.0, 5.0]


async def test_members_that_the_sdk_named_are_removed_and_others_stop_it(scene: Scene, groups: Groups) -> None:
    uuid = "0a1b2c3d-0000-4000-8000-000000000000"
    groups.members = [GroupMember(f"g.0.raw-{uuid}", "daily", "10.0.0.1")]
    rewind = await scene.asked()
    await scene.passes()
    assert (await scene.row(rewind)).state == "running"
    await scene.up()
    groups.members = [GroupMember(f"laptop-{uuid}", "laptop", "10.0.0.9")]
    await scene.order("throttle", rewind, rate=1.0)
    await scene.passes()
    assert (await scene.row(rewind)).state == "draining", "it may be about to leave"
    await scene.world.sql("UPDATE rewinds SET drained_at = drained_at - interval '1 minute'")
    await scene.passes()
    row = await scene.row(rewind)
    assert row.state == "failed"
    assert "a member that Kirby did not start (laptop at 10.0.0.9): stop it" in row.reason
    await scene.up()


async def test_what_is_left_of_it_may_be_nothing_but_the_marks_of_transactions(scene: Scene, groups: Groups) -> None:
    rewind = await scene.asked()
    await scene.passes()
    await scene.up()
    groups.commits["raw", 0] = Commit(99, groups.at().metadata)
    await scene.passes(1)
    assert (await scene.row(rewind)).state == "running"
    groups.only_marks = {("raw", 0)}
    await scene.passes(1)
    assert (await scene.row(rewind)).state == "done"


async def test_one_rewind_of_a_daemon_at_a_time(scene: Scene) -> None:
    await scene.asked()
    with pytest.raises(Conflict, match="daily in prod is being rewound already"):
        await scene.asked()


async def test_what_had_not_been_processed_is_not_rewound(scene: Scene, groups: Groups) -> None:
    groups.commits["raw", 0] = Commit(40)
    rewind = await scene.asked(Part("raw", 0, 40))
    await scene.passes()
    row = await scene.row(rewind)
    assert (row.state, row.reason) == ("done", "nothing of the range had been processed")
    await scene.up()


async def test_the_rewind_of_a_job_that_was_removed_ends(scene: Scene) -> None:
    rewind = await scene.asked()
    await scene.passes()
    await scene.world.sql("DELETE FROM contexts")
    await look_after(await scene.world.term(), lambda _: scene.groups)
    row = await scene.row(rewind)
    assert (row.state, row.reason) == ("failed", "the job was removed there")
    for order in (shadows.compare, shadows.promote, shadows.drop):
        with pytest.raises(Conflict, match="is failed: it can't be"):
            async with scene.world.engine.begin() as tx:
                await order(tx, rewind, by="ben")
