"""Following the logs of all runs at once: by partition and offset; a run is told by its job and environment."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from kirby_common.ports import Record

from kirby_api.logs.chunks import frames_of, grant_of
from kirby_api.logs.hub import Hub, Subscription
from kirby_api.logs.lines import Assembler, Line
from kirby_api.logs.ports import LogStore
from kirby_api.logs.position import Offsets

_MAX_ASSEMBLERS = 5_000
_LOOK_AGAIN_S = 15.0


@dataclass(frozen=True)
class Whose:
    """Which job in which environment a run is of."""

    job: str
    env: str
    namespace: str


Named = tuple[UUID, Whose, Line]
WhoseOf = Callable[[Sequence[UUID]], Awaitable[dict[UUID, Whose]]]


async def replayed(
    hub: Hub, store: LogStore, *, offsets: Offsets | None, wake: asyncio.Event
) -> AsyncGenerator[list[Record] | None]:
    """All records of the hub's topic from `offsets` on (or from now), each once; None as a sign of life."""
    await hub.ready()
    with hub.subscribe(None, wake) as mine:
        following = hub.catch_up(mine)
        if offsets:
            async for records in _between(store, hub.topic, offsets, following):
                yield records
        while True:
            if mine.behind:
                upto = hub.catch_up(mine)
                async for records in _between(store, hub.topic, following, upto):
                    yield records
                following = upto
            taken = mine.take()
            for record in taken:
                following[record.partition] = record.offset + 1
            if taken:
                yield taken
            if not await _woken(mine, wake):
                yield None


async def _woken(mine: Subscription, wake: asyncio.Event) -> bool:
    try:
        async with asyncio.timeout(_LOOK_AGAIN_S):
            await wake.wait()
    except TimeoutError:
        return False
    wake.clear()
    return True


async def _between(store: LogStore, topic: str, start: Offsets, end: Offsets) -> AsyncGenerator[list[Record]]:
    for partition, until in sorted(end.items()):
        begin = start.get(partition, until)
        async for records in store.read(topic, partition, start=begin, end=until):
            yield list(records)


async def recent_offsets(hub: Hub, *, records: int) -> Offsets:
    """Offsets that lie this many records before now."""
    await hub.ready()
    return {partition: max(0, offset - records) for partition, offset in hub.positions.items()}


@dataclass
class Everything:
    """Turns records of all runs into lines; what is not wanted is dropped before it is assembled."""

    whose_of: WhoseOf
    wanted: Callable[[Whose], bool]
    _known: dict[UUID, Whose | None] = field(default_factory=dict)
    _assemblers: dict[tuple[UUID, int], Assembler] = field(default_factory=dict)

    async def lines(self, records: Sequence[Record]) -> list[Named]:
        keyed = [(run_id, record) for record in records if (run_id := _run_of(record)) is not None]
        await self._learn({run_id for run_id, _ in keyed})
        made: list[Named] = []
        for run_id, record in keyed:
            whose, grant = self._known.get(run_id), grant_of(record)
            if whose is None or grant is None or not self.wanted(whose):
                continue
            assembler = self._assembler(run_id, grant)
            for frame in frames_of(record):
                made += [(run_id, whose, item) for item in assembler.feed(frame) if isinstance(item, Line)]
            if assembler.ended:
                self._assemblers.pop((run_id, grant), None)
        return made

    async def _learn(self, runs: set[UUID]) -> None:
        unknown = [run_id for run_id in runs if run_id not in self._known]
        if unknown:
            found = await self.whose_of(unknown)
            if len(self._known) > 50_000:
                self._known.clear()
            self._known |= {run_id: found.get(run_id) for run_id in unknown}

    def _assembler(self, run_id: UUID, grant: int) -> Assembler:
        """Begins with whatever frame comes first: the stream may have started in the middle of a run."""
        made = self._assemblers.setdefault((run_id, grant), Assembler(grant, next_seq=None))
        if len(self._assemblers) > _MAX_ASSEMBLERS:
            self._assemblers.pop(next(iter(self._assemblers)))
        return made


def _run_of(record: Record) -> UUID | None:
    try:
        return UUID((record.key or b"").decode())
    except ValueError:
        return None
