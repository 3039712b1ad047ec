"""Turns what runs become, and missed marks, into deliveries."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog
from kirby_common.consumer import Batch
from kirby_common.messages import BadMessage, MarkMissedV1, MarkRecoveredV1, RunChangedV1, decode
from kirby_common.ports import Record

from kirby_notifier.domain.alerts import Alert, alert_for, alert_for_mark
from kirby_notifier.ports import Kind, Notebook

log = structlog.get_logger()
Event = RunChangedV1 | MarkMissedV1 | MarkRecoveredV1


def read_event(record: Record) -> Event:
    """What a message tells. Raises `BadMessage`."""
    message = decode(record.value)
    if not isinstance(message, RunChangedV1 | MarkMissedV1 | MarkRecoveredV1):
        raise BadMessage(f"{message.type} does not belong on {record.topic}")
    return message


def alert_of(event: Event, *, public_url: str) -> Alert | None:
    """What is to be told of it, if anything."""
    if isinstance(event, RunChangedV1):
        return alert_for(event.data, at=event.time, public_url=public_url)
    return alert_for_mark(event.data, at=event.time, public_url=public_url)


class Events:
    """Notes what is to be told; returns once the deliveries are in the database."""

    def __init__(
        self,
        notebook: Notebook,
        *,
        caught_up: Callable[[], Awaitable[None]],
        public_url: str,
        kinds: frozenset[Kind],
        wake: asyncio.Event,
    ) -> None:
        self._notebook = notebook
        self._caught_up = caught_up
        self._public_url = public_url
        self._kinds = kinds
        self._wake = wake

    async def __call__(self, batch: Batch[Event]) -> None:
        found = [alert_of(received.message, public_url=self._public_url) for received in batch.received]
        alerts = [alert for alert in found if alert is not None]
        if not alerts:
            return
        await self._caught_up()
        made = await self._notebook.note(alerts, kinds=self._kinds)
        log.info("notifier.noted", alerts=len(alerts), deliveries=made)
        if made:
            self._wake.set()
