"""Kafka as the source and as the target of a replay."""

import hashlib
import struct
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import TypeVar

from kirby import lineage
from kirby._sending import Dates
from kirby.errors import KafkaUnavailable
from kirby.replaying.ports import Copied, Extent, ReplayRefused, Site
from kirby.transport import BufferFull, Position, TransientFailure, Transport

T = TypeVar("T")
_TOGETHER = 5000
_PROCESS = b"kirbycpy"
_PLACE = struct.Struct(">iq").pack
_SLICE_S = 0.2
_STALLED_S = 30.0
_PATIENCE_S = 60.0


class KafkaSource:
    """A cluster that can be reached. `prefix`: what the environment puts before the names of topics."""

    def __init__(self, way: Transport, *, prefix: str = "") -> None:
        self._way = way
        self._site = Site(way.admin().cluster_id(), prefix)

    def topic(self, name: str) -> str:
        """The topic's full name."""
        return self._site.prefix + name

    def extent(self, name: str, *, since: datetime | None, until: datetime | None) -> Extent:
        topic = self.topic(name)
        count = self._way.admin().partitions(topic)
        if count is None:
            raise ReplayRefused(f"there is no topic {topic} at {self._way.servers}")
        receiver = self._way.receiver(group=None)
        try:
            marks = {n: receiver.watermarks(topic, n) for n in range(count)}
            begins = _at(since, lambda ms: receiver.offsets_at(topic, dict.fromkeys(marks, ms)))
            ends = _at(until, lambda ms: receiver.offsets_at(topic, dict.fromkeys(marks, ms)))
        finally:
            receiver.close()
        spans = {n: (max(m.low, begins.get(n, m.low)), min(m.high, ends.get(n, m.high))) for n, m in marks.items()}
        # Where a partition's first record is one of that time, those deleted before it may have been so, too.
        expired = since is not None and any(m.low > 0 and spans[n][0] == m.low for n, m in marks.items())
        return Extent(name, self._site, spans, expired)

    def read(self, extent: Extent, partition: int, begin: int) -> Iterator[tuple[Sequence[Copied], int]]:
        topic, end = extent.site.prefix + extent.name, extent.spans[partition][1]
        receiver = self._way.receiver(group=None)
        try:
            receiver.assign([Position(topic, partition, begin)])
            moved = time.monotonic()
            while begin < end:
                found = receiver.poll(_TOGETHER, _SLICE_S)
                records = [
                    Copied(partition, r.offset(), r.key(), r.value(), _headers(r.headers()), r.timestamp()[1])
                    for r in found
                    if r.offset() < end
                ]
                beyond = len(records) < len(found) or receiver.ends().get((topic, partition), 0) >= end
                following = end if beyond else records[-1].offset + 1 if records else begin
                if following > begin:
                    begin, moved = following, time.monotonic()
                    yield records, following
                elif time.monotonic() - moved > _STALLED_S:
                    raise KafkaUnavailable(self._way.servers, f"nothing comes of {topic} {partition}:{begin}")
        finally:
            receiver.close()

    def close(self) -> None:
        """Each read has closed what it opened."""


