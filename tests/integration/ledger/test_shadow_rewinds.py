"""Rewinds in shadow on a real ledger, with groups in memory: what the leader starts, ends and deletes, once only."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from confluent_kafka.admin import AdminClient
from kirby.rewinding import Mark
from kirby_common import failpoints
from kirby_common.failpoints import FailpointError
from kirby_common.kafka import KafkaTopicAdmin, confluent_options
from kirby_common.kafka_groups import KafkaGroups
from kirby_common.ledger import daemons, rewinds, shadows
from kirby_common.ledger.rewind_parts import Part
from kirby_common.ledger.rewinds import RewindRow, WantedRewind
from kirby_common.ledger.runs import RunRow
from kirby_common.ledger.triggers import Conflict
from kirby_common.ports import Bounds, BusUnavailable, Commit, GroupInUse, GroupLook, Place
from kirby_common.settings import KafkaSettings
from kirby_common.topics import DEFAULT_OFFERS_PREFIX, TopicSpec
from kirby_common.worker_protocol import RunGrant
from kirby_scheduler.loops.arbiter import arbitrate
from kirby_scheduler.loops.rewind import GroupsOf, look_after

from tests.contract.test_kafka_offsets import write
from tests.eventually import eventually
from tests.integration.ledger.world import HandWorker, World

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
OURS = (".kirby.shadow.{}.topic.daily", ".kirby.windows.g.shadow-{}.raw")


class Groups:
    """The groups of a topic `raw` with two partitions, and topics, in memory. `busy`: a member is still there."""

    def __init__(self) -> None:
        self.commits: dict[str, dict[Place, Commit]] = {"g": {("raw", 0): Commit(100), ("raw", 1): Commit(50)}}
        self.topics = {"raw", "daily"}
        self.busy = False

    async def look(self, names: Sequence[str]) -> Mapping[str, GroupLook]:
        return {name: GroupLook(dict(self.commits.get(name, {})), ()) for name in names}

    async def cluster(self) -> str:
        return "memory"

    async def remove(self, group: str, names: Sequence[str]) -> None:
        raise AssertionError("nobody is asked to leave")

    async def commit(self, group: str, commits: Mapping[Place, Commit]) -> None:
        assert group != "g", "the daemon's own group is left alone"
        if self.busy:
            raise GroupInUse(group)
        self.commits.setdefault(group, {}).update(commits)

    async def forget(self, group: str, is_ours: Callable[[str], bool]) -> None:
        if self.busy:
            raise GroupInUse(group)
        self.commits.pop(group, None)
        self.topics = {topic for topic in self.topics if not is_ours(topic)}

    async def bounds(
        self, places: Iterable[Place], *, start: datetime, end: datetime | None = None
    ) -> Mapping[Place, Bounds]:
        raise AssertionError("the leader asks for no times")

    async def passed(self, places: Mapping[Place, tuple[int, int]]) -> set[Place]:
        return set()


class Scene:
    """A daemon with one replica that is up, which nothing of this concerns, and a rewind in its shadow."""

    def __init__(self, world: World, worker: HandWorker, context: UUID) -> None:
        self.world, self.worker, self.context, self.groups = world, worker, context, Groups()
        self.groups_of: GroupsOf = lambda _: self.groups

    async def asked(self, *parts: Part, rate: float | None = None) -> UUID:
        wanted = WantedRewind(
            context_id=self.context, job="daily", env="prod", namespace="default", target="raw", group="g",
            kafka_bootstrap_servers=None, start=NOON, end=None, parts=parts or [Part("raw", 0, 40)], rate=rate,
            mode="shadow", outputs=["daily"],
        )  # fmt: skip
        async with self.world.engine.begin() as tx:
            return (await rewinds.start(tx, wanted, by="ann")).id  # type: ignore[no-any-return]

    async def passes(self, times: int = 1) -> None:
        for _ in range(times):
            await arbitrate(await self.world.term(), lease_s=20, offers_prefix=DEFAULT_OFFERS_PREFIX)
            await look_after(await self.world.term(), self.groups_of)

    async def row(self, rewind: UUID) -> RewindRow:
        async with self.world.engine.connect() as tx:
            found = await rewinds.read(tx, rewind)
        assert found is not None
        return found

    async def state(self, rewind: UUID) -> str:
        return str((await self.row(rewind)).state)

    async def runs(self) -> list[RunRow]:
        return [run for run in await self.world.runs(self.context) if run.kind == "shadow"]

    async def started(self) -> RunGrant:
        """A worker takes the newest run and starts it."""
        (grant,) = await self.worker.claim()
        await self.worker.start(grant)
        return grant

    async def order(self, name: str, rewind: UUID) -> RewindRow:
        async with self.world.engine.begin() as tx:
            verbs: Any = shadows if hasattr(shadows, name) else rewinds
            return await getattr(verbs, name)(tx, rewind, by="ben")  # type: ignore[no-any-return]

    def group(self, rewind: UUID) -> dict[Place, Commit]:
        return self.groups.commits[f"g.shadow-{str(rewind)[:8]}"]

    def writes(self, rewind: UUID) -> None:
        self.groups.topics |= {name.format(str(rewind)[:8]) for name in OURS}

    async def ready(self) -> UUID:
        """One that has come to its end and was compared."""
        rewind = await self.asked()
        await self.passes()
        grant = await self.started()
        self.writes(rewind)
        self.group(rewind)["raw", 0] = Commit(100)
        await self.passes()
        await self.worker.end(grant, exit_code=0, killed_by="drained")
        await self.passes(2)
        await self.worker.end(await self.started(), exit_code=0)
        await self.passes()
        assert await self.state(rewind) == "ready"
        return rewind


@pytest.fixture
async def scene(world: World) -> Scene:
    context = await world.context(job="daily", type="daemon", group="g")
    worker = await world.worker()
    await arbitrate(await world.term(), lease_s=20, offers_prefix=DEFAULT_OFFERS_PREFIX)
    (grant,) = await worker.claim()
    await worker.start(grant)
    await arbitrate(await world.term(), lease_s=20, offers_prefix=DEFAULT_OFFERS_PREFIX)
    return Scene(world, worker, context)


async def test_from_its_start_to_its_promotion_the_daemon_goes_on(scene: Scene) -> None:
    rewind = await scene.asked(Part("raw", 0, 40), Part("raw", 1, 30, to=45))
    await scene.passes()
    row = await scene.row(rewind)
    assert (row.state, row.total, row.done) == ("running", 75, 0)
    assert scene.group(rewind) == {
        ("raw", 0): Commit(40, Mark(str(rewind), 100, 100).text()),
        ("raw", 1): Commit(30, Mark(str(rewind), 45, 45).text()),
    }
    grant = await scene.started()
    assert (grant.kind, grant.variables["KIRBY_SHADOW"], grant.rerun) == ("shadow", str(rewind)[:8], True)
    assert (grant.slot, grant.entry, grant.group) == (None, None, "g")
    scene.writes(rewind)
    scene.group(rewind)["raw", 0] = Commit(70)
    await scene.passes()
    assert (await scene.row(rewind)).positions == {"raw:0": 70, "raw:1": 30}
    scene.group(rewind).update({("raw", 0): Commit(100), ("raw", 1): Commit(45)})
    await scene.passes()
    assert (await scene.world.run(grant.run_id)).kill_why == "drained"
    await scene.worker.end(grant, exit_code=0, killed_by="drained")
    await scene.passes(2)
    assert await scene.state(rewind) == "comparing"
    comparing = await scene.started()
    assert (comparing.entry, comparing.args[:2]) == ("kirby.shadowing", ["compare", str(rewind)])
    assert '"parts": [["raw", 0, 40, 100], ["raw", 1, 30, 45]], "outputs": ["daily"]' in comparing.args[2]
    assert "KIRBY_SHADOW" not in comparing.variables
    async with scene.world.engine.begin() as tx:
        assert not await shadows.compared(tx, rewind, {"topics": []}, run_id=uuid4())
        assert await shadows.compared(tx, rewind, {"topics": []}, run_id=comparing.run_id)
    await scene.passes()
    await scene.worker.end(comparing, exit_code=0)
    await scene.passes()
    row = await scene.row(rewind)
    assert (row.state, row.reason, row.comparison) == ("ready", None, {"topics": []})
    await scene.order("promote", rewind)
    await scene.passes()
    promoting = await scene.started()
    assert promoting.args[0] == "promote"
    await scene.worker.end(promoting, exit_code=0)
    await scene.passes()
    row = await scene.row(rewind)
    assert (row.state, row.done, row.ended_at is not None) == ("promoted", 75, True)
    assert (scene.groups.topics, list(scene.groups.commits)) == ({"raw", "daily"}, ["g"])
    async with scene.world.engine.connect() as tx:
        (daemon,) = await daemons.load(tx)
    assert (daemon.facts.off, [slot.facts.state for slot in daemon.slots]) == (None, ["UP"])


async def test_on_a_real_kafka_its_group_is_placed_and_all_it_made_is_deleted(
    scene: Scene, kafka_settings: KafkaSettings, unique_name: Callable[[str], str]
) -> None:
    raw, groups = unique_name("raw"), KafkaGroups(kafka_settings)
    scene.groups_of = lambda _: groups
    admin = KafkaTopicAdmin(kafka_settings)
    await admin.ensure([TopicSpec(raw, "", (), (), (), partitions=1)])
    write(kafka_settings, raw, 6)
    await eventually(lambda: committed(groups, "g", {(raw, 0): Commit(5)}), timeout=60, what="a coordinator")
    rewind = await scene.asked(Part(raw, 0, 2))
    await scene.passes()
    mine = f"g.shadow-{str(rewind)[:8]}"
    look = (await groups.look([mine]))[mine]
    assert look.commits == {(raw, 0): Commit(2, Mark(str(rewind), 5, 5).text())}
    made = [name.format(str(rewind)[:8]) for name in OURS]
    await admin.ensure([TopicSpec(name, "", (), (), (), partitions=1) for name in made])
    await groups.commit(mine, {(raw, 0): Commit(5)})
    grant = await scene.started()
    await scene.passes()
    await scene.worker.end(grant, exit_code=0, killed_by="drained")
    await scene.passes(2)
    await scene.worker.end(await scene.started(), exit_code=0)
    await scene.passes()
    await scene.order("drop", rewind)
    await scene.passes()
    assert await scene.state(rewind) == "dropped"
    looks = await groups.look(["g", mine])
    assert (looks["g"].commits, looks[mine].commits) == ({(raw, 0): Commit(5)}, {})

    async def gone() -> bool:
        left = AdminClient(confluent_options(kafka_settings)).list_topics(timeout=30).topics
        return raw in left and not left.keys() & set(made)

    await eventually(gone, what="the deletion of its topics")


async def committed(groups: KafkaGroups, group: str, commits: Mapping[Place, Commit]) -> bool:
    """A fresh broker makes what it keeps commits in when it is first asked."""
    try:
        await groups.commit(group, commits)
    except BusUnavailable:
        return False
    return True


async def test_a_leader_that_dies_in_between_starts_no_second_run(scene: Scene) -> None:
    rewind = await scene.asked()
    failpoints.arm({"TESTING": "1", "KIRBY_FAILPOINT": "rewind.after_commit:error"})
    try:
        with pytest.raises(FailpointError):
            await scene.passes()
    finally:
        failpoints.arm({})
    assert (await scene.state(rewind), await scene.runs()) == ("draining", [])
    scene.groups.commits["g"]["raw", 0] = Commit(103)
    await scene.passes(3)
    assert (await scene.state(rewind), len(await scene.runs())) == ("running", 1)
    assert scene.group(rewind) == {("raw", 0): Commit(40, Mark(str(rewind), 103, 103).text())}


async def test_a_run_that_ends_too_early_fails_it_and_names_the_run(scene: Scene) -> None:
    rewind = await scene.asked()
    await scene.passes()
    grant = await scene.started()
    await scene.worker.end(grant, exit_code=3)
    await scene.passes()
    row = await scene.row(rewind)
    assert row.state == "failed"
    assert row.reason.startswith(f"it ended too early: run {grant.run_id} is FAILED (exit code 3)")
    await scene.order("drop", rewind)
    await scene.passes()
    assert await scene.state(rewind) == "dropped"


async def test_paused_its_run_ends_and_resumed_another_goes_on_where_it_was(scene: Scene) -> None:
    rewind = await scene.asked()
    await scene.passes()
    grant = await scene.started()
    scene.group(rewind)["raw", 0] = Commit(70)
    await scene.order("pause", rewind)
    await scene.passes()
    assert (await scene.world.run(grant.run_id)).kill_why == "drained"
    await scene.worker.end(grant, exit_code=0, killed_by="drained")
    await scene.passes()
    assert await scene.state(rewind) == "paused"
    await scene.order("resume", rewind)
    await scene.passes()
    assert (await scene.state(rewind), len(await scene.runs())) == ("running", 2)
    assert scene.group(rewind)["raw", 0] == Commit(70, Mark(str(rewind), 100, 100).text())


async def test_cancelled_it_is_dropped_once_its_member_is_gone(scene: Scene) -> None:
    rewind = await scene.asked()
    await scene.passes()
    scene.writes(rewind)
    await scene.order("cancel", rewind)
    scene.groups.busy = True
    await scene.passes(2)
    assert (await scene.state(rewind), (await scene.runs())[0].status) == ("draining", "CANCELLED")
    scene.groups.busy = False
    await scene.passes()
    assert (await scene.state(rewind), scene.groups.topics) == ("cancelled", {"raw", "daily"})


async def test_what_could_not_be_promoted_can_be_tried_again_or_dropped(scene: Scene) -> None:
    rewind = await scene.ready()
    await scene.order("promote", rewind)
    await scene.passes()
    for _ in range(3):
        await scene.worker.end(await scene.started(), exit_code=1)
        await scene.world.sql("UPDATE runs SET status = 'PENDING', startable_at = now() WHERE status = 'RETRYING'")
    await scene.passes()
    row = await scene.row(rewind)
    assert (row.state, row.reason.split(":")[0]) == ("ready", "it was not promoted")
    await scene.order("drop", rewind)
    await scene.passes()
    assert (await scene.state(rewind), scene.groups.topics) == ("dropped", {"raw", "daily"})


@pytest.mark.parametrize("order", ["promote", "drop", "compare", "pause", "cancel"])
async def test_what_is_dropped_is_over(scene: Scene, order: str) -> None:
    rewind = await scene.ready()
    await scene.order("drop", rewind)
    with pytest.raises(Conflict, match="is dropping: it can't be"):
        await scene.order(order, rewind)
    await scene.passes()
    with pytest.raises(Conflict, match=r"is dropped: it can't be .* nothing was changed"):
        await scene.order(order, rewind)


async def test_nobody_else_can_have_a_run_write_beside(scene: Scene) -> None:
    await scene.world.sql("INSERT INTO config_keys (scope, name, value) VALUES ('global', 'KIRBY_SHADOW', '12345678')")
    rewind = await scene.asked()
    await scene.passes()
    assert (await scene.started()).variables["KIRBY_SHADOW"] == str(rewind)[:8]
    await scene.world.sql("UPDATE daemon_slots SET renew = true")
    await scene.passes()
    (daemon,) = await scene.worker.claim()
    assert (daemon.kind, "KIRBY_SHADOW" in daemon.variables) == ("daemon", False)


async def test_one_rewind_of_a_daemon_at_a_time(scene: Scene) -> None:
    await scene.asked()
    with pytest.raises(Conflict, match="daily in prod is being rewound already"):
        await scene.asked()


async def test_the_rewind_of_a_job_that_was_removed_ends_and_can_be_dropped(scene: Scene) -> None:
    rewind = await scene.ready()
    await scene.order("compare", rewind)
    await scene.world.sql("DELETE FROM contexts")
    await look_after(await scene.world.term(), lambda _: scene.groups)
    row = await scene.row(rewind)
    assert (row.state, row.reason) == ("failed", "the job was removed there")
    await scene.order("drop", rewind)
    await look_after(await scene.world.term(), lambda _: scene.groups)
    assert (await scene.state(rewind), scene.groups.topics) == ("dropped", {"raw", "daily"})
