"""What a consumer does with a batch: decode, handle, refuse, wait. Without a broker."""

import asyncio
import base64
from collections.abc import Callable

import pytest
from kirby_common.consumer import KEPT_BYTES, Batch, DeadLetters, Processor
from kirby_common.messages import BadMessage, MessageRefused, MessageRefusedV1, decode
from kirby_common.ports import Record
from kirby_common.testing.bus import MemoryBus
from kirby_common.topics import DEAD_LETTERS, registry


def record(value: bytes, offset: int = 0, *, partition: int = 0) -> Record:
    return Record("numbers", partition, offset, b"k", value, 0)


def number(found: Record) -> int:
    try:
        return int(found.value or b"")
    except ValueError:
        raise BadMessage("not a number") from None


class Sum:
    """A handler that fails as it is told to."""

    def __init__(self, *failing: Callable[[Batch[int]], Exception | None]) -> None:
        self.seen: list[int] = []
        self.positions: dict[tuple[str, int], int] = {}
        self._failing = failing

    async def __call__(self, batch: Batch[int]) -> None:
        for fails in self._failing:
            if error := fails(batch):
                raise error
        self.seen += [received.message for received in batch.received]
        self.positions.update(batch.positions)


@pytest.fixture
async def bus() -> MemoryBus:
    bus = MemoryBus()
    await bus.ensure(registry())
    return bus


def processor(bus: MemoryBus, handle: Sum) -> Processor[int]:
    return Processor(
        decode=number,
        handle=handle,
        dead_letters=DeadLetters(bus, service="adder"),
        longest_pause_s=0.01,
    )


def refused(bus: MemoryBus) -> list[MessageRefused]:
    found = []
    for stored in bus.stored(DEAD_LETTERS):
        message = decode(stored.value)
        assert isinstance(message, MessageRefusedV1)
        found.append(message.data)
    return found


async def test_what_can_not_be_read_is_refused_and_the_rest_is_handled(bus: MemoryBus) -> None:
    handle = Sum()
    records = [record(b"1", 7), record(b"x", 8), record(b"2", 9), record(b"3", 4, partition=1)]
    assert await processor(bus, handle).process(records, stop=asyncio.Event())
    assert handle.seen == [1, 2, 3]
    assert handle.positions == {("numbers", 0): 10, ("numbers", 1): 5}
    (letter,) = refused(bus)
    assert (letter.topic, letter.partition, letter.offset, letter.consumer) == ("numbers", 0, 8, "adder")
    assert letter.reason == "not a number"
    assert base64.b64decode(letter.value_base64) == b"x"


async def test_positions_are_told_also_when_all_are_refused(bus: MemoryBus) -> None:
    handle = Sum()
    assert await processor(bus, handle).process([record(b"x", 8)], stop=asyncio.Event())
    assert handle.positions == {("numbers", 0): 9}


async def test_of_a_long_message_the_beginning_is_kept(bus: MemoryBus) -> None:
    assert await processor(bus, Sum()).process([record(b"x" * 5_000_000)], stop=asyncio.Event())
    (letter,) = refused(bus)
    assert letter.size == 5_000_000
    assert base64.b64decode(letter.value_base64) == b"x" * KEPT_BYTES


async def test_the_message_at_fault_is_found_and_the_others_are_handled(bus: MemoryBus) -> None:
    handle = Sum(lambda batch: ArithmeticError("2!") if any(r.message == 2 for r in batch.received) else None)
    records = [record(str(n).encode(), n) for n in range(4)]
    assert await processor(bus, handle).process(records, stop=asyncio.Event())
    assert handle.seen == [0, 1, 3]
    assert handle.positions == {("numbers", 0): 4}
    (letter,) = refused(bus)
    assert (letter.offset, letter.reason) == (2, "could not be handled: ArithmeticError: 2!")


async def test_a_handler_may_refuse_a_message_itself(bus: MemoryBus) -> None:
    handle = Sum(lambda batch: BadMessage("not 2") if any(r.message == 2 for r in batch.received) else None)
    assert await processor(bus, handle).process([record(b"2", 2), record(b"3", 3)], stop=asyncio.Event())
    assert handle.seen == [3]
    assert [letter.reason for letter in refused(bus)] == ["not 2"]


async def test_a_store_that_is_away_is_waited_for(bus: MemoryBus) -> None:
    away = iter([ConnectionError("away"), TimeoutError(), None])
    handle = Sum(lambda _: next(away))
    assert await processor(bus, handle).process([record(b"1")], stop=asyncio.Event())
    assert handle.seen == [1]
    assert refused(bus) == []


async def test_a_dead_letter_that_can_not_be_written_is_waited_for(bus: MemoryBus) -> None:
    bus.available = False
    processing = asyncio.create_task(processor(bus, Sum()).process([record(b"x")], stop=asyncio.Event()))
    await asyncio.sleep(0)
    assert not processing.done()
    bus.available = True
    assert await processing
    assert len(refused(bus)) == 1


async def test_a_stop_ends_the_waiting_and_says_that_nothing_is_done(bus: MemoryBus) -> None:
    stop = asyncio.Event()
    stop.set()
    handle = Sum(lambda _: ConnectionError("away"))
    assert not await processor(bus, handle).process([record(b"1")], stop=stop)
