"""The script API for asyncio: the same names, awaited.

    async with kirby.aio.Topic("weather.raw") as raw, kirby.aio.Topic("weather.daily") as daily:
        async for message in raw:
            await daily.send(summary(message.value), key=message.key)
            await raw.commit()

The client's work is done in threads; what is in hand belongs to the task that read it.
"""

import asyncio
import contextvars
import functools
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import PurePath
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar, overload

import kirby
from kirby import _drain, _outbox
from kirby._context import ctx
from kirby._effects import Rerun
from kirby._hand import hold, holding
from kirby._logging import logger
from kirby._processing import tell_once
from kirby._progress import Lanes, Progress
from kirby._secret import secret as _secret
from kirby.dead_letters import DeadLetters, put_aside
from kirby.errors import BadMessage, HeldBack
from kirby.message import Message, Several
from kirby.registration import Kirby
from kirby.transport import Record
from kirby.webclient import Answer

if TYPE_CHECKING:
    from typing_extensions import TypeVar as TypeVarWithDefault

    V = TypeVarWithDefault("V", default=Any)
else:
    V = TypeVar("V")
T = TypeVar("T")

__all__ = ["File", "Kirby", "Topic", "WebClient", "ctx", "logger", "secret"]

_AHEAD = 500
_MUCH_WAITING = 50_000


class Topic(Generic[V]):
    """As `kirby.Topic`, with the same arguments, for asyncio.

    >>> async def main() -> list[object]:
    ...     async with Topic("readings", group="docs-aio", create=True, partitions=1) as readings:
    ...         await readings.send({"celsius": 11.4})
    ...         return [message.value async for message in readings.iterate(timeout=1)]
    >>> asyncio.run(main())[-1:]
    [{'celsius': 11.4}]
    """

    def __init__(self, name: str, *, model: type[V] | None = None, **more: Any) -> None:
        self._sync: kirby.Topic[V] = kirby.Topic(name, model=model, **more)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="kirby-topic")
        self._ready: deque[Record] = deque()
        self._positions: dict[int, int] = {}
        self._on_gone: Callable[[Sequence[int]], None] | None = None
        self.name: str = self._sync.name
        self.group: str | None = self._sync.group

    async def send(
        self,
        value: Any,
        *,
        key: str | bytes | None = None,
        headers: Mapping[str, str | bytes] | None = None,
        submitted: datetime | None = None,
        source: Message[Any] | Sequence[Message[Any]] | None = None,
    ) -> None:
        """As `kirby.Topic.send`; waits, without blocking the loop, while the buffer is full."""
        sending = functools.partial(
            self._sync.send, value, key=key, headers=headers, submitted=submitted, source=source
        )
        if self._sync._known and submitted is None and _outbox.outbox().sender.waiting() < _MUCH_WAITING:
            sending()
        else:
            await self._in_thread(sending)

    async def flush(self, timeout: float | None = None) -> None:
        """Wait until everything sent so far is delivered, at most `timeout` seconds."""
        await asyncio.to_thread(self._sync.flush, timeout)

    async def next(self, timeout: float | None = None) -> Message[V] | None:
        """The next message, or None after `timeout` seconds or once the script was asked to end."""
        message = await self._next(timeout)
        hold(message)
        return message

    async def nexts(self, max_records: int = 500, timeout: float | None = None) -> list[Message[V]]:
        """Up to `max_records` messages, in hand together; waits up to `timeout` seconds for the first."""
        first = await self._next(timeout)
        if first is None:
            hold(None)
            return []
        batch = [first]
        while len(batch) < max_records and (self._ready or await self._fill(0)):
            message = self._given()
            if message is not None:
                batch.append(message)
        hold(Several(batch))
        return batch

    def iterate(self, timeout: float | None = None) -> AsyncIterator[Message[V]]:
        """Messages one by one, until there is none for `timeout` seconds or the script was asked to end."""
        return _Messages(self, timeout)

    def __aiter__(self) -> AsyncIterator[Message[V]]:
        return self.iterate()

    async def commit(self) -> None:
        """Remember that everything read so far is done, once everything sent is delivered."""
        done = dict(self._positions)
        await self._in_thread(functools.partial(self._commit, done))

    async def process(
        self,
        handler: Callable[[Message[V]], Awaitable[Any]],
        *,
        concurrency: int = 100,
        dead_letters: DeadLetters | None = None,
        every: float = 1.0,
        timeout: float | None = None,
    ) -> None:
        """As `kirby.Topic.process`, with up to `concurrency` handlers at work; those of one key keep their order."""
        await _Concurrent(self, handler, concurrency, dead_letters, every).run(timeout)

    async def close(self) -> None:
        """Deliver what was sent and leave the group."""
        hold(None)
        try:
            await self._in_thread(self._sync.close)
        finally:
            self._thread.shutdown(wait=False)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _next(self, timeout: float | None) -> Message[V] | None:
        while self._ready or await self._fill(timeout):
            message = self._given()
            if message is not None:
                return message
        return None

    async def _fill(self, timeout: float | None) -> bool:
        _drain.watch()
        self._ready.extend(await self._in_thread(functools.partial(self._take, timeout)))
        return bool(self._ready)

    def _take(self, timeout: float | None) -> list[Record]:
        reader = self._sync._reading()
        reader.on_revoke = self._on_revoke
        return reader.take_many(_AHEAD, timeout=timeout)

    def _given(self) -> Message[V] | None:
        if _drain.asked:
            self._ready.clear()
            return None
        record = self._ready.popleft()
        self._positions[record.partition()] = record.offset() + 1
        return self._sync._message(record)

    def _on_revoke(self, partitions: Sequence[int]) -> None:
        """Called in the reading thread, while nothing is ready: only then is more read."""
        if self._on_gone is not None:
            self._on_gone(partitions)
        for number in partitions:
            self._positions.pop(number, None)

    def _commit(self, positions: Mapping[int, int]) -> None:
        _outbox.flush()
        self._sync._reading().commit(positions)

    async def _in_thread(self, call: Callable[[], T]) -> T:
        """One thread for all that reads, in the context of the task: what is in hand there is in hand here."""
        context = contextvars.copy_context()
        return await asyncio.get_running_loop().run_in_executor(self._thread, context.run, call)


