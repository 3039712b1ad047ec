"""Consume, produce and offsets in one transaction."""

import os
import time
import uuid
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from typing import Protocol, TypeVar

from kirby import _drain
from kirby._logging import tell
from kirby._outbox import Outbox
from kirby._reader import Reader
from kirby.errors import KafkaUnavailable, KirbyError, NotDelivered
from kirby.transport import Fenced, Headers, NotAMember, Position, TransientFailure, Transport

T = TypeVar("T")
_PATIENCE_S = 60.0
_SERVE_S = 0.05


class Party(Protocol):
    """What takes part in a reader's transactions besides its sends and its place: the tables of owned States.

    Called by the thread that reads: `prepare` between two transactions, before any message of these partitions is
    handed out; `serve` within one, often; then `closing` and, once Kafka has it, `committed`, or else `dropped`.
    """

    def prepare(self, partitions: Sequence[int]) -> None:
        """These are the reader's partitions now. Takes as long as it takes; raises what stands against it."""

    def serve(self, out: "Outbox") -> None:
        """Send what is due by itself into the transaction."""

    def closing(self, out: "Outbox") -> Sequence[Position]:
        """The transaction is about to be committed; gives the positions to commit along with the reader's."""

    def committed(self) -> None: ...

    def dropped(self) -> None:
        """The transaction was aborted: its messages come again."""

    def gone(self, partitions: Sequence[int]) -> None:
        """These are another's, from now on; what was done of them in this transaction will be dropped."""

    def close(self) -> None: ...


class Attached(Protocol):
    """What goes into each transaction besides what the script sends: open windows and timers."""

    def has_changes(self) -> bool: ...

    def write(self, out: Outbox) -> None:
        """Called before each commit: send what changed."""

    def forget(self) -> None:
        """The transaction was dropped: what changed since the last commit did not happen."""


