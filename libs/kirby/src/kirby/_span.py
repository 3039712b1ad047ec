"""The records of a topic between two instants, read beside every group."""

from collections.abc import Iterator

from kirby import _drain
from kirby.errors import TopicAbsent
from kirby.transport import Position, Record, Transport

_SLICE_S = 0.2
_BATCH = 1000


class Span:
    """Iterates over `[start_ms, end_ms)`, frozen to offsets when it begins: what comes meanwhile is left out."""

    def __init__(self, topic: str, *, way: Transport, start_ms: int, end_ms: int) -> None:
        self._topic = topic
        self._way = way
        self._start_ms = start_ms
        self._end_ms = end_ms

    def __iter__(self) -> Iterator[Record]:
        count = self._way.admin().partitions(self._topic)
        if count is None:
            raise TopicAbsent(self._topic)
        receiver = self._way.receiver(group=None)
        try:
            froms = receiver.offsets_at(self._topic, dict.fromkeys(range(count), self._start_ms))
            ends = {number: receiver.watermarks(self._topic, number).high for number in range(count)}
            left = {number: ends[number] for number in froms if froms[number] < ends[number]}
            receiver.assign([Position(self._topic, number, froms[number]) for number in left])
            while left and not _drain.asked:
                for record in receiver.poll(_BATCH, _SLICE_S):
                    number, offset = record.partition(), record.offset()
                    if number in left and offset < left[number] and self._is_within(record):
                        yield record
                    if offset + 1 >= left.get(number, 0):
                        left.pop(number, None)
                met = receiver.ends()
                left = {n: end for n, end in left.items() if met.get((self._topic, n), -1) < end}
        finally:
            receiver.close()

    def _is_within(self, record: Record) -> bool:
        return self._start_ms <= record.timestamp()[1] < self._end_ms