class _Messages(AsyncIterator[Message[V]]):
    def __init__(self, topic: Topic[V], timeout: float | None) -> None:
        self._topic = topic
        self._timeout = timeout

    async def __anext__(self) -> Message[V]:
        message = await self._topic.next(self._timeout)
        if message is None:
            raise StopAsyncIteration
        return message


class _Concurrent:
    """One call of `process`: tasks beside each other, commits that never pass a message that is not done."""

    def __init__(
        self,
        topic: Topic[Any],
        handler: Callable[[Message[Any]], Awaitable[Any]],
        concurrency: int,
        letters: DeadLetters | None,
        every: float,
    ) -> None:
        self._topic = topic
        self._handler = handler
        self._room = asyncio.Semaphore(concurrency)
        self._letters = letters
        self._every = every
        self._progress: dict[int, Progress] = {}
        self._lanes: Lanes[Record] = Lanes()
        self._tasks: set[asyncio.Task[None]] = set()
        self._failure: Exception | None = None

    async def run(self, timeout: float | None) -> None:
        if self._letters is not None:
            await asyncio.to_thread(self._letters.prepare, self._topic.name, self._topic._sync._place.way)
        loop = asyncio.get_running_loop()
        due = loop.time() + self._every
        wait = self._every if timeout is None else min(timeout, self._every)
        quiet_since = loop.time()
        self._topic._on_gone = self._let_go
        try:
            while self._failure is None and not _drain.asked:
                if self._topic._ready or await self._topic._fill(wait):
                    await self._room.acquire()
                    self._admit(self._topic._ready.popleft())
                    quiet_since = loop.time()
                elif not self._tasks and timeout is not None and loop.time() - quiet_since >= timeout:
                    break
                if loop.time() >= due:
                    await self._commit()
                    due = loop.time() + self._every
        finally:
            self._topic._on_gone = None
            self._lanes.drop(lambda _: True)
            while self._tasks:
                await asyncio.wait(self._tasks)
            await self._commit()
        if self._failure is not None:
            raise self._failure

    def _admit(self, record: Record) -> None:
        self._progress.setdefault(record.partition(), Progress()).taken(record.offset())
        if self._lanes.enter(self._lane(record), record):
            self._start(record)

    def _start(self, record: Record) -> None:
        task = asyncio.create_task(self._work_on(record))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _work_on(self, record: Record) -> None:
        error = await self._tries(record)
        self._room.release()
        if error is None:
            progress = self._progress.get(record.partition())
            if progress is not None:
                progress.done(record.offset())
        elif self._failure is None:
            self._failure = error
        lane = self._lane(record)
        following = self._lanes.leave(lane) if lane is not None else None
        if following is not None and self._failure is None:
            self._start(following)

    async def _tries(self, record: Record) -> Exception | None:
        """None once it is done, or put aside."""
        attempts = self._letters.attempts if self._letters is not None else 1
        for attempt in range(1, attempts + 1):
            try:
                message = self._topic._sync._message(record)
                if message is not None:
                    with holding(message):
                        await self._handler(message)
                return None
            except HeldBack as held:
                tell_once(held)
                return None
            except Exception as error:
                if self._letters is None or not self._letters.takes(error):
                    return error
                if attempt == attempts or isinstance(error, BadMessage):
                    route = self._topic._sync._route
                    put_aside(record, error, letters=self._letters, attempt=attempt, route=route)
                    return None
        return None

    def _lane(self, record: Record) -> tuple[int, bytes] | None:
        key = record.key()
        return (record.partition(), key) if key else None

    async def _commit(self) -> None:
        await self._topic._in_thread(functools.partial(self._topic._commit, self._done()))

    def _done(self) -> dict[int, int]:
        positions = {n: p.position for n, p in list(self._progress.items())}
        return {n: offset for n, offset in positions.items() if offset is not None}

    def _let_go(self, partitions: Sequence[int]) -> None:
        """In the reading thread: what is done is committed while that is still ours to do."""
        self._topic._commit(self._done())
        for number in partitions:
            self._progress.pop(number, None)