class Transactions:
    """The transactions of one reader, one after the other. The thread that reads calls everything.

    Every commit sends the positions of all partitions that are ours, also of those where nothing was read: the
    coordinator compares the membership that comes with them, and so fences who is no longer the owner.
    """

    def __init__(self, reader: Reader, *, way: Transport, parties: Sequence[Party] = ()) -> None:
        if reader.group is None:
            raise KirbyError(f"exactly_once needs a group: pass group= to Topic({reader.topic!r}), or run under Kirby")
        self._reader = reader
        self._way = way
        self._out = _Sends(way, transactional_id=transactional_id(reader.group, reader.topic))
        self._parties = parties
        self._revoked = False
        self._came = bool(parties and reader.assigned)
        self._deadline = 0.0
        self.open = False
        self.attached: Attached | None = None
        reader.on_revoke = self._on_revoke
        if parties:
            reader.on_come = self._on_come

    def next(self, take: Callable[[float | None], T | None], *, every: float, timeout: float | None) -> T | None:
        """The next message, in a transaction; commits the one before when its time has come. None at the end, which
        is also where a successor has this one's slot."""
        try:
            message = self._next(take, every=every, timeout=timeout)
        except Fenced:
            _drain.replaced(str(self._reader.group))
            self.open, message = False, None
        # Each time, for two loops may take turns.
        _current.set(self._out if message is not None else None)
        return message

    def _next(self, take: Callable[[float | None], T | None], *, every: float, timeout: float | None) -> T | None:
        ends = None if timeout is None else time.monotonic() + timeout
        while True:
            if self.open and time.monotonic() >= self._deadline:
                self.commit()
            if not self.open:
                self.begin(every=every)
            wait = self._deadline - time.monotonic() if self._is_worth_a_commit() else None
            if self._parties:
                wait = _SERVE_S if wait is None else min(wait, _SERVE_S)
            left = None if ends is None else ends - time.monotonic()
            message = take(_least(wait, left))
            if self._undo():
                continue
            if message is not None:
                return message
            self._serve()
            over = _drain.asked or (ends is not None and time.monotonic() >= ends)
            if over and (self.commit() or _drain.asked):
                return None

    def begin(self, *, every: float) -> None:
        """Begin one, and have what is sent from here on go into it."""
        self._prepare()
        self._persist(self._out.sender.begin)
        self._revoked = False
        self._out.some = False
        self._reader.mark()
        self._deadline = time.monotonic() + every
        self.open = True
        _current.set(self._out)
        self._serve()

    def _prepare(self) -> None:
        """Not within a transaction: the broker would end it after 10 s."""
        while self._came:
            self._came = False
            for party in self._parties:
                party.prepare(sorted(self._reader.assigned))

    def _serve(self) -> None:
        for party in self._parties:
            party.serve(self._out)

    def commit(self) -> bool:
        """Commit what was read and sent since `begin`; False when it was dropped instead, and all is read again.

        Raises Fenced, and KafkaUnavailable when no broker answers for a minute.
        """
        if self._undo():
            return False
        if not self.open or not self._is_worth_a_commit():
            return True
        reader = self._reader
        try:
            if self.attached is not None:
                self.attached.write(self._out)
            positions = reader.commits(reader.next_offsets())
            for party in self._parties:
                positions += party.closing(self._out)
            self._persist(lambda: self._out.sender.add_offsets(positions, reader.receiver))
            self._persist(self._out.sender.commit)
            self._out.check()
        except (NotAMember, NotDelivered) as error:
            tell("WARNING", f"a transaction of {reader.group} was dropped and is done again: {error}")
            self.abort()
            return False
        self.open = False
        for party in self._parties:
            party.committed()
        return True

    def _is_worth_a_commit(self) -> bool:
        if self._out.some or self._reader.moved:
            return True
        return self.attached is not None and self.attached.has_changes()

    def abort(self) -> None:
        """Drop what was sent, and read again what was read since `begin`."""
        self._persist(self._out.sender.abort)
        self._out.forget_failures()
        self.open = False
        for party in self._parties:
            party.dropped()
        self._reader.back_to_mark()
        if self.attached is not None:
            self.attached.forget()

    def close(self) -> None:
        """Abort what is open: its messages come again."""
        _current.set(None)
        try:
            if self.open:
                self._persist(self._out.sender.abort)
        except (Fenced, KafkaUnavailable) as error:
            tell("WARNING", f"a transaction was left to its timeout: {error}")
        finally:
            self.open = False
            self._out.sender.close()
            for party in self._parties:
                party.close()

    def _undo(self) -> bool:
        """Whether partitions went since `begin`, or came that a party must prepare for: then it is aborted."""
        if self.open and (self._revoked or self._came):
            self.abort()
            return True
        return False

    def _on_revoke(self, partitions: Sequence[int]) -> None:
        self._revoked = True
        for party in self._parties:
            party.gone(partitions)

    def _on_come(self, partitions: Sequence[int]) -> None:
        self._came = True

    def _persist(self, step: Callable[[], object]) -> None:
        ends = time.monotonic() + _PATIENCE_S
        while True:
            try:
                step()
                return
            except TransientFailure as error:
                if time.monotonic() >= ends:
                    raise KafkaUnavailable(self._way.servers, f"a transaction: {error}") from error
                time.sleep(0.2)


class _Sends(Outbox):
    """The sends of a transaction; `some` says whether there were any."""

    some = False

    def send(
        self,
        topic: str,
        value: bytes | None,
        key: bytes | None,
        headers: Headers,
        at_ms: int,
    ) -> None:
        self.some = True
        super().send(topic, value, key, headers, at_ms)


_current: ContextVar[Outbox | None] = ContextVar("kirby_transaction", default=None)
transaction = _current.get
"""The outbox of the transaction that is under way here, or None."""


def transactional_id(group: str, topic: str) -> str:
    """Group and replica slot, so that who comes back fences who was there; one of its own where there are no slots."""
    slot = os.environ.get("KIRBY_SLOT") or uuid.uuid4().hex
    return f"{group}.{slot}.{topic}"


def _least(*times: float | None) -> float | None:
    some = [max(0.0, t) for t in times if t is not None]
    return min(some) if some else None
