"""`Topic.process`: handlers beside each other, commits that never pass a message that is not done."""

import multiprocessing
import pickle
import queue
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from kirby import _drain
from kirby._hand import hold, holding
from kirby._logging import tell
from kirby._outbox import flush
from kirby._progress import Lanes, Progress
from kirby._reader import Reader
from kirby.dead_letters import DeadLetters, put_aside
from kirby.errors import HeldBack, KirbyError
from kirby.message import Message
from kirby.transport import Record

if TYPE_CHECKING:
    from kirby.topic import Topic

_LIMIT_PER_WORKER = 100
_SLICE_S = 0.02
_REVOKE_S = 30.0
_TOGETHER = 500


@dataclass(slots=True)
class Work:
    """A record, its message (or why there is none), and how often its handler was called."""

    record: Record
    message: Message[Any] | None
    lane: tuple[int, bytes] | None
    attempt: int = 0


class Processing:
    """One call of `Topic.process`."""

    def __init__(
        self,
        topic: "Topic[Any]",
        handler: Callable[[Message[Any]], Any],
        *,
        threads: int,
        processes: int,
        then: Callable[[Message[Any], Any], None] | None,
        dead_letters: DeadLetters | None,
        every: float,
    ) -> None:
        self._topic = topic
        self._handler = handler
        self._then = then
        self._letters = dead_letters
        self._every = every
        self._workers = processes or threads
        self._in_processes = processes > 0
        self._due = time.monotonic() + every

    def run(self, timeout: float | None) -> None:
        """Until SIGTERM, or `timeout` seconds without a message."""
        reader = self._topic._reading()
        if self._letters is not None:
            self._letters.prepare(self._topic.name, self._topic._place.way)
        if self._workers > 1 or self._in_processes:
            with self._executor() as executor:
                _Parallel(self, reader, executor, limit=self._workers * _LIMIT_PER_WORKER).run(timeout)
        else:
            self._run_alone(reader, timeout)

    def _executor(self) -> Executor:
        if not self._in_processes:
            return ThreadPoolExecutor(self._workers, thread_name_prefix="kirby-handler")
        try:
            pickle.dumps(self._handler)
        except (pickle.PicklingError, AttributeError, TypeError):
            raise KirbyError("process(processes=…) needs a handler that is a function at the top of a module") from None
        # Not a fork: the threads of the Kafka client would not be there in the child.
        return ProcessPoolExecutor(self._workers, mp_context=multiprocessing.get_context("spawn"))

    def _run_alone(self, reader: Reader, timeout: float | None) -> None:
        reader.on_revoke = lambda _: self.commit(reader)
        wait = self._every if timeout is None else min(self._every, timeout)
        silent_since = time.monotonic()
        try:
            while True:
                records = reader.take_many(_TOGETHER, timeout=wait)
                if records:
                    self._work_on(records, reader)
                    silent_since = time.monotonic()
                elif _drain.asked or (timeout is not None and time.monotonic() - silent_since >= timeout):
                    break
                if self.is_due():
                    self.commit(reader)
        finally:
            reader.on_revoke = None
            hold(None)
            self.commit(reader)

    def _work_on(self, records: list[Record], reader: Reader) -> None:
        """One by one; what was not begun when an error or SIGTERM comes is put back."""
        decode, handler, then = self._topic._message, self._handler, self._then
        for number, record in enumerate(records):
            if _drain.asked:
                return reader.put_back(records[number:])
            try:
                message = decode(record)
                if message is not None:
                    hold(message)
                    result = handler(message)
                    if then is not None:
                        then(message, result)
            except HeldBack as held:
                tell_once(held)
            except Exception as error:
                try:
                    self._work_on_again(record, error)
                except BaseException:
                    reader.put_back(records[number:])
                    raise
            except BaseException:
                reader.put_back(records[number:])
                raise
        return None

    def _work_on_again(self, record: Record, error: Exception) -> None:
        """Try as often as the dead letters say, then put it aside. Raises what is no dead letter."""
        for attempt in range(1, self.attempts + 1):
            if not self.is_dead(error):
                raise error
            if attempt == self.attempts:
                return self.put_aside(record, error, attempt)
            try:
                message = self._topic._message(record)
                assert message is not None
                result = self._handler(message)
                if self._then is not None:
                    self._then(message, result)
                return
            except HeldBack as held:
                tell_once(held)
                return
            except Exception as again:
                error = again

    def work(self, record: Record) -> Work | None:
        """The work on a record; None for one that `skip_bad` skips. Raises what makes it a dead letter."""
        key = record.key()
        message = self._topic._message(record)
        return None if message is None else Work(record, message, (record.partition(), key) if key else None)

    def submit(self, work: Work, executor: Executor) -> "Future[Any]":
        work.attempt += 1
        assert work.message is not None
        return executor.submit(_call_there if self._in_processes else _call, self._handler, work.message)

    def finish(self, work: Work, result: Any) -> None:
        """What is left to do here once a handler has returned elsewhere."""
        if self._then is not None:
            assert work.message is not None
            with holding(work.message):
                self._then(work.message, result)

    @property
    def attempts(self) -> int:
        return self._letters.attempts if self._letters is not None else 1

    def is_dead(self, error: Exception) -> bool:
        return self._letters is not None and self._letters.takes(error)

    def put_aside(self, record: Record, error: Exception, attempt: int) -> None:
        assert self._letters is not None
        put_aside(record, error, letters=self._letters, attempt=attempt, route=self._topic._route)

    def is_due(self) -> bool:
        return time.monotonic() >= self._due

    def commit(self, reader: Reader, positions: dict[int, int] | None = None) -> None:
        """Raises NotDelivered, and commits nothing then."""
        flush()
        if reader.group is not None:
            reader.commit(positions)
        self._due = time.monotonic() + self._every


