"""State: a table that remembers. What scripts work with."""

import atexit
import os
import queue
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Self

from kirby import _drain, _kafka, transport
from kirby._hand import in_hand
from kirby._process import process
from kirby._serializers import Serializer, find
from kirby._transactions import transaction
from kirby.message import Message
from kirby.shadowing import names
from kirby.state._overlay import expected, overlay, pasts
from kirby.state._past import Version, made_version
from kirby.state._replica import Replica, Seen
from kirby.state._values import Values
from kirby.state._writer import Pending, Writing, judged
from kirby.state.errors import (
    InsideTransaction,
    StateAbsent,
    StateConflict,
    StateError,
    VersionAbsent,
)
from kirby.state.records import LOG_CONFIG, Value, checked_name, commands_topic, encode_key, log_topic
from kirby.state.rule import Op

_WATCHED = 10_000


class State:
    """A table of keys and values that every script can read and write, and that keeps every version of every key.

    The truth is a topic, `.kirby.state.NAME.log` behind the environment's prefix; each process that uses a State keeps
    a copy of the newest values, up to date within milliseconds. A write returns when it has come back from Kafka, so
    whoever wrote reads it, and knows its version.

    `name`: a-z, 0-9 and -. `create`: make the State when it is absent, with `partitions`; else `StateAbsent`. `model`
    and `serializer` are as in `Topic` (JSON by default); values of more than 256 kB go into the object store at
    `KIRBY_OBJECTS_URL` (default a folder of this user), by their hash. `fresh_within`: reads wait until the copy is
    known to have been current so short a time ago, and raise `StateStale` when Kafka can't be asked. `patience`: how
    long a write waits for Kafka before it raises `NotWritten`.

    Connects when first used. Threads may share it.

    >>> import kirby
    >>> with kirby.State("prices", create=True) as prices:
    ...     first = prices.set("bread", {"euro": 3.2})
    ...     second = prices.set("bread", {"euro": 3.4}, expect_version=first)
    ...     back = prices.restore("bread", version=first)
    ...     prices["bread"], [v.value["euro"] for v in prices.history("bread")]
    ({'euro': 3.2}, [3.2, 3.4, 3.2])
    """

    def __init__(
        self,
        name: str,
        *,
        create: bool = False,
        partitions: int = 4,
        model: Any = None,
        serializer: str | Serializer = "json",
        fresh_within: timedelta | None = None,
        patience: timedelta = timedelta(seconds=60),
    ) -> None:
        self.name: str = checked_name(name)
        self._create = create
        self._partitions = partitions
        self._values = Values(name, find(serializer, model=model))
        self._fresh_within = fresh_within
        self._patience_s = patience.total_seconds()
        self._opening = threading.Lock()
        self._replica: Replica | None = None
        self._writing: Writing | None = None
        self._watchers: list[_Watcher] = []
        self._here = threading.local()
        _states.add(self)

    def __getitem__(self, key: str) -> Any:
        """The newest value. Raises KeyError for a key that has none."""
        value = self._newest(key)
        if value is None:
            raise KeyError(key)
        return self._values.decode(value)

    def get(self, key: str, default: Any = None, *, version: int | None = None, as_of: datetime | None = None) -> Any:
        """The newest value, `default` for a key that has none; or that of a version, or as of an instant (aware).

        The newest one is a look into the copy; the others read the log, which takes as long as the log is.
        Raises `VersionAbsent` for a version that the key has not had.
        """
        if version is None and as_of is None:
            value = self._newest(key)
            return default if value is None else self._values.decode(value)
        found = self._at(key, version=version, as_of=as_of)
        return default if found.deleted else found.value

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and self._newest(key) is not None

    def version(self, key: str) -> int:
        """The key's version now, 0 if it was never set. A deletion counts."""
        replica = self._open()
        replica.make_sure()
        row = replica.newest(key)
        return 0 if row is None else row.memory.version

    def keys(self, prefix: str = "") -> Iterator[str]:
        """The keys that have a value now and begin so, in no order."""
        replica = self._open()
        replica.make_sure()
        for key in replica.known():
            if key.startswith(prefix) and self._newest(key) is not None:
                yield key

    def items(self, prefix: str = "") -> Iterator[tuple[str, Any]]:
        """As `keys`, with the values; each value is the newest when it is given out."""
        replica = self._open()
        replica.make_sure()
        for key in replica.known():
            if key.startswith(prefix) and (value := self._newest(key)) is not None:
                yield key, self._values.decode(value)

    def set(self, key: str, value: Any, *, expect_version: int | None = None) -> int:
        """Set the key, and return the new version, which every reader will see.

        `expect_version`: only if the key has this version (0: if it was never set), else `StateConflict`, which says
        the current one. Within `pipelined`, returns 0 at once. Raises BadValue for a value that can't be written,
        `NotWritten` when Kafka does not answer in time, `StateFenced` when a later attempt of this run has taken over.
        """
        stored = self._values.encode(value)
        return self._append(key, Op.SET, value=stored, expect=expect_version)

    def __setitem__(self, key: str, value: Any) -> None:
        self.set(key, value)

    def update(self, key: str, change: Callable[[Any], Any]) -> Any:
        """Set the key to what `change` makes of its value (None: it has none), and return that.

        When somebody else was quicker, `change` is called again, with their value; so it should do nothing else.
        """
        replica = self._open()
        while True:
            replica.make_sure()
            row = replica.newest(key)
            before = None if row is None or row.value is None else self._values.decode(row.value)
            wanted = change(before)
            try:
                stored = self._values.encode(wanted)
                self._append(key, Op.SET, value=stored, expect=0 if row is None else row.memory.version, wait=True)
            except StateConflict:
                continue
            return wanted

    def delete(self, key: str, *, expect_version: int | None = None) -> int:
        """Delete the key: a version without a value, which can be restored from. Raises KeyError for one without."""
        if self._newest(key) is None:
            raise KeyError(key)
        return self._append(key, Op.DELETE, expect=expect_version)

    def __delitem__(self, key: str) -> None:
        self.delete(key)

    def history(self, key: str) -> list[Version]:
        """Every version of the key, oldest first. Reads the log, which takes as long as the log is."""
        replica = self._open()
        found = pasts(self._way, replica, key)
        return [made_version(m, number, at_ms, self._decoded(m.value)) for m, number, at_ms in found]

    def restore(self, key: str, version: int, *, expect_version: int | None = None) -> int:
        """Bring an old version back, as a new one, and return its number. Raises `VersionAbsent`."""
        replica = self._open()
        for mutation, number, _ in pasts(self._way, replica, key):
            if number == version:
                if replica.base is not None:
                    # The overlay's log has no such version to restore.
                    op = Op.DELETE if mutation.value is None else Op.SET
                    return self._append(key, op, value=mutation.value, expect=expect_version)
                return self._append(key, Op.RESTORE, value=mutation.value, expect=expect_version, restores=version)
        raise VersionAbsent(self.name, key, f"version {version}")

    def watch(self, prefix: str = "", *, timeout: float | None = None) -> Iterator[Version]:
        """Every version that is made from now on, in the order of each key.

        Ends when there is none for `timeout` seconds (default: never), or the script is asked to end (SIGTERM). Raises
        `StateError` when the loop is 10,000 versions behind.
        """
        watcher = _Watcher(prefix)
        self._open()
        self._watchers.append(watcher)
        return self._watched(watcher, timeout)

    @contextmanager
    def pipelined(self) -> Iterator[Self]:
        """Within this block writes of this thread don't wait; its end waits for all, and raises the first one's error.

        Writes of one key still follow each other: the second waits for the first.

        >>> import kirby
        >>> with kirby.State("counts", create=True) as counts, counts.pipelined():
        ...     for n in range(3):
        ...         _ = counts.set(f"key-{n}", n)
        """
        if self._pipeline() is not None:
            raise StateError(f"State {self.name!r} is in a pipelined block already")
        pipeline: list[Pending] = []
        self._here.pipeline = pipeline
        try:
            yield self
        finally:
            self._here.pipeline = None
            outcomes = [(pending, self._written().result(pending)) for pending in pipeline]
        for pending, outcome in outcomes:
            judged(self.name, pending.key, pending.expect, outcome)

    def close(self) -> None:
        """Stop reading. What was written has come back already; a later use begins anew."""
        with self._opening:
            replica, self._replica = self._replica, None
            writing, self._writing = self._writing, None
        if replica is not None:
            replica.close()
        if writing is not None:
            writing.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _newest(self, key: str) -> Value | None:
        replica = self._replica or self._open()
        if replica.problem is not None or self._fresh_within is not None:
            replica.make_sure()
        row = replica.rows.get(key)
        if row is None or isinstance(row, bytes):
            row = replica.newest(key)
        return None if row is None else row.value

    def _decoded(self, value: Value | None) -> Any:
        return None if value is None else self._values.decode(value)

    def _at(self, key: str, *, version: int | None, as_of: datetime | None) -> Version:
        if as_of is not None and as_of.tzinfo is None:
            raise ValueError("as_of= must be an aware datetime, for example datetime.now(UTC)")
        replica, found = self._open(), None
        upto_ms = None if as_of is None else as_of.timestamp() * 1000
        for mutation, number, at_ms in pasts(self._way, replica, key):
            if (version in (None, number)) and (upto_ms is None or at_ms <= upto_ms):
                found = (mutation, number, at_ms)
        if found is None:
            what = f"version {version}" if as_of is None else f"version as of {as_of.isoformat()}"
            raise VersionAbsent(self.name, key, what)
        return made_version(*found, self._decoded(found[0].value))

    def _append(
        self,
        key: str,
        op: Op,
        *,
        value: Value | None = None,
        expect: int | None = None,
        restores: int | None = None,
        wait: bool = False,
    ) -> int:
        encode_key(key)
        if transaction() is not None:
            raise InsideTransaction(self.name)
        held, writing = in_hand(), self._written()
        expect = expected(self._open(), key, expect)
        process().touched("state", self.name)
        inputs = (f"{held.topic} {held.place}",) if isinstance(held, Message) else ()
        rerun = isinstance(held, Message) and held.rerun
        pending = writing.append(key, op, value=value, expect=expect, restores=restores, inputs=inputs, rerun=rerun)
        pipeline = None if wait else self._pipeline()
        if pipeline is not None:
            pipeline.append(pending)
            return 0
        return judged(self.name, key, expect, writing.result(pending))

    def _pipeline(self) -> list[Pending] | None:
        return getattr(self._here, "pipeline", None)

    def _open(self) -> Replica:
        replica = self._replica
        if replica is not None:
            return replica
        with self._opening:
            if self._replica is None:
                self._way = transport.current()
                replica = self._made()
                replica.start()
                self._replica = replica
            return self._replica

    def _made(self) -> Replica:
        prefix, shadow = _kafka.prefix(), names.current()
        if shadow is None:
            self._make_sure_of(log_topic(self.name, prefix=prefix))
            return Replica(self.name, prefix=prefix, way=self._way, on_seen=self._seen, fresh_within=self._fresh_within)
        return overlay(
            self.name, shadow=shadow, prefix=prefix, way=self._way, create=self._create, partitions=self._partitions,
            on_seen=self._seen, fresh_within=self._fresh_within,
        )  # fmt: skip

    def _make_sure_of(self, topic: str) -> None:
        admin = self._way.admin()
        if admin.partitions(topic) is None:
            if not self._create:
                raise StateAbsent(self.name, topic)
            admin.create(topic, partitions=self._partitions, config=LOG_CONFIG)

    def _written(self) -> Writing:
        replica = self._open()
        if self._writing is None:
            with self._opening:
                if self._writing is None:
                    commands = commands_topic(self.name, prefix=_kafka.prefix())
                    owned = names.current() is None and self._way.admin().partitions(commands) is not None
                    self._writing = Writing(
                        replica, way=self._way, patience_s=self._patience_s, commands=commands if owned else None
                    )
        return self._writing

    def _seen(self, seen: Seen) -> None:
        """In the reading thread."""
        if self._writing is not None:
            self._writing.seen(seen)
        if seen.folded.applied:
            for watcher in self._watchers:
                watcher.offer(seen)

    def _watched(self, watcher: "_Watcher", timeout: float | None) -> Iterator[Version]:
        ends = None if timeout is None else time.monotonic() + timeout
        try:
            while not _drain.draining():
                seen = watcher.take(0.1 if ends is None else min(0.1, max(0.0, ends - time.monotonic())))
                if seen is not None:
                    m = seen.mutation
                    yield made_version(m, seen.folded.outcome.version, seen.at_ms, self._decoded(m.value))
                    ends = None if timeout is None else time.monotonic() + timeout
                elif ends is not None and time.monotonic() >= ends:
                    return
                else:
                    self._open().make_sure()
                    watcher.check(self.name)
        finally:
            self._watchers.remove(watcher)


