"""The mutations that a process has under way: numbered, sent at once, and resolved when they come back folded."""

import os
import threading
import time
import uuid
from collections.abc import Callable
from functools import partial

from kirby.errors import KirbyError
from kirby.state._replica import Replica, Seen
from kirby.state.errors import NotWritten, OwnerAbsent, StateConflict, StateFenced, VersionAbsent
from kirby.state.records import COMMAND_MS, Mutation, Value, encode_key, encode_mutation
from kirby.state.rule import Op, Outcome, Verdict, Writer
from kirby.transport import BufferFull, Sender, Transport

_SLICE_S = 0.1
_OWNER_S = COMMAND_MS / 1000 + 5


class Pending:
    """A mutation that was sent and has not come back yet. `Writer.result` waits for it."""

    __slots__ = ("error", "expect", "key", "n", "outcome")

    def __init__(self, key: str, n: int, expect: int | None) -> None:
        self.key = key
        self.n = n
        self.expect = expect
        self.outcome: Outcome | None = None
        self.error: str | None = None

    @property
    def over(self) -> bool:
        return self.outcome is not None or self.error is not None


class Writing:
    """Appends to one State's log, with at most one mutation of a key under way.

    `commands`: the topic for it when the State is owned; its owner then appends to the log.
    """

    def __init__(self, replica: Replica, *, way: Transport, patience_s: float, commands: str | None = None) -> None:
        self._replica = replica
        self._topic = commands or replica.topic
        self._is_owned = commands is not None
        self._patience_s = min(patience_s, _OWNER_S) if commands else patience_s
        self._sender: Sender = way.sender(on_failure=lambda topic, reason: None, at_once=True)
        self.writer = this_writer()
        self.by = who()
        self.rerun = this_is_a_rerun()
        self._n = 0
        self._lock = threading.Lock()
        self._pending: dict[int, Pending] = {}
        self._busy: dict[str, Pending] = {}

    def append(
        self,
        key: str,
        op: Op,
        *,
        value: Value | None = None,
        expect: int | None = None,
        restores: int | None = None,
        inputs: tuple[str, ...] = (),
        rerun: bool = False,
        n: int | None = None,
    ) -> Pending:
        """Send a mutation, after an earlier one of the same key is over. Raises NotWritten, the State's problem.

        `n`: its number, higher than those before; for who names the writer, and says again what may be written already.
        """
        pending = self._numbered(key, expect, n)
        mutation = Mutation(
            key=key,
            op=op,
            writer=self.writer,
            n=pending.n,
            of=self._replica.partitions,
            by=self.by,
            value=value,
            expect=expect,
            restores=restores,
            rerun=rerun or self.rerun,
            inputs=inputs,
        )
        try:
            self._send(encode_mutation(mutation), encode_key(key), pending)
        except BaseException:
            self._forget(pending)
            raise
        return pending

    def result(self, pending: Pending) -> Outcome:
        """What became of it. Raises NotWritten when Kafka gave up, or did not answer in time; or OwnerAbsent."""
        if not self._until(lambda: pending.over):
            if self._is_owned:
                self._forget(pending)
                raise OwnerAbsent(self._replica.name, pending.key)
            raise NotWritten(self._replica.name, pending.key, f"it did not come back within {self._patience_s:g} s")
        if pending.outcome is None:
            raise NotWritten(self._replica.name, pending.key, pending.error or "")
        return pending.outcome

    def seen(self, seen: Seen) -> None:
        """Called by the reading thread with every mutation: resolves ours."""
        if seen.mutation.writer != self.writer:
            return
        pending = self._pending.get(seen.mutation.n)
        if pending is not None:
            pending.outcome = seen.folded.outcome
            self._forget(pending)

    def close(self) -> None:
        self._sender.close()

    def _numbered(self, key: str, expect: int | None, n: int | None) -> Pending:
        while True:
            with self._lock:
                busy = self._busy.get(key)
                if busy is None:
                    self._n = self._n + 1 if n is None else n
                    pending = self._busy[key] = self._pending[self._n] = Pending(key, self._n, expect)
                    return pending
            if not self._until(partial(_is_over, busy)):
                raise NotWritten(self._replica.name, key, "an earlier mutation of it is still on its way to Kafka")

    def _send(self, data: bytes, key: bytes, pending: Pending) -> None:
        def failed(_topic: str, reason: str) -> None:
            pending.error = reason
            self._forget(pending)
            with self._replica.changed:
                self._replica.changed.notify_all()

        ends = time.monotonic() + self._patience_s
        while True:
            try:
                self._sender.send(self._topic, data, key, [], 0, -1, failed)
            except BufferFull:
                if time.monotonic() > ends:
                    raise NotWritten(
                        self._replica.name, pending.key, "as much as may wait for Kafka is waiting"
                    ) from None
                self._sender.serve(_SLICE_S)
            else:
                self._sender.serve(0)
                return

    def _until(self, over: Callable[[], bool]) -> bool:
        """Waits for it, in slices, so that a signal is handled, and failures to deliver are heard of."""
        ends = time.monotonic() + self._patience_s
        while not over():
            self._sender.serve(0)
            left = ends - time.monotonic()
            if left <= 0:
                return False
            with self._replica.changed:
                self._replica.changed.wait_for(
                    lambda: over() or self._replica.problem is not None, timeout=min(left, _SLICE_S)
                )
            problem: KirbyError | None = self._replica.problem
            if problem is not None and not over():
                raise problem
        return True

    def _forget(self, pending: Pending) -> None:
        with self._lock:
            self._pending.pop(pending.n, None)
            if self._busy.get(pending.key) is pending:
                del self._busy[pending.key]


def _is_over(pending: Pending) -> bool:
    return pending.over


def this_writer() -> Writer:
    """A new writer of this process, of the attempt that it is."""
    run, grant = os.environ.get("KIRBY_RUN_ID", ""), os.environ.get("KIRBY_GRANT", "")
    return Writer(run, int(grant) if run and grant.isdigit() else 0, str(uuid.uuid4()))


def this_is_a_rerun() -> bool:
    return os.environ.get("KIRBY_RERUN", "") == "1"


def who() -> str:
    job, env = os.environ.get("KIRBY_JOB"), os.environ.get("KIRBY_ENV")
    return f"{job}@{env}" if job and env else os.environ.get("USER", "")


def judged(name: str, key: str, expect: int | None, outcome: Outcome) -> int:
    """The version that was made. Raises StateConflict, StateFenced, VersionAbsent."""
    if outcome.verdict is Verdict.CONFLICT:
        raise StateConflict(name, key, expected=expect, version=outcome.version)
    if outcome.verdict is Verdict.REJECTED:
        raise StateFenced(name, key)
    if outcome.verdict is Verdict.ABSENT:
        raise VersionAbsent(name, key, "such version")
    return outcome.version
