"""`Topic.process_batches`: lists of messages, and what becomes of a list that its handler raises for.

With dead letters a list that failed is handed out again message by message, which shows whose fault it was: that one
is put aside, and the others are done. At least once, the list is put back; exactly once, its transaction is dropped.
"""

import time
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from kirby import _drain
from kirby._hand import hold
from kirby._outbox import flush
from kirby._processing import tell_once
from kirby._reader import Reader
from kirby._transactions import transaction
from kirby.dead_letters import DeadLetters, put_aside
from kirby.errors import BadMessage, HeldBack
from kirby.message import Message, Several
from kirby.transport import Record

if TYPE_CHECKING:
    from kirby.topic import Topic

Batch = list[Message[Any]]
Place = tuple[int, int]
"""Partition and offset."""


class Batches:
    """One call of `Topic.process_batches`."""

    def __init__(
        self,
        topic: "Topic[Any]",
        handler: Callable[[Batch], Any],
        *,
        max_records: int,
        dead_letters: DeadLetters | None,
        every: float,
    ) -> None:
        self._topic = topic
        self._handler = handler
        self._max_records = max_records
        self._letters = dead_letters
        self._every = every
        self._reader = topic._reading()
        self._doubtful: set[Place] = set()
        """Of the batch that failed last: handed out one by one."""
        self._tried: Counter[Place] = Counter()
        self._given_up: dict[Place, Exception] = {}
        if dead_letters is not None:
            dead_letters.prepare(topic.name, topic._place.way)

    def run_at_least_once(self, timeout: float | None) -> None:
        """Until SIGTERM, or `timeout` seconds without a message."""
        reader = self._reader
        wait = self._every if timeout is None else min(self._every, timeout)
        due, silent_since = time.monotonic() + self._every, time.monotonic()
        reader.on_revoke = lambda _: _commit(reader)
        try:
            while True:
                batch = self._take(wait)
                now = time.monotonic()
                if batch is not None:
                    silent_since = now
                    self._work_on(batch)
                elif _drain.asked or (timeout is not None and now - silent_since >= timeout):
                    break
                if now >= due:
                    _commit(reader)
                    due = time.monotonic() + self._every
        finally:
            reader.on_revoke = None
            hold(None)
            _commit(reader)

    def _work_on(self, batch: Batch) -> None:
        """A batch whose handler raised is put back: it comes again, here or after a restart."""
        if self._is_put_aside(batch):
            return self._forget(batch)
        records = [message._record for message in batch]
        try:
            self._call(batch)
        except HeldBack as held:
            if self._came_apart(batch, held):
                self._reader.put_back(records)
        except Exception as error:
            self._reader.put_back(records)
            self._doubt(batch, error)
        except BaseException:
            self._reader.put_back(records)
            raise
        return None

    def run_exactly_once(self, timeout: float | None) -> None:
        """As `run_at_least_once`; also until a successor has this process's slot."""
        transactions = self._topic._begin_transactions()
        while (batch := transactions.next(self._take, every=self._every, timeout=timeout)) is not None:
            if self._is_put_aside(batch):
                # So that the next one that fails does not take this one with it.
                if transactions.commit():
                    self._forget(batch)
                continue
            try:
                self._call(batch)
            except HeldBack as held:
                if self._came_apart(batch, held):
                    transactions.abort()
            except Exception as error:
                self._doubt(batch, error)
                transactions.abort()

    def _take(self, wait: float | None) -> Batch | None:
        """The next messages, in hand; an empty list when there is nothing to do with any of those that came."""
        records = self._reader.take_many(self._max_records, timeout=wait)
        if not records:
            hold(None)
            return None
        batch = self._topic._batch(records, self._reader, aside=self._put_aside_unread)
        if self._doubtful or self._given_up:
            batch = self._cut(batch)
        hold(Several(batch) if batch else None)
        return batch

    def _cut(self, batch: Batch) -> Batch:
        """Up to the first one that is to be alone; that one alone when it is the first."""
        alone = (n for n, m in enumerate(batch) if _place(m) in self._doubtful or _place(m) in self._given_up)
        first = next(alone, None)
        if first is None:
            return batch
        end = max(first, 1)
        self._reader.put_back([message._record for message in batch[end:]])
        return batch[:end]

    def _call(self, batch: Batch) -> None:
        if batch:
            self._handler(batch)
        if len(batch) == 1 and self._doubtful:
            self._doubtful.discard(_place(batch[0]))

    def _doubt(self, batch: Batch, error: Exception) -> None:
        """Have its messages come one by one; one that was alone has been tried once more. Raises what is no message's
        fault."""
        if self._letters is None or not self._letters.takes(error):
            raise error
        if len(batch) > 1:
            self._doubtful = {_place(message) for message in batch}
            return
        place = _place(batch[0])
        self._tried[place] += 1
        if self._tried[place] < self._letters.attempts:
            # It comes alone again, also when it was a batch of one by chance.
            self._doubtful.add(place)
        else:
            self._given_up[place] = error

    def _is_put_aside(self, batch: Batch) -> bool:
        """Whether it is one that was given up: then it goes to the dead letters instead of the handler."""
        error = self._given_up.get(_place(batch[0])) if batch else None
        if error is None:
            return False
        self._put_aside(batch[0]._record, error, attempt=self._tried[_place(batch[0])])
        return True

    def _forget(self, batch: Batch) -> None:
        place = _place(batch[0])
        self._given_up.pop(place, None)
        self._tried.pop(place, None)
        self._doubtful.discard(place)

    def _put_aside_unread(self, record: Record, error: BadMessage) -> bool:
        """Whether it was put aside: what can't be read is tried once."""
        if self._letters is None or not self._letters.takes(error):
            return False
        self._put_aside(record, error, attempt=1)
        return True

    def _put_aside(self, record: Record, error: Exception, *, attempt: int) -> None:
        assert self._letters is not None
        put_aside(record, error, letters=self._letters, attempt=attempt, route=self._topic._route, out=transaction())

    def _came_apart(self, batch: Batch, held: HeldBack) -> bool:
        """Whether live messages were in the batch: then all are read again, and from here on apart from those of a
        re-run."""
        topic = self._topic
        if topic._apart or all(message.rerun for message in batch):
            tell_once(held)
            return False
        topic._apart = True
        return True


def _place(message: Message[Any]) -> Place:
    return message.partition, message.offset


def _commit(reader: Reader) -> None:
    flush()
    if reader.group is not None:
        reader.commit()