class _Parallel:
    """The loop around an executor. Everything but the handlers is done by the thread that reads."""

    def __init__(self, processing: Processing, reader: Reader, executor: Executor, *, limit: int) -> None:
        self._processing = processing
        self._reader = reader
        self._executor = executor
        self._limit = limit
        self._progress: dict[int, Progress] = {}
        self._lanes: Lanes[Work] = Lanes()
        self._done: queue.SimpleQueue[tuple[Work, Future[Any]]] = queue.SimpleQueue()
        self._running = 0
        self._waiting = 0
        self._paused = False
        self._failure: Exception | None = None

    def run(self, timeout: float | None) -> None:
        self._reader.on_revoke = self._on_revoke
        silent_since = time.monotonic()
        try:
            while self._failure is None and not _drain.asked:
                if self._admit():
                    silent_since = time.monotonic()
                elif self._running:
                    self._collect(_SLICE_S)
                elif timeout is not None and time.monotonic() - silent_since >= timeout:
                    break
                self._collect(0)
                if self._processing.is_due():
                    self._commit()
        finally:
            self._reader.on_revoke = None
            self._finish()
        if self._failure is not None:
            raise self._failure

    def _admit(self) -> int:
        """Take in what there is room for; gives how many."""
        room = self._limit - self._running - self._waiting
        self._pause_or_resume(room)
        if room <= 0:
            self._reader.serve()
            return 0
        records = self._reader.take_many(room, timeout=0 if self._running else _SLICE_S * 10)
        for record in records:
            self._progress.setdefault(record.partition(), Progress()).taken(record.offset())
            try:
                work = self._processing.work(record)
            except Exception as error:
                self._failed(Work(record, None, None, attempt=self._processing.attempts), error)
                continue
            if work is None:
                self._is_done(record)
            elif self._lanes.enter(work.lane, work):
                self._start(work)
            else:
                self._waiting += 1
        return len(records)

    def _pause_or_resume(self, room: int) -> None:
        if room <= 0 and not self._paused:
            self._reader.pause()
            self._paused = True
        elif self._paused and room > self._limit // 2:
            self._reader.resume()
            self._paused = False

    def _start(self, work: Work) -> None:
        self._running += 1
        self._processing.submit(work, self._executor).add_done_callback(lambda done: self._done.put((work, done)))

    def _collect(self, timeout: float) -> None:
        """Take in what handlers have done; waits up to `timeout` for the first."""
        while self._running:
            try:
                work, done = self._done.get(timeout=timeout) if timeout else self._done.get_nowait()
            except queue.Empty:
                return
            timeout = 0
            self._running -= 1
            self._conclude(work, done)

    def _conclude(self, work: Work, done: "Future[Any]") -> None:
        error = done.exception()
        try:
            if error is None:
                self._processing.finish(work, done.result())
        except Exception as raised:
            error = raised
        if isinstance(error, HeldBack):
            tell_once(error)
            error = None
        if error is None:
            self._is_done(work.record)
        elif not isinstance(error, Exception):
            raise error
        elif self._processing.is_dead(error) and work.attempt < self._processing.attempts:
            return self._start(work)
        else:
            self._failed(work, error)
        following = self._lanes.leave(work.lane) if work.lane is not None else None
        if following is not None:
            self._waiting -= 1
            if self._failure is None:
                self._start(following)

    def _failed(self, work: Work, error: Exception) -> None:
        if self._processing.is_dead(error):
            self._processing.put_aside(work.record, error, work.attempt)
            self._is_done(work.record)
        elif self._failure is None:
            self._failure = error

    def _is_done(self, record: Record) -> None:
        progress = self._progress.get(record.partition())
        if progress is not None:
            progress.done(record.offset())

    def _commit(self) -> None:
        positions = {n: p.position for n, p in self._progress.items()}
        self._processing.commit(self._reader, {n: offset for n, offset in positions.items() if offset is not None})

    def _on_revoke(self, partitions: Sequence[int]) -> None:
        """What runs is awaited, so that the next owner of a key does not overtake it; the rest is the next owner's."""
        self._forget_waiting(set(partitions))
        ends = time.monotonic() + _REVOKE_S
        while self._running and time.monotonic() < ends:
            self._collect(_SLICE_S)
        self._commit()
        for number in partitions:
            self._progress.pop(number, None)

    def _forget_waiting(self, partitions: set[int]) -> None:
        self._waiting -= self._lanes.drop(lambda work: work.record.partition() in partitions)

    def _finish(self) -> None:
        """Handlers that run are awaited; what waits behind them is not begun, and will be read again."""
        self._waiting -= self._lanes.drop(lambda _: True)
        while self._running:
            self._collect(_SLICE_S)
        hold(None)
        self._commit()


def tell_once(held: HeldBack) -> None:
    """Of what is held back the first is told; there may be one a message."""
    global _has_told
    if not _has_told:
        tell("WARNING", f"{held} (told once; the messages count as done)")
    _has_told = True


_has_told = False


def _call(handler: Callable[[Message[Any]], Any], message: Message[Any]) -> Any:
    with holding(message):
        return handler(message)


def _call_there(handler: Callable[[Message[Any]], Any], message: Message[Any]) -> Any:
    """In a process of the pool: what it sends must be delivered before the message counts as done."""
    with holding(message):
        result = handler(message)
        flush()
    return result
