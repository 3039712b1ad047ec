"""Partitions read up to an offset, and no further: `.latest` topics, logs, a key's past."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from kirby.errors import KafkaUnavailable
from kirby.transport import Position, Receiver, Record

_BATCH = 5000
_POLL_S = 0.1
_LEADERS_S = 15.0
_SILENT_S = 120.0


def ends_of(receiver: Receiver, topic: str, *, partitions: int, patience_s: float = _LEADERS_S) -> dict[int, int]:
    """Where each partition ends now; asks for a while, for a new topic's partitions have no leader at first.

    Raises KafkaUnavailable.
    """
    last = time.monotonic() + patience_s
    while True:
        try:
            return {n: receiver.watermarks(topic, n).high for n in range(partitions)}
        except KafkaUnavailable:
            if time.monotonic() > last:
                raise
            time.sleep(_POLL_S)


def stretch(
    receiver: Receiver,
    topic: str,
    begins: Mapping[int, int],
    ends: Mapping[int, int],
    *,
    closing: Callable[[], bool] = lambda: False,
) -> Iterator[Record]:
    """The committed records of these partitions below their ends, those of one partition in order.

    Waits for transactions that are still open below an end. Raises KafkaUnavailable when nothing comes for 2 minutes.
    """
    for records in stretches(receiver, topic, begins, ends, closing=closing):
        yield from records


def stretches(
    receiver: Receiver,
    topic: str,
    begins: Mapping[int, int],
    ends: Mapping[int, int],
    *,
    closing: Callable[[], bool] = lambda: False,
) -> Iterator[Sequence[Record]]:
    """As `stretch`, some thousand records at once, for who has millions to read."""
    left = {n for n, end in ends.items() if end > max(0, begins[n])}
    if not left:
        return
    receiver.assign([Position(topic, n, begins[n]) for n in sorted(left)])
    silent_at = time.monotonic() + _SILENT_S
    while left and not closing():
        records = receiver.poll(_BATCH, _POLL_S)
        last = {record.partition(): record.offset() for record in records}
        if any(offset >= ends[n] for n, offset in last.items()):
            records = [record for record in records if record.offset() < ends[record.partition()]]
        if records:
            yield records
        met = receiver.ends()
        left = {n for n in left if max(last.get(n, -1) + 1, met.get((topic, n), -1)) < ends[n]}
        if last:
            silent_at = time.monotonic() + _SILENT_S
        elif time.monotonic() > silent_at:
            raise KafkaUnavailable("the State's broker", f"{topic} could not be read to its end within {_SILENT_S:g} s")
