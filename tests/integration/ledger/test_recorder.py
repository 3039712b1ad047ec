"""The recorder on a real broker: pointers cover every frame once, whatever is sent twice or out of order."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from hashlib import sha256
from uuid import UUID, uuid4

from kirby_api.ledger_role.beats import beat
from kirby_api.ledger_role.recorder import Recorder
from kirby_common.kafka import KafkaBus, KafkaTail, KafkaTopicAdmin
from kirby_common.logchunks import END, STDOUT, Frame
from kirby_common.settings import KafkaSettings
from kirby_common.topics import TopicSpec
from kirby_common.worker_protocol import BeatRequest, RunRef

from tests.eventually import eventually
from tests.integration.ledger.world import World


def chunk(first: int, last: int, *, end: bool = False) -> bytes:
    frames = [
        Frame(seq, 1_000 * seq, seq + 1, 0, 1, STDOUT, 0, f"line {seq + 1}\n".encode()) for seq in range(first, last)
    ]
    closing = Frame(last, 1_000 * last, last + 1, 0, 0, STDOUT, END, b"") if end else None
    frames.append(closing or Frame(last, 1_000 * last, last + 1, 0, 1, STDOUT, 0, f"line {last + 1}\n".encode()))
    return b"".join(frame.encode() for frame in frames)


class Shipper:
    def __init__(self, bus: KafkaBus, topic: str) -> None:
        self.bus = bus
        self.topic = topic

    async def send(self, run_id: UUID, first: int, last: int, *, end: bool = False, spoil: bool = False) -> None:
        value = chunk(first, last, end=end)
        digest = sha256(b"other" if spoil else value).hexdigest()
        headers = {"grant": b"1", "first": str(first).encode(), "last": str(last).encode(), "sha256": digest.encode()}
        await self.bus.send(self.topic, key=str(run_id).encode(), value=value, headers=headers)


@asynccontextmanager
async def recording(world: World, settings: KafkaSettings, topic: str) -> AsyncIterator[Shipper]:
    await KafkaTopicAdmin(settings).ensure([TopicSpec(topic, "run id", (), (), (), partitions=2)])
    recorder = Recorder(world.engine, KafkaTail(settings, poll_ms=50), holder=uuid4(), topic=topic)
    task = asyncio.create_task(recorder.run())
    try:
        async with KafkaBus(settings) as bus:
            yield Shipper(bus, topic)
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def pointers(world: World, run_id: UUID) -> list[tuple[int, int, int, bool]]:
    rows = await world.sql(
        "SELECT first_seq, last_seq, lines, complete FROM log_pointers WHERE run_id = :id ORDER BY first_seq", id=run_id
    )
    return [tuple(row) for row in rows]


async def acknowledged(world: World, run_id: UUID) -> int:
    worker = await world.worker(f"w-{uuid4()}")
    async with world.engine.begin() as tx:
        answer = await beat(tx, worker.caller, BeatRequest(beat=1, spools=[RunRef(run_id=run_id, grant=1)]))
    return answer.spools[0].last_seq


async def test_chunks_extend_one_row_and_repeats_change_nothing(world: World, kafka_settings: KafkaSettings) -> None:
    run_id, topic = uuid4(), f"logs-{uuid4()}"
    async with recording(world, kafka_settings, topic) as ship:
        await ship.send(run_id, 0, 4)
        await ship.send(run_id, 5, 9)
        await ship.send(run_id, 0, 4)
        await ship.send(run_id, 5, 9)
        await ship.send(run_id, 10, 12, end=True)
        await eventually(lambda: pointers_are(world, run_id, [(0, 12, 12, True)]), timeout=15)
    assert await acknowledged(world, run_id) == 12


async def pointers_are(world: World, run_id: UUID, expected: list[tuple[int, int, int, bool]]) -> bool:
    return await pointers(world, run_id) == expected


async def test_what_is_missing_is_a_gap_until_it_is_sent_again(world: World, kafka_settings: KafkaSettings) -> None:
    run_id, topic = uuid4(), f"logs-{uuid4()}"
    async with recording(world, kafka_settings, topic) as ship:
        await ship.send(run_id, 0, 4)
        await ship.send(run_id, 5, 9, spoil=True)
        await ship.send(run_id, 10, 14)
        await eventually(lambda: pointers_are(world, run_id, [(0, 4, 5, False), (10, 14, 5, False)]), timeout=15)
        assert await acknowledged(world, run_id) == 4
        await ship.send(run_id, 5, 9)
        await ship.send(run_id, 10, 14)
        await eventually(lambda: acknowledged_is(world, run_id, 14), timeout=15)
    lines = sum(row[2] for row in await pointers(world, run_id))
    assert lines == 15


async def acknowledged_is(world: World, run_id: UUID, expected: int) -> bool:
    return await acknowledged(world, run_id) == expected


async def test_a_resend_may_have_other_boundaries(world: World, kafka_settings: KafkaSettings) -> None:
    run_id, topic = uuid4(), f"logs-{uuid4()}"
    async with recording(world, kafka_settings, topic) as ship:
        await ship.send(run_id, 0, 4)
        await ship.send(run_id, 0, 9)
        await ship.send(run_id, 3, 11)
        await ship.send(run_id, 7, 14, end=True)
        await eventually(lambda: pointers_are(world, run_id, [(0, 14, 14, True)]), timeout=15)


async def test_a_second_recorder_goes_on_where_the_first_was(world: World, kafka_settings: KafkaSettings) -> None:
    run_id, topic = uuid4(), f"logs-{uuid4()}"
    async with recording(world, kafka_settings, topic) as ship:
        await ship.send(run_id, 0, 4)
        await eventually(lambda: acknowledged_is(world, run_id, 4), timeout=15)
    async with recording(world, kafka_settings, topic) as ship:
        await ship.send(run_id, 5, 9, end=True)
        await eventually(lambda: pointers_are(world, run_id, [(0, 9, 9, True)]), timeout=15)


async def test_rubbish_on_the_topic_stops_nothing(world: World, kafka_settings: KafkaSettings) -> None:
    run_id, topic = uuid4(), f"logs-{uuid4()}"
    async with recording(world, kafka_settings, topic) as ship:
        await ship.bus.send(topic, key=str(run_id).encode(), value=b"hello")
        await ship.bus.send(topic, key=b"x", value=None)
        await ship.send(run_id, 0, 4)
        await eventually(lambda: acknowledged_is(world, run_id, 4), timeout=15)
