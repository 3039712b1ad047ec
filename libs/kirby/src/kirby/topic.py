"""Topics: messages in and out."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Literal, Self

from kirby import _places, _process, _processing, _sending
from kirby._drain import Drained, draining
from kirby._hand import InHand, hold
from kirby._logging import tell
from kirby._outbox import flush, outbox
from kirby._process import Route, is_from_rerun
from kirby._reader import Reader
from kirby._serializers import CONTENT_TYPE, Serializer, find, why
from kirby._touches import MOST
from kirby._transactions import Party, Transactions, transaction
from kirby.dead_letters import DeadLetters
from kirby.errors import BadMessage, BadValue, KirbyError, TopicAbsent
from kirby.message import Message, Several
from kirby.timers import Timer, Timers
from kirby.transport import Headers, Record, Start
from kirby.windows import Spans

if TYPE_CHECKING:
    from typing_extensions import TypeVar

    from kirby._windowing import Windows

    V = TypeVar("V", default=Any)
else:
    from typing import TypeVar

    V = TypeVar("V")

T = TypeVar("T")
_LETTERS = DeadLetters()
_FIRST_CONTACT_S = 15.0
_KEPT_FOR_EVER = {"retention.ms": "-1"}


class Topic(Generic[V]):
    """One topic, to send to and to read from.

    The environment's prefix (`KIRBY_TOPIC_PREFIX`) is put before the name, so `test` never touches what `prod` reads.

    `group`: the consumer group whose members share the messages and whose commits are remembered; default the job's
    (`KIRBY_GROUP`, else `job@env`). Outside Kirby and without one, all messages are read, and none can be committed.
    `key`: the name of the field whose value is the key, or a function of the value; `send(key=…)` overrides it.
    `model`: a pydantic model (or anything pydantic can check): values are checked both ways, and read as its instances.
    `serializer`: `json`, `msgpack`, `arrow`, `bytes`, or a `Serializer`; not together with `model`.
    `create`: create the topic when it is absent, with `partitions` and unlimited retention; else `TopicAbsent`.
    `start`: where a group without a commit begins. `env`: read the topic of another environment.
    `skip_bad`: tell of a message that can't be read on stderr and go on, instead of raising `BadMessage`.
    `rerun`: of messages that a re-run made, `accept` all, `skip` them, or give `only` them. What the group reads again
    because it is rewound itself is not meant.

    Connects when first used; raises `KafkaUnavailable` when no broker answers within 15 s. Not to be shared by
    threads for reading; sending may be. As a context manager it closes itself.

        with kirby.Topic("weather.raw") as raw, kirby.Topic("weather.daily") as daily:
            for message in raw:
                daily.send({"city": message.key, **summary(message.value)}, key=message.key)
                raw.commit()

    >>> Topic("weather.raw").name
    'weather.raw'
    """

    def __init__(
        self,
        name: str,
        *,
        group: str | None = None,
        key: str | Callable[[Any], str | bytes | None] | None = None,
        model: type[V] | None = None,
        serializer: str | Serializer = "json",
        create: bool = False,
        partitions: int = 4,
        start: Literal["earliest", "latest"] = "earliest",
        env: str | None = None,
        skip_bad: bool = False,
        rerun: Literal["accept", "skip", "only"] = "accept",
    ) -> None:
        if rerun not in ("accept", "skip", "only"):
            raise KirbyError(f'Topic({name!r}): rerun= is "accept", "skip" or "only", not {rerun!r}')
        self._rerun = rerun
        self._apart = False
        self._place = _places.locate(name, env=env)
        self.name: str = self._place.name
        self.base_name: str = name
        self._written = self.name if self._place.origin else _places.written(self.name)
        self.group: str | None = _places.group_name(group)
        self._serializer = find(serializer, model=model)
        self._encode = self._serializer.encode
        self._decode = self._serializer.decode
        self._content_type = _sending.content_type(self._serializer.content_type)
        self._key = key
        self._create = create
        self._partitions = partitions
        self._start: Start = start
        self._skip_bad = skip_bad
        self._route = Route(self.name, self._place.origin)
        self._known = False
        self._dates: _sending.Dates | None = None
        self._reader: Reader | None = None
        self._transactions: Transactions | None = None
        self._parties: list[Party] = []
        self._rolled_back = False

    def send(
        self,
        value: Any,
        *,
        key: str | bytes | None = None,
        headers: Mapping[str, str | bytes] | None = None,
        submitted: datetime | None = None,
        source: Message[Any] | Sequence[Message[Any]] | None = None,
    ) -> None:
        """Hand over one message; it is delivered in the background, in order, without duplicates.

        `value`: by default anything JSON can hold, besides dataclasses, datetimes, UUIDs, pydantic models and numpy
        arrays; NaN becomes null. bytes go as they are, and None is a deletion mark. `submitted`: the message's time
        (aware; now). `source`: the message or messages that it is made from, when that is not the one just read.
        The header `kirby` says where the message comes from and is always the runtime's own.

        Blocks while 64 MB wait for Kafka. Raises `BadValue` for a value, key or headers that can't be sent,
        `OutsideRetention`, and `NotDelivered` when an *earlier* message did not reach Kafka within 5 minutes
        (`KIRBY_DELIVERY_TIMEOUT`, seconds); `flush`, `commit` and `close` wait for all of them.

        >>> import kirby
        >>> with kirby.Topic("readings", create=True) as readings:
        ...     readings.send({"celsius": 11.4}, key="Seattle")
        """
        if not self._known:
            self._make_sure(sending=True)
        if key is None and self._key is not None:
            key = self._key_of(value)
        if type(key) is not bytes:
            key = _sending.key_bytes(key, topic=self.name)
        data = None
        if value is not None:
            try:
                data = self._encode(value)
            except Exception as error:
                raise BadValue(self.name, f"{self._serializer.content_type}: {why(error)}") from error
        made_from = None if source is None else _held(source)
        header = _sending.onward(made_from)
        own: Headers = [("kirby", header), self._content_type]
        if _sending.tracing:
            own.append(_sending.traceparent(header))
        if headers:
            own = _sending.with_own(headers, own, topic=self.name)
        at_ms = 0 if submitted is None else self._checked_ms(submitted)
        # Before the message has its time: what is summed up must not begin after it.
        sent = (_process.known or _process.process()).sent
        queue = sent.get(self.name) or _process.process().sending(self.name)
        (transaction() or outbox()).send(self._written, data, key, own, at_ms)
        queue.append(header)
        if len(queue) >= MOST:
            _process.tell_touches()
        if at_ms:
            _process.process().dated(self.name, at_ms)

    def flush(self, timeout: float | None = None) -> None:
        """Wait until every message sent so far, to any topic, is delivered.

        Raises `NotDelivered` for what failed, `KafkaUnavailable` after `timeout` seconds.
        """
        flush(timeout)

    def next(self, timeout: float | None = None) -> Message[V] | None:
        """The next message; None when there is none within `timeout` seconds (default: wait for ever).

        Raises `BadMessage` for one that can't be read (the next call goes on after it), and SystemExit(0) once the
        script was asked to end, so that a loop of `next` ends too.

        >>> import kirby
        >>> with kirby.Topic("latest", group="docs", create=True) as readings:
        ...     readings.send({"celsius": 11.4})
        ...     readings.next(timeout=10).value
        {'celsius': 11.4}
        """
        message = self._take(timeout)
        if message is None and draining():
            raise Drained
        return message

    def nexts(self, max_records: int = 500, timeout: float | None = None) -> list[Message[V]]:
        """Up to `max_records` messages: waits for the first as `next` does, then takes what is already there.

        They are in hand together: what is sent then is made from all of them, unless `source=` says otherwise.
        """
        batch = self._take_batch(max_records, timeout)
        if not batch and draining():
            raise Drained
        return batch

    def iterate(self, timeout: float | None = None) -> Iterator[Message[V]]:
        """Messages one by one, until there is none for `timeout` seconds (default: for ever) or the script is asked
        to end (SIGTERM): then the loop simply ends, after the message in hand.
        """
        return _Messages(self, timeout)

    def __iter__(self) -> Iterator[Message[V]]:
        return self.iterate()

    def commit(self) -> None:
        """Remember that everything read so far is done; first waits until every message sent is delivered.

        Raises `NotDelivered` (and commits nothing) when one was not: after a restart those messages are read again.
        """
        if self._rolled_back:
            raise KirbyError("commit() within temporary_rollback would move the group back: leave the block first")
        if self._transactions is not None and self._transactions.open:
            self._transactions.commit()
            return
        flush()
        if self._reader is not None:
            self._reader.commit()

    def seek_at_timestamp(self, moment: datetime) -> None:
        """Read on from the first message at or after `moment` (aware), in every partition that is ours.

        Waits for the group to give partitions; raises `KafkaUnavailable` after 60 s.

        >>> import kirby
        >>> from datetime import UTC, datetime
        >>> with kirby.Topic("readings", group="again", create=True) as readings:
        ...     readings.seek_at_timestamp(datetime(2026, 1, 1, tzinfo=UTC))
        """
        reader = self._reading()
        reader.seek(reader.offsets_at(_milliseconds(moment)))

    @contextmanager
    def temporary_rollback(self, moment: datetime) -> Iterator[None]:
        """Read again from `moment` (aware) within the block; afterwards reading goes on where it was.

        `commit` is refused within.
        """
        reader = self._reading()
        before = reader.next_offsets()
        self.seek_at_timestamp(moment)
        self._rolled_back = True
        try:
            yield
        finally:
            self._rolled_back = False
            ours = reader.partitions()
            reader.seek({number: offset for number, offset in before.items() if number in ours})

    def between(self, start: datetime, end: datetime) -> Iterator[Message[V]]:
        """The messages from `start` until before `end` (aware), of all partitions, in order within each.

        Reads beside the group, whose place does not change. Messages that come while it reads are left out.

        >>> import kirby
        >>> from datetime import UTC, datetime
        >>> with kirby.Topic("readings", create=True) as readings:
        ...     readings.send({"celsius": 9.0}, submitted=datetime(2026, 1, 1, 12, tzinfo=UTC))
        ...     readings.flush()
        ...     noon = readings.between(datetime(2026, 1, 1, 12, tzinfo=UTC), datetime(2026, 1, 1, 13, tzinfo=UTC))
        ...     [message.value for message in noon]
        [{'celsius': 9.0}]
        """
        self._make_sure()
        from kirby._span import Span

        span = Span(self.name, way=self._place.way, start_ms=_milliseconds(start), end_ms=_milliseconds(end))
        for record in span:
            message = self._message(record)
            if message is not None:
                hold(message)
                yield message

    def pause(self) -> None:
        """Take nothing more in, without leaving the group, until `resume`; what was read ahead is still handed out."""
        self._reading().pause()

    def resume(self) -> None:
        """Undo `pause`."""
        self._reading().resume()

    def process(
        self,
        handler: Callable[[Message[V]], Any],
        *,
        threads: int = 1,
        processes: int = 0,
        then: Callable[[Message[V], Any], None] | None = None,
        dead_letters: DeadLetters | None = None,
        every: float = 1.0,
        timeout: float | None = None,
    ) -> None:
        """Call `handler` with each message and commit what is done, until SIGTERM or `timeout` seconds of silence.

        A message is committed after its handler has returned and all that was sent is delivered, `every` so many
        seconds: at least once. With `threads` or `processes` messages of one key stay in order, others overlap;
        commits never pass a message that is not done. `processes` are for handlers that compute: `handler` must be a
        function at the top of a module, and `then(message, result)` is called here with what it returned.
        What raises goes to `dead_letters`; without them it stops the processing, and is raised.

        >>> import kirby
        >>> with kirby.Topic("pairs", group="adder", create=True) as pairs, kirby.Topic("sums", create=True) as sums:
        ...     pairs.send([1, 2])
        ...     pairs.process(lambda message: sums.send(sum(message.value)), timeout=0.5)
        """
        _processing.Processing(
            self, handler, threads=threads, processes=processes, then=then, dead_letters=dead_letters, every=every
        ).run(timeout)

    def process_batches(
        self,
        handler: Callable[[list[Message[V]]], Any],
        *,
        max_records: int = 500,
        dead_letters: DeadLetters | None = None,
        every: float = 1.0,
        timeout: float | None = None,
        exactly_once: bool = False,
    ) -> None:
        """Call `handler` with lists of up to `max_records` messages, and commit as `process` does.

        With `dead_letters`, a list whose handler raised is handed out again in lists of one message: those whose
        handler still raises, after `attempts` of these, go to the dead letters, and the others are done. What the
        handler had sent for the list is sent again, except with `exactly_once`. What can't be read goes to the dead
        letters at once. Without them an error stops the processing, and is raised.
        `exactly_once`: what was sent and the offsets are committed in transactions, as in `exactly_once`.

        >>> import kirby
        >>> with kirby.Topic("ratios", group="halves", create=True) as ratios, kirby.Topic("halves", create=True) as to:
        ...     for number in (2, "two", 4):
        ...         ratios.send(number)
        ...     ratios.process_batches(
        ...         lambda messages: to.send([m.value / 2 for m in messages]),
        ...         dead_letters=kirby.DeadLetters(),
        ...         timeout=0.5,
        ...     )
        """
        from kirby._batches import Batches

        batches = Batches(self, handler, max_records=max_records, dead_letters=dead_letters, every=every)
        (batches.run_exactly_once if exactly_once else batches.run_at_least_once)(timeout)

    def exactly_once(self, *, every: float = 0.1, timeout: float | None = None) -> Iterator[Message[V]]:
        """As `iterate`, and what is sent in the loop and the place in this topic are committed in one transaction.

        A transaction is committed `every` so many seconds, between two messages, and when the loop ends. An error, a
        crash, or partitions that go to another member abort it: then its messages are read again, and readers of
        what was sent (all of Kirby's; others by `read_committed`) never see the first try. Needs a group.
        One message may not take longer than 10 s. Only what goes to Kafka is exactly once, not files or calls.

        Where a successor has this process's slot the loop ends. Raises what `iterate` raises.
        """
        self._begin_transactions()
        return _Exactly(self, every, timeout)

    def windows(
        self,
        spans: Spans,
        *,
        fold: Callable[[T, Message[V]], T],
        initial: Callable[[], T],
        at: Callable[[Message[V]], datetime] | None = None,
        late: Callable[[Message[V]], Any] | None = None,
        dead_letters: DeadLetters = _LETTERS,
        name: str | None = None,
        model: type[T] | None = None,
        every: float = 0.5,
        timeout: float | None = None,
    ) -> "Windows[T]":
        """The closed windows of each key, one by one, as `exactly_once` gives messages.

        `spans` is `Tumbling(size, grace=…)` or `Hopping(size, hop=…, grace=…)`. A window's value is `initial()`, then
        `fold(value, message)` for each message; it must be what JSON can hold, or of the pydantic `model`. `at` gives
        a message's event time (aware), default its timestamp. A window closes when its partition has seen an event of
        its end plus grace; where no more messages come, it stays open.

        A message whose windows are all closed is *late*: it goes to `late`, else to the dead letters, and counts in
        `.late` of what is returned. What can't be read or folded goes to the dead letters, too.

        Open windows are kept in a topic, in the transaction that has what is sent in the loop and the place in this
        topic: a crash loses nothing and doubles nothing. They are kept for the group under `name` (default this
        topic's); another one begins afresh. Needs a group, and for other windows of this topic another one. Raises
        what `exactly_once` raises, and KirbyError when the topic has other partitions than when the windows were
        begun.

        >>> import kirby
        >>> from datetime import UTC, datetime, timedelta
        >>> with kirby.Topic("clicks", group="counts", create=True) as clicks:
        ...     for minute in (1, 2, 7, 12):
        ...         clicks.send(1, key="home", submitted=datetime(2026, 1, 1, 12, minute, tzinfo=UTC))
        ...     five = kirby.Tumbling(timedelta(minutes=5))
        ...     for window in clicks.windows(five, initial=int, fold=lambda n, click: n + click.value, timeout=0.5):
        ...         print(window.key, f"{window.start:%H:%M}", window.value)
        home 12:00 2
        home 12:05 1
        """
        from kirby._windowing import Windows

        return Windows(
            self,
            spans,
            fold=fold,
            initial=initial,
            when=at,
            late=late,
            dead_letters=dead_letters,
            name=name,
            model=model,
            every=every,
            timeout=timeout,
        )

    def process_timed(
        self,
        on_message: Callable[[Message[V], Timers], Any],
        on_timer: Callable[[Timer, Timers], Any],
        *,
        at: Callable[[Message[V]], datetime] | None = None,
        dead_letters: DeadLetters | None = None,
        name: str | None = None,
        every: float = 0.5,
        timeout: float | None = None,
        now: Callable[[], datetime] | None = None,
    ) -> None:
        """Call `on_message(message, timers)` with each message, and `on_timer(timer, timers)` when one is due.

        `timers` are those of the message's key: `timers.set(at, name=…, data=…, clock="event"|"wall")`, `cancel`.
        Event time is that of the newest message of a partition (`at`, default its timestamp), and moves on after the
        message's handler. Timers are kept as open windows are, in the transaction with what handlers send: they
        survive a crash, and each counts once. `now` is the wall clock, for tests. A message whose handler raises goes
        to `dead_letters`; without them, and from `on_timer`, an error stops the processing. Else as `exactly_once`.

        >>> import kirby
        >>> from datetime import UTC, datetime, timedelta
        >>> def ordered(message, timers):
        ...     if message.value == "paid":
        ...         timers.cancel("unpaid")
        ...     else:
        ...         timers.set(message.timestamp + timedelta(minutes=30), name="unpaid", data=message.value)
        >>> with kirby.Topic("orders", group="reminders", create=True, partitions=1) as orders:
        ...     for minute, key, value in ((0, "7", "new"), (5, "8", "new"), (6, "8", "paid"), (40, "9", "new")):
        ...         orders.send(value, key=key, submitted=datetime(2026, 1, 1, 12, minute, tzinfo=UTC))
        ...     orders.process_timed(ordered, lambda timer, timers: print(timer.name, timer.key), timeout=0.5)
        unpaid 7
        """
        from kirby._windowing import Timed

        timed = Timed(self, on_message, on_timer, when=at, dead_letters=dead_letters, name=name, every=every, now=now)
        timed.run(timeout)

    def close(self) -> None:
        """Deliver what was sent and leave the group. What was read and not committed will be read again."""
        hold(None)
        reader, self._reader = self._reader, None
        transactions, self._transactions = self._transactions, None
        try:
            if transactions is not None:
                transactions.close()
            flush()
        finally:
            if reader is not None:
                reader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _take(self, timeout: float | None) -> Message[V] | None:
        reader = self._reader or self._reading()
        while (record := reader.take(timeout=timeout)) is not None:
            try:
                message = self._message(record)
            except BadMessage:
                # What is sent about it is not made from the message before.
                hold(None)
                raise
            if message is not None:
                hold(message)
                return message
        hold(None)
        return None

    def _take_batch(self, max_records: int, timeout: float | None) -> list[Message[V]]:
        reader = self._reader or self._reading()
        while records := reader.take_many(max_records, timeout=timeout):
            batch = self._batch(records, reader)
            if batch:
                hold(Several(batch))
                return batch
        hold(None)
        return []

    def _batch(
        self,
        records: list[Record],
        reader: Reader,
        *,
        aside: Callable[[Record, BadMessage], bool] = lambda record, error: False,
    ) -> list[Message[V]]:
        """Their messages; before one that can't be read the batch ends, so that the error is raised in its turn,
        unless `aside` has taken it."""
        if self._rerun == "accept" and not self._apart:
            # Where one can't be read, which one it is, and what comes before it, is found below.
            with suppress(Exception):
                return self._all_of(records)
        batch: list[Message[V]] = []
        for number, record in enumerate(records):
            try:
                message = self._message(record)
            except BadMessage as error:
                if aside(record, error):
                    continue
                if not batch:
                    reader.put_back(records[number + 1 :])
                    raise
                reader.put_back(records[number:])
                break
            if message is None:
                continue
            if self._apart and batch and message.rerun != batch[0].rerun:
                reader.put_back(records[number:])
                break
            batch.append(message)
        return batch

    def _all_of(self, records: list[Record]) -> list[Message[Any]]:
        """As `_message` of each, quicker. Raises what the serializer raises."""
        decode, route = self._decode, self._route
        return [Message(None if (data := r.value()) is None else decode(data), r, route) for r in records]

    def _message(self, record: Record) -> Message[V] | None:
        """None for one that is passed over. Raises BadMessage, or tells of it with `skip_bad`."""
        if self._rerun != "accept" and is_from_rerun(record) is (self._rerun == "skip"):
            return None
        data = record.value()
        try:
            value: Any = None if data is None else self._decode(data)
        except Exception as error:
            bad = self._bad(record, error)
            if not self._skip_bad:
                raise bad from error
            tell("WARNING", f"skipped: {bad}")
            return None
        return Message(value, record, self._route)

    def _bad(self, record: Record, error: Exception) -> BadMessage:
        told = dict(record.headers() or ()).get(CONTENT_TYPE)
        ours = self._serializer.content_type
        reason = f"as {ours}: {why(error)}"
        if isinstance(told, bytes) and told.decode(errors="replace") != ours:
            reason += f" (its content type is {told.decode(errors='replace')})"
        return BadMessage(record.topic(), record.partition(), record.offset(), record.value(), reason)

    def _key_of(self, value: Any) -> str | bytes | None:
        if callable(self._key):
            return self._key(value)
        assert self._key is not None
        try:
            found = value[self._key] if isinstance(value, Mapping) else getattr(value, self._key)
        except (KeyError, AttributeError, TypeError):
            raise BadValue(self.name, f"it has no field {self._key!r}, which is to be its key") from None
        return found if isinstance(found, str | bytes) else str(found)

    def _checked_ms(self, moment: datetime) -> int:
        if self._dates is None:
            self._dates = _sending.Dates(self.name, self._place.way.admin())
        return self._dates.checked_ms(moment)

    def _join(self, party: Party) -> None:
        """Have it take part in the transactions of `exactly_once`."""
        if self._transactions is not None:
            raise KirbyError(f"make what belongs to {self.name!r} before its exactly_once loop begins")
        self._parties.append(party)

    def _begin_transactions(self) -> Transactions:
        if self._transactions is None:
            self._transactions = Transactions(self._reading(), way=self._place.way, parties=self._parties)
        return self._transactions

    def _reading(self) -> Reader:
        if self._reader is None:
            self._make_sure()
            self._reader = Reader(self.name, group=self.group, start=self._start, way=self._place.way)
            self._route.marks = self._reader.marks
        return self._reader

    def _make_sure(self, *, sending: bool = False) -> None:
        if sending and self._place.origin:
            raise KirbyError(f"{self.name!r} is a topic of {self._place.origin}, which is only read from here")
        if self._known:
            return
        admin = self._place.way.admin()
        is_beside = sending and self._written != self.name
        there = admin.partitions(self.name, timeout=_FIRST_CONTACT_S)
        if there is None:
            if not self._create or self._place.origin:
                raise TopicAbsent(self.name)
            if not is_beside:
                admin.create(self.name, partitions=self._partitions, config=_KEPT_FOR_EVER)
        if is_beside:
            _places.make_beside(admin, self.name, partitions=there or self._partitions)
        self._known = not self._place.origin and (sending or self._written == self.name)


class _Messages(Iterator[Message[V]]):
    """An iterator that goes on after a BadMessage, as a generator could not."""

    def __init__(self, topic: Topic[V], timeout: float | None) -> None:
        self._take = topic._take
        self._timeout = timeout

    def __next__(self) -> Message[V]:
        message = self._take(self._timeout)
        if message is None:
            raise StopIteration
        return message


class _Exactly(Iterator[Message[V]]):
    """`exactly_once`: looks after the transaction between two messages."""

    def __init__(self, topic: Topic[V], every: float, timeout: float | None) -> None:
        self._topic = topic
        self._timeout = timeout
        self._every = every

    def __next__(self) -> Message[V]:
        transactions = self._topic._begin_transactions()
        message = transactions.next(self._topic._take, every=self._every, timeout=self._timeout)
        if message is None:
            raise StopIteration
        return message


def _held(source: Message[Any] | Sequence[Message[Any]]) -> InHand:
    return source if isinstance(source, Message) else Several(source)


def _milliseconds(moment: datetime) -> int:
    if moment.tzinfo is None:
        raise ValueError("a moment must be an aware datetime, for example datetime.now(UTC)")
    return round(moment.timestamp() * 1000)
