"""A State that one processor group owns: the fast one, changed together with what the processor sends."""

from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Any, Self

from kirby import _kafka
from kirby._hand import in_hand
from kirby._murmur2 import murmur2
from kirby._outbox import Outbox
from kirby._process import process
from kirby._serializers import Serializer, find
from kirby._transactions import transaction
from kirby.message import Message
from kirby.shadowing import names
from kirby.state._claim import claim
from kirby.state._filling import Log
from kirby.state._owner import Owner, Table
from kirby.state._past import Version, made_version, past
from kirby.state._rows import fold_row
from kirby.state._values import Values
from kirby.state._writer import judged, this_is_a_rerun, this_writer, who
from kirby.state.errors import NotOwned, OutsideTransaction, StateAbsent, StateError, VersionAbsent
from kirby.state.records import (
    COMMANDS_CONFIG,
    LOG_CONFIG,
    Latest,
    Mutation,
    Value,
    checked_name,
    commands_topic,
    encode_key,
    encode_mutation,
    log_topic,
)
from kirby.state.rule import Op, Verdict
from kirby.topic import Topic

_PLACES = 100_000


class OwnedState:
    """A State whose rows belong to the processor of one topic, partition by partition.

    Within the `exactly_once` loop of `topic` (or its `process_batches`), the group's member that has a partition of
    the topic has the same partition of the State, in a local store below `KIRBY_STATE_DIR`. Reads are looks into it;
    writes go into the transaction of what is sent and the place in the topic: all of it happens once, or none. So a
    write costs no waiting, and a member that is replaced can't write any more.

    A key must be in the partition of the message in hand, else `NotOwned`: use the message's own key. Other processes
    read it by `State(name)`; what they set there goes to the owner, as a command. One group owns a State, the
    first that makes an OwnedState of it; another one gets `OwnedByAnother`.

    `create`: make the State when it is absent, with as many partitions as the topic; else `StateAbsent`. `model` and
    `serializer` are as in `State`. Not for other threads than the one with the loop.

    >>> import kirby
    >>> with kirby.Topic("clicks", group="counter", create=True) as clicks:
    ...     hits = kirby.OwnedState("hits", clicks, create=True)
    ...     for page in ("home", "home", "about"):
    ...         clicks.send(None, key=page)
    ...     for click in clicks.exactly_once(timeout=1):
    ...         hits[click.key] = hits.get(click.key, 0) + 1
    >>> with kirby.State("hits") as seen:
    ...     sorted(seen.items())
    [('about', 1), ('home', 2)]
    """

    def __init__(
        self,
        name: str,
        topic: Topic[Any],
        *,
        create: bool = False,
        model: Any = None,
        serializer: str | Serializer = "json",
    ) -> None:
        self.name: str = checked_name(name)
        if names.current() is not None:
            raise StateError(
                f"State {name!r} is owned by its processor, which a shadow rewind can't work beside: rewind it in place"
            )
        self._source = topic
        self._values = Values(name, find(serializer, model=model))
        self._prefix = _kafka.prefix()
        self._topic = log_topic(name, prefix=self._prefix)
        self._writer, self._by = this_writer(), who()
        self._rerun = this_is_a_rerun()
        self._n = 0
        self._places: dict[str, tuple[int, bytes]] = {}
        self._log = Log(name, self._prefix, self._make_sure(create=create), topic._place.way)
        if topic.group is not None:
            claim(self._log, topic.group)
        self._owner = Owner(self._log, source=topic.name, reader=topic._reading)
        topic._join(self._owner)

    def __getitem__(self, key: str) -> Any:
        """The value now, as this transaction has it. Raises KeyError for a key that has none."""
        row = self._row(key)[1]
        if row is None or row.value is None:
            raise KeyError(key)
        return self._values.decode(row.value)

    def get(self, key: str, default: Any = None) -> Any:
        """As `[key]`; `default` for a key that has none."""
        row = self._row(key)[1]
        return default if row is None or row.value is None else self._values.decode(row.value)

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and (row := self._row(key)[1]) is not None and row.value is not None

    def version(self, key: str) -> int:
        """The key's version now, 0 if it was never set. A deletion counts."""
        row = self._row(key)[1]
        return 0 if row is None else row.memory.version

    def keys(self, prefix: str = "") -> Iterator[str]:
        """The keys of our partitions that have a value now and begin so."""
        return (key for key, _ in self._rows(prefix))

    def items(self, prefix: str = "") -> Iterator[tuple[str, Any]]:
        """As `keys`, with the values."""
        return ((key, self._values.decode(value)) for key, value in self._rows(prefix))

    def set(self, key: str, value: Any, *, expect_version: int | None = None) -> int:
        """Set the key, and return the new version. Others see it when the transaction is committed.

        `expect_version`: only if the key has this version (0: if it was never set), else `StateConflict`.
        Raises BadValue for a value that can't be written, `NotOwned`, `OutsideTransaction`.
        """
        return self._append(key, Op.SET, value=self._values.encode(value), expect=expect_version)

    def __setitem__(self, key: str, value: Any) -> None:
        self._append(key, Op.SET, value=self._values.encode(value))

    def update(self, key: str, change: Callable[[Any], Any]) -> Any:
        """Set the key to what `change` makes of its value (None: it has none), and return that."""
        wanted = change(self.get(key))
        self._append(key, Op.SET, value=self._values.encode(wanted))
        return wanted

    def delete(self, key: str, *, expect_version: int | None = None) -> int:
        """Delete the key: a version without a value, which can be restored from. Raises KeyError for one without."""
        if key not in self:
            raise KeyError(key)
        return self._append(key, Op.DELETE, expect=expect_version)

    def __delitem__(self, key: str) -> None:
        self.delete(key)

    def history(self, key: str) -> list[Version]:
        """Every committed version of the key, oldest first. Reads the log, which takes as long as the log is."""
        found = past(self._log.way, self._topic, key, partitions=self._log.partitions)
        decode = self._values.decode
        return [made_version(m, n, at_ms, None if m.value is None else decode(m.value)) for m, n, at_ms in found]

    def restore(self, key: str, version: int, *, expect_version: int | None = None) -> int:
        """Bring an old, committed version back, as a new one, and return its number. Raises `VersionAbsent`."""
        for mutation, number, _ in past(self._log.way, self._topic, key, partitions=self._log.partitions):
            if number == version:
                return self._append(key, Op.RESTORE, value=mutation.value, expect=expect_version, restores=version)
        raise VersionAbsent(self.name, key, f"version {version}")

    def close(self) -> None:
        """Close the local stores. Its topic closes them, too."""
        self._owner.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _make_sure(self, *, create: bool) -> int:
        """The log's partitions. The commands' topic is there before the log is: it says that the State is owned."""
        admin, commands = self._source._place.way.admin(), commands_topic(self.name, prefix=self._prefix)
        there = admin.partitions(self._topic)
        if there is None:
            if not create:
                raise StateAbsent(self.name, self._topic)
            self._source._make_sure()
            wide = admin.partitions(self._source.name)
            assert wide is not None
            admin.create(commands, partitions=wide, config=COMMANDS_CONFIG)
            admin.create(self._topic, partitions=wide, config=LOG_CONFIG)
            return wide
        if admin.partitions(commands) is None:
            raise StateError(f"State {self.name!r} is shared, and can't be owned: take another name")
        return there

    def _row(self, key: str) -> tuple[Table, Latest | None]:
        number, _ = self._places.get(key) or self._place(key)
        table = self._owner.tables.get(number)
        held = in_hand()
        foreign = type(held) is Message and held.partition != number and held.topic == self._source.name
        if table is None or foreign:
            if not self._owner.tables:
                raise OutsideTransaction(self.name, self._source.name)
            raise NotOwned(self.name, key, number)
        return table, table.open.get(key) or self._owner.row(table, key)

    def _place(self, key: str) -> tuple[int, bytes]:
        """The key's partition and bytes."""
        if len(self._places) >= _PLACES:
            self._places.clear()
        data = encode_key(key)
        place = self._places[key] = (murmur2(data) % self._log.partitions, data)
        return place

    def _rows(self, prefix: str) -> Iterator[tuple[str, Value]]:
        if not self._owner.tables:
            raise OutsideTransaction(self.name, self._source.name)
        for table, key in self._owner.keys(prefix):
            row = self._owner.row(table, key)
            if row is not None and row.value is not None:
                yield key, row.value

    def _append(
        self, key: str, op: Op, *, value: Value | None = None, expect: int | None = None, restores: int | None = None
    ) -> int:
        out = transaction()
        if out is None:
            raise OutsideTransaction(self.name, self._source.name)
        table, before = self._row(key)
        mutation = self._mutation(key, op, value, expect, restores)
        row, folded = fold_row(before, mutation, offset=table.before, at_ms=0)
        if folded.outcome.verdict is not Verdict.APPLIED:
            return judged(self.name, key, expect, folded.outcome)
        process().touched("state", self.name)
        self._send(out, mutation)
        table.open[key] = row
        return folded.outcome.version

    def _mutation(self, key: str, op: Op, value: Value | None, expect: int | None, restores: int | None) -> Mutation:
        held = in_hand()
        self._n += 1
        return Mutation(
            key=key,
            op=op,
            writer=self._writer,
            n=self._n,
            of=self._log.partitions,
            by=self._by,
            value=value,
            expect=expect,
            restores=restores,
            rerun=self._rerun or (isinstance(held, Message) and held.rerun),
            inputs=(f"{held.topic} {held.place}",) if isinstance(held, Message) else (),
        )

    def _send(self, out: Outbox, mutation: Mutation) -> None:
        out.send(self._topic, encode_mutation(mutation), self._places[mutation.key][1], [], 0)
