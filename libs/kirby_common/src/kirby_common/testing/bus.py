"""Kafka in memory: passes the suites of `Bus`, `Tail` and `TopicAdmin` that Kafka passes."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence

from kirby_common.murmur2 import partition_for
from kirby_common.ports import BusUnavailable, Record, Start, Stored
from kirby_common.topics import TopicSpec


class MemoryBus:
    """`available = False` is a broker that is away. Topics must be made before they are used, as in Kafka."""

    def __init__(self) -> None:
        self.available = True
        self._topics: dict[str, list[list[Record]]] = {}
        self._grown = asyncio.Condition()

    def stored(self, topic: str) -> list[Record]:
        """Everything on a topic, partition by partition."""
        return [record for partition in self._topics.get(topic, []) for record in partition]

    async def ensure(self, topics: Sequence[TopicSpec]) -> int:
        self._must_be_there()
        missing = [spec for spec in topics if spec.name not in self._topics]
        for spec in topics:
            self._topics.setdefault(spec.name, [[] for _ in range(spec.partitions)])
        return len(missing)

    async def send(
        self, topic: str, *, key: bytes, value: bytes | None, headers: Mapping[str, bytes] | None = None
    ) -> Stored:
        self._must_be_there()
        if topic not in self._topics:
            raise BusUnavailable(f"{topic}: there is no such topic")
        partitions = self._topics[topic]
        number = partition_for(key, len(partitions))
        offset, now_ms = len(partitions[number]), int(time.time() * 1000)
        partitions[number].append(Record(topic, number, offset, key, value, now_ms, dict(headers or {})))
        async with self._grown:
            self._grown.notify_all()
        return Stored(partition=number, offset=offset)

    async def records(self, topics: Sequence[str], *, start: Start) -> AsyncIterator[Sequence[Record]]:
        offsets: dict[tuple[str, int], int] = {}
        at_end = start.at == "end"
        while True:
            batch: list[Record] = []
            for topic in topics if self.available else ():
                for number, partition in enumerate(self._topics.get(topic, [])):
                    where = (topic, number)
                    first = start.offsets.get(where, len(partition) if at_end else 0)
                    position = offsets.setdefault(where, first)
                    batch += partition[position:]
                    offsets[where] = max(position, len(partition))
            if batch:
                yield batch
                continue
            async with self._grown:
                # A broker that comes back is noticed like one: by asking again.
                try:
                    async with asyncio.timeout(0.02):
                        await self._grown.wait()
                except TimeoutError:
                    continue

    def _must_be_there(self) -> None:
        if not self.available:
            raise BusUnavailable("the broker in memory is away")
