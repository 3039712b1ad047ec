"""Where open windows and timers lie: a compacted topic beside the input, partition by partition.

It is written in the transaction that has the outputs and the offsets, so that the three are always of one moment; a
partition's entries are read back when it comes to us. What is closed gets a deletion mark.
"""

import hashlib
import re
import time
from typing import Literal

from kirby import _kafka
from kirby._logging import tell
from kirby._outbox import Outbox
from kirby._reader import Reader
from kirby._serializers import Serializer, why
from kirby._shard import POSITION, Entry, Id, Shard, decode_position, encode_position
from kirby.errors import BadValue, KafkaUnavailable, KirbyError
from kirby.transport import BEGINNING, Position, Receiver, Transport

_CONFIG = {"cleanup.policy": "compact", "retention.ms": "-1", "min.cleanable.dirty.ratio": "0.1"}
Family = Literal["windows", "timers"]
_BATCH = 5000
_POLL_S = 0.1
_RESTORED_S = 300.0
# Longer than a predecessor's transaction may hang.
_COMPLETE_S = _kafka.TRANSACTION_MS / 1000 + 5


def changelog_topic(family: Family, group: str, name: str, *, prefix: str) -> str:
    """The topic's full name, for a group with its prefix. What Kafka takes for a name is kept apart by a hash.

    >>> changelog_topic("windows", "test.hourly", "readings", prefix="test.")
    'test..kirby.windows.hourly.readings'
    """
    wanted = f"{group.removeprefix(prefix)}.{name}"
    safe = re.sub(r"[^A-Za-z0-9._-]", "-", wanted)[:180]
    if safe != wanted:
        safe += "." + hashlib.sha256(wanted.encode()).hexdigest()[:8]
    return f"{prefix}.kirby.{family}.{safe}"


class Changelog:
    """The shards of the partitions that are ours, and their copies in Kafka. The thread that reads calls everything.

    Goes with the reader's `Transactions` as what is attached to each.
    """

    def __init__(self, reader: Reader, topic: str, *, way: Transport, values: Serializer) -> None:
        self.shards: dict[int, Shard] = {}
        self._reader = reader
        self._way = way
        self._values = values
        self.topic = topic
        self._make_sure()

    def settle(self) -> None:
        """Read back the shards of partitions that came, and forget those of partitions that went."""
        ours = self._reader.settled()
        for number in [n for n in self.shards if n not in ours]:
            del self.shards[number]
        come = sorted(ours - self.shards.keys())
        if not come:
            return
        at = {p.partition: p.offset for p in self._reader.commits(self._reader.next_offsets())}
        self.shards |= self._restore({number: at[number] for number in come if number in at})

    def has_changes(self) -> bool:
        return any(shard.has_changes() for shard in self.shards.values())

    def write(self, out: Outbox) -> None:
        at = {p.partition: p.offset for p in self._reader.commits(self._reader.next_offsets())}
        for number, shard in self.shards.items():
            position = at.get(number)
            if position is None or not (shard.has_changes() or position != shard.position):
                continue
            for which, entry in shard.changes():
                out.put(self.topic, None if entry is None else self._encoded(entry), which.encode(), number)
            shard.position = position
            out.put(self.topic, encode_position(shard), POSITION, number)

    def forget(self) -> None:
        self.shards.clear()

    def _encoded(self, entry: Entry) -> bytes:
        try:
            return entry.encode(self._values.encode(entry.value))
        except Exception as error:
            raise BadValue(self.topic, f"{self._values.content_type}: {why(error)}") from error

    def _make_sure(self) -> None:
        admin = self._way.admin()
        wanted = admin.partitions(self._reader.topic) or 1
        if admin.partitions(self.topic) is None:
            admin.create(self.topic, partitions=wanted, config=_CONFIG)
        found = admin.partitions(self.topic)
        if found is not None and found != wanted:
            raise KirbyError(
                f"{self._reader.topic} has {wanted} partitions, and had {found} when windows or timers were begun: "
                f"their keys lie elsewhere now; give them another name=, or delete the topic {self.topic}"
            )

    def _restore(self, at: dict[int, int]) -> dict[int, Shard]:
        """Read these partitions to their ends. Raises KafkaUnavailable after five minutes without."""
        shards = {number: Shard() for number in at}
        receiver = self._way.receiver(group=None)
        try:
            receiver.assign([Position(self.topic, number, BEGINNING) for number in sorted(at)])
            self._read_to_end(receiver, shards)
            self._await_position(receiver, shards, at)
        finally:
            receiver.close()
        for number, shard in shards.items():
            if shard.position is not None and shard.position > at[number]:
                # The group was moved back: event time begins again, and open windows know what they have already.
                shard.watermark_ms = None
            shard.position = at[number]
        return shards

    def _read_to_end(self, receiver: Receiver, shards: dict[int, Shard]) -> None:
        ends = time.monotonic() + _RESTORED_S
        while len(receiver.ends()) < len(shards):
            if time.monotonic() >= ends:
                raise KafkaUnavailable(self._way.servers, f"{self.topic} could not be read to its end")
            self._take_in(receiver, shards)

    def _await_position(self, receiver: Receiver, shards: dict[int, Shard], at: dict[int, int]) -> None:
        """The offsets of a transaction may be seen a moment before its records are."""
        ends = time.monotonic() + _COMPLETE_S
        while behind := [n for n, s in shards.items() if s.position is not None and s.position < at[n]]:
            if time.monotonic() >= ends:
                tell("WARNING", f"partitions {behind} of {self._reader.topic} were read on without their windows")
                return
            self._take_in(receiver, shards)

    def _take_in(self, receiver: Receiver, shards: dict[int, Shard]) -> None:
        for record in receiver.poll(_BATCH, _POLL_S):
            shard, data = shards[record.partition()], record.value()
            if record.key() == POSITION:
                decode_position(data, shard)
            elif data is None:
                shard.entries.pop(Id.decode(record.key()), None)
            else:
                shard.put(Id.decode(record.key()), Entry.decode(data, self._values.decode), restored=True)