class _Watcher:
    """What a loop over `watch` has not seen yet."""

    def __init__(self, prefix: str) -> None:
        self._prefix = prefix
        self._queue: queue.Queue[Seen] = queue.Queue(maxsize=_WATCHED)
        self._overrun = False

    def offer(self, seen: Seen) -> None:
        if self._overrun or not seen.mutation.key.startswith(self._prefix):
            return
        try:
            self._queue.put_nowait(seen)
        except queue.Full:
            self._overrun = True

    def take(self, timeout: float) -> Seen | None:
        try:
            return self._queue.get(timeout=timeout) if timeout > 0 else self._queue.get_nowait()
        except queue.Empty:
            return None

    def check(self, name: str) -> None:
        if self._overrun:
            raise StateError(f"The loop that watches State {name!r} is more than {_WATCHED} versions behind")


def _forget() -> None:
    """A forked child has no reading threads: it begins anew, as another writer."""
    for state in _states:
        state._replica = state._writing = None
        state._opening = threading.Lock()


def _close_all() -> None:
    """At exit: a thread inside the driver must not outlive the interpreter."""
    for state in list(_states):
        state.close()


_states: "weakref.WeakSet[State]" = weakref.WeakSet()
atexit.register(_close_all)
os.register_at_fork(after_in_child=_forget)