class KafkaTarget:
    """Another environment. Records and how far the copy is go into one transaction of the target's cluster.

    How far is kept as the commits of a group that is named after source and target, so that the same replay, asked for
    again, goes on where it was. `flag`: what is copied bears the flag of a re-run. `origin`: the source's environment.
    """

    def __init__(self, way: Transport, *, prefix: str, origin: str, flag: bool = True, again: bool = False) -> None:
        self._way = way
        self._prefix = prefix
        self._origin = origin
        self._flags = lineage.RERUN if flag else 0
        self._again = again
        self._open = False

    def begin(self, extent: Extent) -> Mapping[int, int]:
        self.close()
        topic, width = self._prefix + extent.name, max(extent.spans) + 1
        admin = self._way.admin()
        admin.create(topic, partitions=width, config={"retention.ms": "-1"})
        there = admin.partitions(topic)
        if there != width:
            raise ReplayRefused(
                f"the topic {topic} has {there} partitions and its source {width}: delete it, so that it is made anew"
            )
        number = hashlib.blake2b(f"{extent.site}\n{extent.name}\n{topic}".encode(), digest_size=8)
        self._name = f".kirby.replay-{number.hexdigest()}"
        self._seed = number.digest()[:4]
        self._dates = Dates(topic, admin)
        self._sender = self._way.sender(on_failure=_left_to_the_commit, transactional_id=self._name)
        self._receiver = self._way.receiver(group=self._name)
        self._open = True
        if self._again:
            return {}
        committed = self._receiver.committed(topic, sorted(extent.spans))
        return {number: position.offset for number, position in committed.items()}

    def put(self, extent: Extent, partition: int, records: Sequence[Copied], following: int) -> None:
        topic = self._prefix + extent.name
        if records:
            oldest = min(record.at_ms for record in records)
            self._dates.checked_ms(datetime.fromtimestamp(oldest / 1000, UTC))
        self._persist(self._sender.begin)
        try:
            for record in records:
                self._send(topic, record)
            positions = [Position(topic, partition, following)]
            self._persist(lambda: self._sender.add_offsets(positions, self._receiver))
            self._persist(self._sender.commit)
        except BaseException:
            self._sender.abort()
            raise

    def close(self) -> None:
        if self._open:
            self._sender.close()
            self._receiver.close()
        self._open = False

    def _send(self, topic: str, record: Copied) -> None:
        headers: list[tuple[str, str | bytes | None]] = []
        known = b""
        for name, value in record.headers:
            if name == lineage.HEADER:
                known = value
            else:
                headers.append((name, value))
        headers.append((lineage.HEADER, self._header(record, known)))
        while True:
            try:
                self._sender.send(topic, record.value, record.key, headers, record.at_ms, record.partition)
                return
            except BufferFull:
                self._sender.serve(_SLICE_S)

    def _header(self, record: Copied, known: bytes) -> bytes:
        """The message's own with a hop more; `origin` says that it comes from elsewhere."""
        hop = lineage.pack_hop(_PROCESS, record.partition, record.offset)
        made = lineage.forward(known, hop, flags=self._flags, origin=self._origin) if known else None
        if made is not None:
            return made
        trace = self._seed + _PLACE(record.partition, record.offset)
        return lineage.begin(trace, hop, flags=self._flags, origin=self._origin)

    def _persist(self, step: Callable[[], T]) -> T:
        ends = time.monotonic() + _PATIENCE_S
        while True:
            try:
                return step()
            except TransientFailure as error:
                if time.monotonic() >= ends:
                    raise KafkaUnavailable(self._way.servers, str(error)) from error
                time.sleep(_SLICE_S)


def _left_to_the_commit(topic: str, reason: str) -> None:
    """The transaction's commit fails for it."""


def refuse_unsafe(target: Site, *, env: str, production: Site, source: Site) -> None:
    """Raises ReplayRefused for a target that is production, by name or by where it lies, or the source itself."""
    if env == "prod":
        raise ReplayRefused(
            "a replay into prod is refused: it would put copies among what is live; `kirby rewind` processes messages"
            " again where they are"
        )
    if target == production:
        raise ReplayRefused(
            f"a replay into {env} is refused: it has the cluster and the prefix of prod, so it would write there;"
            f" give {env} a topic prefix of its own"
        )
    if target == source:
        raise ReplayRefused(f"a replay into {env} is refused: the messages come from there")


def _at(moment: datetime | None, ask: Callable[[int], Mapping[int, int]]) -> Mapping[int, int]:
    return {} if moment is None else ask(round(moment.timestamp() * 1000))


def _headers(headers: Sequence[tuple[str, bytes | None]] | None) -> list[tuple[str, bytes]]:
    return [(name, value or b"") for name, value in headers or ()]
