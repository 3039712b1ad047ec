"""Follows `.kirby.config` into the notebook, and lets others wait until it has caught up.

Read without a consumer group: the database says where the projection goes on, so that the two can't disagree
after a restore, and every instance may follow (the database puts them in order).
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import aclosing

import structlog
from kirby_common.consumer import Batch, Processor
from kirby_common.ports import Start, Tail

from kirby_notifier.domain.config import Entity
from kirby_notifier.ports import Notebook

log = structlog.get_logger()

End = Callable[[], Awaitable[int]]
"""Where the topic ends now. Raises `BusUnavailable`."""


async def project_batch(notebook: Notebook, batch: Batch[Entity | None]) -> None:
    entities = [(received.record.offset, received.message) for received in batch.received]
    for (topic, _), upto in batch.positions.items():
        await notebook.project(entities, topic=topic, upto=upto)


async def follow_config(
    tail: Tail, *, topic: str, notebook: Notebook, processor: Processor[Entity | None], end: End, stop: asyncio.Event
) -> None:
    """For ever, from where the database says."""
    position = await notebook.position(topic)
    if position > await end():
        log.warning("config.topic_made_anew", topic=topic, position=position)
        await notebook.reset_position(topic)
        position = 0
    records = tail.records([topic], start=Start(at="beginning", offsets={(topic, 0): position}))
    async with aclosing(records) as batches:  # type: ignore[type-var]
        async for batch in batches:
            if not await processor.process(batch, stop=stop):
                return


class CaughtUp:
    """Waits until everything on the configuration topic is projected: a rule set before a run counts for it."""

    def __init__(self, notebook: Notebook, *, topic: str, end: End, patience_s: float = 10.0) -> None:
        self._notebook = notebook
        self._topic = topic
        self._end = end
        self._patience_s = patience_s

    async def __call__(self) -> None:
        """Raises TimeoutError or `BusUnavailable`: the caller tries again."""
        end = await self._end()
        async with asyncio.timeout(self._patience_s):
            while await self._notebook.position(self._topic) < end:  # noqa: ASYNC110 (the event is in the database)
                await asyncio.sleep(0.05)