class WebClient:
    """As `kirby.WebClient`, awaited.

    >>> from kirby.webclient import answering
    >>> async def main() -> object:
    ...     async with WebClient("met", "https://met.test") as met:
    ...         return await met.get("stations")
    >>> with answering(lambda request: Answer(200, b'["KSEA"]')):
    ...     asyncio.run(main())
    ['KSEA']
    """

    def __init__(self, name: str, base_url: str, **more: Any) -> None:
        self._sync = kirby.WebClient(name, base_url, **more)

    async def get(self, path: str = "", **more: Any) -> Any:
        """Ask for something."""
        return await asyncio.to_thread(self._sync.get, path, **more)

    async def post(self, path: str = "", json: Any = None, **more: Any) -> Any:
        """Send something new."""
        return await asyncio.to_thread(self._sync.post, path, json, **more)

    async def put(self, path: str = "", json: Any = None, **more: Any) -> Any:
        """Put something in its place."""
        return await asyncio.to_thread(self._sync.put, path, json, **more)

    async def patch(self, path: str = "", json: Any = None, **more: Any) -> Any:
        """Change a part of something."""
        return await asyncio.to_thread(self._sync.patch, path, json, **more)

    async def delete(self, path: str = "", **more: Any) -> Any:
        """Delete something."""
        return await asyncio.to_thread(self._sync.delete, path, **more)

    async def request(self, method: str, path: str = "", **more: Any) -> Answer:
        """One call; see `kirby.WebClient.request`."""
        return await asyncio.to_thread(self._sync.request, method, path, **more)

    async def close(self) -> None:
        """Close its connections."""
        self._sync.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


class File:
    """As `kirby.File`, awaited.

    >>> import tempfile
    >>> async def main() -> str:
    ...     await File(tempfile.gettempdir() + "/kirby-example.txt").write("here")
    ...     return await File(tempfile.gettempdir() + "/kirby-example.txt").read_text()
    >>> asyncio.run(main())
    'here'
    """

    def __init__(self, uri: str | PurePath) -> None:
        self._sync = kirby.File(uri)
        self.uri: str = self._sync.uri

    async def read(self) -> bytes:
        """The content."""
        return await asyncio.to_thread(self._sync.read)

    async def read_text(self, encoding: str = "utf-8") -> str:
        """The content as text."""
        return await asyncio.to_thread(self._sync.read_text, encoding)

    async def read_json(self) -> Any:
        """The content, parsed."""
        return await asyncio.to_thread(self._sync.read_json)

    async def write(self, content: bytes | str, *, rerun: Rerun | None = None) -> None:
        """Replace the content as a whole; see `kirby.File.write`."""
        await asyncio.to_thread(self._sync.write, content, rerun=rerun)

    async def exists(self) -> bool:
        """Whether the file is there."""
        return await asyncio.to_thread(self._sync.exists)

    async def delete(self, *, rerun: Rerun | None = None) -> None:
        """Delete it; no error when it is not there."""
        await asyncio.to_thread(self._sync.delete, rerun=rerun)

    async def watch(
        self, pattern: str = "*", *, every: float = 5.0, timeout: float | None = None
    ) -> AsyncIterator[kirby.File]:
        """New and changed files of this folder; see `kirby.File.watch`. What it gives are `kirby.File`s."""
        found = self._sync.watch(pattern, every=every, timeout=timeout)
        while (file := await asyncio.to_thread(next, found, None)) is not None:
            yield file


@overload
async def secret(path: str, field: str) -> str: ...
@overload
async def secret(path: str, field: None = None) -> dict[str, Any]: ...
async def secret(path: str, field: str | None = None) -> str | dict[str, Any]:
    """As `kirby.secret`, awaited."""
    return await asyncio.to_thread(_secret, path, field)
