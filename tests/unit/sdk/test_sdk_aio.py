"""kirby.aio on Kafka in memory."""

import asyncio
from collections.abc import Iterator

import kirby
import pytest
from kirby import aio, lineage
from kirby.testing import MemoryKafka


@pytest.fixture
def kafka(monkeypatch: pytest.MonkeyPatch) -> Iterator[MemoryKafka]:
    for name in ("KIRBY_TOPIC_PREFIX", "KIRBY_GROUP", "KIRBY_JOB", "KIRBY_ENV", "KIRBY_SLOT", "KIRBY_RERUN"):
        monkeypatch.delenv(name, raising=False)
    with MemoryKafka() as memory:
        memory.create("in", partitions=1)
        for n in range(12):
            memory.add("in", n, key=f"k{n % 3}")
        yield memory


def committed(kafka: MemoryKafka) -> dict[int, int]:
    return {n: p.offset for (_, n), p in kafka.groups.of("g").commits.items()}


async def test_reading_sending_and_committing(kafka: MemoryKafka) -> None:
    async with aio.Topic("in", group="g") as source, aio.Topic("out", create=True, partitions=1) as out:
        async for message in source.iterate(timeout=0):
            await out.send(message.value)
            if message.value == 4:
                await source.commit()
                break
        assert committed(kafka) == {0: 5}
        assert [m.value for m in await source.nexts(3, timeout=0)] == [5, 6, 7]
        message_or_none = await source.next(timeout=0)
        assert message_or_none is not None
        await source.commit()
    assert committed(kafka) == {0: 9}
    assert kafka.values("out") == [0, 1, 2, 3, 4]
    for number, record in enumerate(kafka.records("out")):
        found = lineage.unpack(dict(record.headers() or [])["kirby"] or b"")
        assert found is not None
        assert found.hops[-1].offset == number


async def test_handlers_overlap_and_keys_keep_their_order(kafka: MemoryKafka) -> None:
    running: set[str | None] = set()
    done: dict[str | None, list[int]] = {}
    overlapped = asyncio.Event()

    async def handle(message: kirby.Message[int]) -> None:
        assert message.key not in running
        running.add(message.key)
        if len(running) > 1:
            overlapped.set()
        await overlapped.wait()
        running.discard(message.key)
        done.setdefault(message.key, []).append(message.value)

    async with aio.Topic("in", group="g") as source:
        await source.process(handle, concurrency=5, timeout=0)
    assert done == {f"k{k}": list(range(k, 12, 3)) for k in range(3)}
    assert committed(kafka) == {0: 12}


async def test_an_error_stops_and_dead_letters_do_not(kafka: MemoryKafka) -> None:
    async def handle(message: kirby.Message[int]) -> None:
        _ = 1 / (message.value - 5)

    async with aio.Topic("in", group="g") as source:
        with pytest.raises(ZeroDivisionError):
            await source.process(handle, timeout=0)
    assert committed(kafka) == {0: 5}
    async with aio.Topic("in", group="g") as source:
        await source.process(handle, timeout=0, dead_letters=kirby.DeadLetters(attempts=2))
    assert committed(kafka) == {0: 12}
    assert [r.value() for r in kafka.records("in.dead-letters")] == [b"5"]
