"""The partitions of an owned State that this process owns: tables in its local stores, changed in transactions only.

What a transaction changes is `open` until Kafka has it, then `unsaved` until the store has it, too. A store is written
right after a commit, when nothing is on its way to the log: then the log's end is an offset that its rows fit exactly.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from kirby import _drain
from kirby._logging import tell
from kirby._outbox import Outbox
from kirby._reader import Reader
from kirby.errors import KafkaUnavailable
from kirby.state._filling import Log, fill
from kirby.state._rows import fold_row
from kirby.state._store import Store, StoreCorrupt, folder_of
from kirby.state.errors import StateStopped
from kirby.state.records import (
    COMMAND_MS,
    BadRecord,
    Latest,
    Mutation,
    UnknownRule,
    commands_topic,
    decode_latest,
    decode_mutation,
    encode_latest,
)
from kirby.transport import BEGINNING, Position, Receiver, Record

T = TypeVar("T")
_SAVE_S = 1.0
_KNOWN_ROWS = 20_000
_KNOWN_BYTES = 32 << 20


class Table:
    """One partition. `end`: a bound of the log that every record still to come is at or above."""

    def __init__(self, number: int, store: Store, *, end: int) -> None:
        self.number = number
        self.store = store
        self.end = end
        self.open: dict[str, Latest] = {}
        self.unsaved: dict[str, Latest] = {}
        self._known: dict[str, Latest | None] = {}

    @property
    def before(self) -> int:
        """The offset that the memory of what is not in the log yet has; also in an empty log one that can be kept."""
        return max(self.end - 1, 0)

    def row(self, key: str) -> Latest | None:
        """Raises StoreCorrupt."""
        row = self.open.get(key) or self._known.get(key)
        if row is None and key not in self._known:
            row = self._known[key] = self._stored(key)
        return row

    def _stored(self, key: str) -> Latest | None:
        data = self.store.get(key)
        try:
            return None if data is None else decode_latest(data)
        except (BadRecord, UnknownRule) as error:
            raise StoreCorrupt(str(error)) from error

    def keys(self, prefix: str) -> list[str]:
        """Also those without a value. Raises StoreCorrupt."""
        found = {key for key, _ in self.store.scan(prefix)}
        return sorted(found.union(key for key in (*self.unsaved, *self.open) if key.startswith(prefix)))

    def committed(self) -> None:
        self.unsaved |= self.open
        self._known |= self.open
        self.open = {}
        if len(self._known) > _KNOWN_ROWS:
            self.forget()

    def save(self, end: int) -> None:
        """What is committed, which the log has below `end` and nothing else. Raises StoreCorrupt."""
        self.store.save(((key, encode_latest(row)) for key, row in self.unsaved.items()), applied=end)
        self.unsaved, self.end = {}, end
        if sum(len(row.value.data) for row in self._known.values() if row and row.value) > _KNOWN_BYTES:
            self.forget()

    def forget(self) -> None:
        """What the store has, too."""
        self._known = dict(self.unsaved)


class Owner:
    """Takes part in the transactions of the topic that the State is partitioned with (`_transactions.Party`)."""

    def __init__(self, log: Log, *, source: str, reader: Callable[[], Reader]) -> None:
        self.log = log
        self._source = source
        self._reader = reader
        self._commands = commands_topic(log.name, prefix=log.prefix)
        self._listener: Receiver | None = None
        self._heard: dict[int, int] = {}
        """Of each partition, after which command a transaction is committed, …"""
        self._hearing: dict[int, int] = {}
        """… and after which one the open transaction is."""
        self._save_at = 0.0
        self.tables: dict[int, Table] = {}

    def prepare(self, partitions: Sequence[int]) -> None:
        self._make_sure_of_partitions()
        self.gone([number for number in self.tables if number not in partitions])
        new = [number for number in partitions if number not in self.tables]
        if new:
            ends = self.log.way.admin().appended(self.log.topic, new)
            for number in new:
                self.tables[number] = Table(number, self._filled(number, ends[number]), end=ends[number])
        self._listen()

    def serve(self, out: Outbox) -> None:
        if self._listener is not None and self.tables:
            for record in self._listener.poll(500, 0):
                self._apply(record, out)

    def closing(self, out: Outbox) -> Sequence[Position]:
        return [Position(self._commands, number, offset) for number, offset in sorted(self._hearing.items())]

    def committed(self) -> None:
        self._heard |= self._hearing
        self._hearing = {}
        for table in self.tables.values():
            table.committed()
        if time.monotonic() >= self._save_at or _drain.asked:
            self._save()

    def dropped(self) -> None:
        for table in self.tables.values():
            table.open = {}
        if self._hearing:
            self._listen()

    def gone(self, partitions: Sequence[int]) -> None:
        for number in partitions:
            table = self.tables.pop(number, None)
            if table is not None:
                table.store.close()

    def close(self) -> None:
        self.gone(list(self.tables))
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.close()

    def row(self, table: Table, key: str) -> Latest | None:
        """The key's row; the store is made anew when it can't be read."""
        return self._mended(table, lambda: table.row(key))

    def keys(self, prefix: str) -> Iterator[tuple[Table, str]]:
        """Of all partitions that are ours; also keys without a value."""
        for table in list(self.tables.values()):
            for key in self._mended(table, lambda table=table: table.keys(prefix)):  # type: ignore[misc]
                yield table, key

    def _make_sure_of_partitions(self) -> None:
        there = self.log.way.admin().partitions(self._source)
        if there != self.log.partitions:
            raise StateStopped(
                self.log.name,
                f"its log has {self.log.partitions} partitions and its input topic {self._source!r} has {there}:"
                " a key's messages and its rows would lie apart. Write the State to a new one, from a topic as wide",
            )

    def _filled(self, number: int, end: int) -> Store:
        admin, log = self.log.way.admin(), self.log
        identity = f"{admin.identity(log.topic)} {log.partitions}"
        store = Store(folder_of(admin.cluster_id(), log.topic, number), identity=identity)
        try:
            try:
                fill(store, log, number, upto=end)
            except StoreCorrupt as error:
                self._tell_of(number, error)
                store.clear()
                fill(store, log, number, upto=end)
        except BaseException:
            store.close()
            raise
        return store

    def _mended(self, table: Table, step: Callable[[], T]) -> T:
        try:
            return step()
        except StoreCorrupt as error:
            self._tell_of(table.number, error)
        # To where the store was: what came later is here, or in the open transaction, which can't be read yet.
        upto = table.store.applied or 0
        table.store.clear()
        fill(table.store, self.log, table.number, upto=upto)
        table.forget()
        return step()

    def _tell_of(self, number: int, error: StoreCorrupt) -> None:
        where = f"State {self.log.name!r}, partition {number}"
        tell("WARNING", f"the local store of {where} can't be read and is made anew from the log: {error}")

    def _save(self) -> None:
        """When Kafka can't be asked, the next time: the log is the truth."""
        changed = [table for table in self.tables.values() if table.unsaved]
        if not changed:
            return
        try:
            ends = self.log.way.admin().appended(self.log.topic, [table.number for table in changed])
        except KafkaUnavailable:
            return
        for table in changed:
            end = ends[table.number]
            self._mended(table, lambda table=table, end=end: table.save(end))  # type: ignore[misc]
        self._save_at = time.monotonic() + _SAVE_S

    def _listen(self) -> None:
        """To the commands, from where the group has come to."""
        ours = sorted(self.tables)
        self._hearing = {}
        self._heard = {n: p.offset for n, p in self._reader().receiver.committed(self._commands, ours).items()}
        if self._listener is None:
            self._listener = self.log.way.receiver(group=None)
        self._listener.assign([Position(self._commands, n, self._heard.get(n, BEGINNING)) for n in ours])

    def _apply(self, record: Record, out: Outbox) -> None:
        """As if its sender had written to the log: the mutation goes there as it is, and is judged by the rule."""
        table = self.tables.get(record.partition())
        if table is None:
            return
        self._hearing[table.number] = record.offset() + 1
        mutation = self._command(record)
        if mutation is None:
            return
        row, folded = fold_row(self.row(table, mutation.key), mutation, offset=table.before, at_ms=0)
        if not folded.repeat:
            out.send(self.log.topic, record.value(), record.key(), [], 0)
            table.open[mutation.key] = row

    def _command(self, record: Record) -> Mutation | None:
        """None for what is none, or comes too late: its sender has given it up."""
        try:
            mutation = decode_mutation(record.key(), record.value())
        except BadRecord:
            return None
        except UnknownRule as error:
            raise StateStopped(self.log.name, str(error)) from error
        late = time.time() * 1000 - record.timestamp()[1] > COMMAND_MS
        return None if late or mutation.of != self.log.partitions else mutation
