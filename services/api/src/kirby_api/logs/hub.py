"""One tail of a topic per process, fanned out in memory to those who follow.

A follower's queue is bounded. When it is full the follower is behind: its queue is emptied and stays empty until
it has read what it missed from Kafka itself and asks to go on from the hub's position then.
"""

import asyncio
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import structlog
from kirby_common.ports import BusUnavailable, Record, Start, Tail

from kirby_api.logs.ports import LogStore
from kirby_api.logs.position import Offsets

log = structlog.get_logger()

MAX_RECORDS = 2_000
MAX_BYTES = 32_000_000


@dataclass(eq=False)
class Subscription:
    """What a follower has not read yet. `behind` says that something was dropped."""

    key: bytes | None
    wake: asyncio.Event
    records: deque[Record] = field(default_factory=deque)
    size: int = 0
    behind: bool = False
    max_records: int = MAX_RECORDS
    max_bytes: int = MAX_BYTES

    def put(self, record: Record) -> None:
        if self.behind:
            return
        self.size += len(record.value or b"")
        self.records.append(record)
        if len(self.records) > self.max_records or self.size > self.max_bytes:
            self.behind = True
            self.records.clear()
        self.wake.set()

    def take(self) -> list[Record]:
        """All that waits, in order."""
        taken = list(self.records)
        self.records.clear()
        self.size = 0
        return taken


class Hub:
    """Run one per topic and process. `positions` is the next offset of each partition that it will give out."""

    def __init__(self, store: LogStore, tail: Tail, *, topic: str) -> None:
        self.topic = topic
        self.positions: Offsets = {}
        self._store = store
        self._tail = tail
        self._ready = asyncio.Event()
        self._by_key: dict[bytes, set[Subscription]] = {}
        self._all: set[Subscription] = set()

    async def run(self) -> None:
        """Tails the topic from now on, for ever; waits for an absent broker."""
        self.positions = await self._first_positions()
        self._ready.set()
        start = Start(at="beginning", offsets={(self.topic, p): o for p, o in self.positions.items()})
        async for records in self._tail.records([self.topic], start=start):
            for record in records:
                self._give(record)

    async def ready(self) -> None:
        """Returns once the hub knows its positions."""
        await self._ready.wait()

    @contextmanager
    def subscribe(self, key: bytes | None, wake: asyncio.Event) -> Iterator[Subscription]:
        """Records with this key, or all; from the hub's positions at this moment on. Sets `wake` for each."""
        made = Subscription(key, wake)
        among = self._all if key is None else self._by_key.setdefault(key, set())
        among.add(made)
        try:
            yield made
        finally:
            among.discard(made)
            if key is not None and not among:
                self._by_key.pop(key, None)

    def catch_up(self, subscription: Subscription) -> Offsets:
        """The subscription goes on from here; the follower reads what lies before from Kafka."""
        subscription.take()
        subscription.behind = False
        return dict(self.positions)

    def _give(self, record: Record) -> None:
        # A tail that had to begin anew repeats: what was given out is not given out again.
        if record.offset < self.positions.get(record.partition, 0):
            return
        self.positions[record.partition] = record.offset + 1
        for subscription in self._all:
            subscription.put(record)
        for subscription in self._by_key.get(record.key or b"", ()):
            subscription.put(record)

    async def _first_positions(self) -> Offsets:
        told = False
        while True:
            try:
                bounds = await self._store.bounds(self.topic)
                if bounds:
                    return {partition: held.end for partition, held in bounds.items()}
            except BusUnavailable as error:
                if not told:
                    log.warning("hub.waiting", topic=self.topic, reason=str(error))
                    told = True
            await asyncio.sleep(0.5)
