"""A process's copy of a State: a thread that reads the log, folds it by the rule, and tells whoever waits.

It begins with the `.latest` topic where there is one, and goes on in the log from where that was told. Everything a
reader sees is in `rows`; a row that came from `.latest` stays bytes until somebody looks at it.
"""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import NamedTuple

from kirby.errors import KafkaUnavailable, KirbyError
from kirby.state._rows import fold_row
from kirby.state._stretch import ends_of, stretches
from kirby.state.errors import StateAbsent, StateStale, StateStopped
from kirby.state.records import (
    POSITION_KEY,
    BadRecord,
    Latest,
    Mutation,
    UnknownRule,
    decode_latest,
    decode_mutation,
    decode_position,
    latest_topic,
    log_topic,
)
from kirby.state.rule import Folded
from kirby.transport import BEGINNING, Position, Receiver, Record, TopicAdmin, Transport

_BATCH = 5000
_POLL_S = 0.1
_LOOK_AT_PARTITIONS_S = 30.0
_STARTED_S = 300.0


class Seen(NamedTuple):
    """A mutation that was read, and what the rule made of it."""

    mutation: Mutation
    folded: Folded
    partition: int
    offset: int
    at_ms: int


class Replica:
    """`on_seen` is called, in the reading thread, with each mutation of the log that is read after the start."""

    def __init__(
        self,
        name: str,
        *,
        prefix: str,
        way: Transport,
        on_seen: Callable[[Seen], None],
        fresh_within: timedelta | None,
        topic: str | None = None,
        base: "Replica | None" = None,
    ) -> None:
        self.name = name
        self.topic = topic or log_topic(name, prefix=prefix)
        self.base = base
        """What a key has that was never set in this log, which is an overlay then: the original's copy."""
        self._latest = f"{topic}.latest" if topic else latest_topic(name, prefix=prefix)
        self._way = way
        self._on_seen = on_seen
        self._fresh_s = None if fresh_within is None else fresh_within.total_seconds()
        self.rows: dict[str, Latest | bytes] = {}
        self.partitions = 0
        self.problem: KirbyError | None = None
        self.changed = threading.Condition()
        """Notified when something was read, and when the problem is set."""
        self._positions: dict[int, int] = {}
        self._folded_before: dict[int, int] = {}
        self._fresh_at = 0.0
        self._ready = False
        self._closing = False
        self._thread = threading.Thread(target=self._run, name=f"kirby-state-{name}", daemon=True)

    def start(self) -> None:
        """Begin to read; returns when everything is here that was in the log by then. Raises what stands against it."""
        if self.base is not None:
            self.base.start()
        self._thread.start()
        with self.changed:
            self.changed.wait_for(lambda: self._ready or self.problem, timeout=_STARTED_S)
        if self.problem is not None:
            raise self.problem
        if not self._ready:
            raise KafkaUnavailable(self._way.servers, f"State {self.name!r} was not read within {_STARTED_S:g} s")

    def hear(self, on_seen: Callable[[Seen], None]) -> None:
        """Have another one called from here on."""
        self._on_seen = on_seen

    def close(self) -> None:
        self._closing = True
        if self.base is not None:
            self.base.close()
        if self._thread is not threading.current_thread() and self._thread.is_alive():
            self._thread.join(timeout=30)

    def row(self, key: str) -> Latest | None:
        """The key's memory and value; None for one without a mutation."""
        row = self.rows.get(key)
        if isinstance(row, bytes):
            row = decode_latest(row)
            with self.changed:
                # Unless the reading thread has folded on from it meanwhile.
                if isinstance(self.rows.get(key), bytes):
                    self.rows[key] = row
        return row

    def newest(self, key: str) -> Latest | None:
        """As `row`, and of an overlay what lies under it where it has none."""
        row = self.row(key)
        return row if row is not None or self.base is None else self.base.row(key)

    def known(self) -> list[str]:
        """Those that have a row, those under an overlay included."""
        return list(self.rows) if self.base is None else list({*self.rows, *self.base.rows})

    def make_sure(self) -> None:
        """Raises the problem, or StateStale when the limit of freshness can't be kept."""
        if self.base is not None:
            self.base.make_sure()
        if self.problem is not None:
            raise self.problem
        limit = self._fresh_s
        if limit is None or time.monotonic() - self._fresh_at <= limit:
            return
        with self.changed:
            fresh = self.changed.wait_for(
                lambda: self.problem or time.monotonic() - self._fresh_at <= limit, timeout=max(limit, 1.0)
            )
        if self.problem is not None:
            raise self.problem
        if not fresh:
            raise StateStale(self.name, limit)

    def _run(self) -> None:
        receiver: Receiver | None = None
        try:
            receiver = self._way.receiver(group=None)
            self._read(receiver)
        except UnknownRule as error:
            self._stop(StateStopped(self.name, str(error)))
        except KirbyError as error:
            self._stop(error)
        except Exception as error:
            self._stop(StateStopped(self.name, f"{type(error).__name__}: {error}"))
        finally:
            if receiver is not None:
                receiver.close()

    def _stop(self, problem: KirbyError) -> None:
        with self.changed:
            self.problem = problem
            self.changed.notify_all()

    def _read(self, receiver: Receiver) -> None:
        admin = self._way.admin()
        count = admin.partitions(self.topic)
        if count is None:
            raise StateAbsent(self.name, self.topic)
        self.partitions = count
        if admin.partitions(self._latest) == count:
            self._read_latest(receiver)
        log = [Position(self.topic, n, self._positions.get(n, BEGINNING)) for n in range(count)]
        targets = self._targets(receiver)
        asked_at, looked_at = time.monotonic(), time.monotonic()
        receiver.assign(log)
        while not self._closing:
            self._fold_all(receiver.poll(_BATCH, _POLL_S), receiver.ends())
            now = time.monotonic()
            if targets and all(self._positions.get(n, 0) >= high for n, high in targets.items()):
                self._reached(asked_at)
                targets = {}
            if not targets and self._wants_targets(now):
                targets, asked_at = self._targets(receiver), now
            if now - looked_at > _LOOK_AT_PARTITIONS_S:
                looked_at = now
                self._check_partitions(admin)

    def _targets(self, receiver: Receiver) -> dict[int, int]:
        """Where each partition ends now: all is here that was, once these are reached. {}: Kafka can't say now."""
        try:
            return ends_of(receiver, self.topic, partitions=self.partitions, patience_s=0)
        except KafkaUnavailable:
            return {}

    def _wants_targets(self, now: float) -> bool:
        return not self._ready or (self._fresh_s is not None and now - self._fresh_at > self._fresh_s / 3)

    def _reached(self, asked_at: float) -> None:
        with self.changed:
            self._ready = True
            self._fresh_at = asked_at
            self.changed.notify_all()

    def _check_partitions(self, admin: TopicAdmin) -> None:
        try:
            now = admin.partitions(self.topic)
        except KafkaUnavailable:
            return
        if now != self.partitions:
            raise StateStopped(self.name, f"its topic has {now} partitions and had {self.partitions}")

    def _read_latest(self, receiver: Receiver) -> None:
        """To the end that the topic has now. What comes later is in the log, too."""
        ends = ends_of(receiver, self._latest, partitions=self.partitions)
        begins = dict.fromkeys(ends, BEGINNING)
        for records in stretches(receiver, self._latest, begins, ends, closing=lambda: self._closing):
            self._take_latest(records)

    def _take_latest(self, records: Sequence[Record]) -> None:
        """There may be millions: a start takes as long as this does."""
        rows = self.rows
        for record in records:
            key, data = record.key(), record.value()
            if key == POSITION_KEY:
                with suppress(BadRecord):
                    self._positions[record.partition()] = decode_position(data)
            elif data is not None:
                rows[key.decode()] = data

    def _fold_all(self, records: Sequence[Record], ends: Mapping[tuple[str, int], int]) -> None:
        for record in records:
            self._fold(record)
        for (topic, number), end in ends.items():
            if topic == self.topic and end > self._positions.get(number, 0):
                self._positions[number] = end
        if records:
            with self.changed:
                self.changed.notify_all()

    def _fold(self, record: Record) -> None:
        offset, number = record.offset(), record.partition()
        self._positions[number] = offset + 1
        try:
            mutation = decode_mutation(record.key(), record.value())
        except BadRecord:
            return
        if mutation.of != self.partitions:
            raise StateStopped(
                self.name, f"its topic has {self.partitions} partitions, and a writer knew {mutation.of}"
            )
        before = self.row(mutation.key)
        if before is not None and offset <= before.memory.offset:
            return
        at_ms = record.timestamp()[1]
        row, folded = fold_row(before, mutation, offset=offset, at_ms=at_ms)
        self.rows[mutation.key] = row
        self._on_seen(Seen(mutation, folded, number, offset, at_ms))
