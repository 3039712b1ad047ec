"""Windows, timers and joins on Kafka in memory: what is given, what survives, and where it says it comes from."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import kirby
import orjson
import pytest
from kirby import lineage
from kirby.testing import MemoryKafka
from kirby.transport import Position

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
NOON_MS = round(NOON.timestamp() * 1000)
HOUR = kirby.Tumbling(timedelta(minutes=60), grace=timedelta(minutes=10))
CHANGELOG = ".kirby.windows.g.in"


@pytest.fixture
def kafka(monkeypatch: pytest.MonkeyPatch) -> Iterator[MemoryKafka]:
    for name in ("KIRBY_TOPIC_PREFIX", "KIRBY_GROUP", "KIRBY_JOB", "KIRBY_ENV", "KIRBY_SLOT", "KIRBY_RERUN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("kirby._drain.asked", False)
    with MemoryKafka() as memory:
        memory.create("in", partitions=2)
        memory.create("out", partitions=1)
        yield memory


def add(kafka: MemoryKafka, minute: int, value: Any = 1, *, key: str = "a", partition: int = 0, **more: Any) -> None:
    kafka.add("in", value, key=key, at_ms=NOON_MS + minute * 60_000, partition=partition, **more)


def hourly(topic: "kirby.Topic[Any]", **more: Any) -> Any:
    return topic.windows(HOUR, initial=int, fold=lambda n, m: n + m.value, timeout=0, **more)


def run(**more: Any) -> list[tuple[str | None, int, int]]:
    """A whole life of a processor, from joining to leaving: what it gave, which is also what is on `out`."""
    with kirby.Topic("in", group="g") as topic, kirby.Topic("out") as out:
        given = []
        for window in hourly(topic, **more):
            out.send([window.key, window.start.hour, window.value], key=window.key)
            given.append((window.key, window.start.hour, window.value))
        return given


def committed(kafka: MemoryKafka) -> dict[int, int]:
    return {n: p.offset for (_, n), p in kafka.groups.of("g").commits.items()}


def inputs(kafka: MemoryKafka) -> list[Any]:
    told = (orjson.loads(r.value_bytes or b"") for r in kafka.records(".kirby.lineage"))
    return [t["inputs"] for t in told if t["type"] == "inputs.joined.v1"]


def header(kafka: MemoryKafka, topic: str = "out") -> lineage.Lineage:
    found = lineage.unpack(dict(kafka.records(topic)[-1].header_list)["kirby"] or b"")
    assert found is not None
    return found


def test_a_window_closes_after_its_grace_and_what_is_open_survives(kafka: MemoryKafka) -> None:
    for minute in (0, 59, 61, 30, 69):
        add(kafka, minute)
    assert run() == []
    assert committed(kafka) == {0: 5, 1: 0}
    add(kafka, 70)
    assert run() == [("a", 12, 3)]
    assert run() == []
    add(kafka, 130)
    assert run() == [("a", 13, 3)]
    assert kafka.values("out") == [["a", 12, 3], ["a", 13, 3]]


def test_each_partition_has_its_own_time_and_each_key_its_own_window(kafka: MemoryKafka) -> None:
    add(kafka, 0, key="a")
    add(kafka, 1, key="b")
    add(kafka, 2, key="c", partition=1)
    add(kafka, 70, key="b")
    assert run() == [("a", 12, 1), ("b", 12, 1)]


def test_hopping_windows_overlap(kafka: MemoryKafka) -> None:
    hops = kirby.Hopping(timedelta(minutes=10), hop=timedelta(minutes=5))
    for minute in (0, 7, 30):
        add(kafka, minute)
    with kirby.Topic("in", group="g") as topic:
        windows = topic.windows(hops, initial=list, fold=lambda all, m: [*all, m.offset], timeout=0)
        given = [(w.start.strftime("%H:%M"), w.value, w.count) for w in windows]
    assert given == [("11:55", [0], 1), ("12:00", [0, 1], 2), ("12:05", [1], 1)]


def test_what_is_late_is_a_dead_letter_and_counted_for_ever(kafka: MemoryKafka, capsys: Any) -> None:
    for minute in (0, 70, 59, 58):
        add(kafka, minute)
    assert run() == [("a", 12, 1)]
    letters = kafka.records("in.dead-letters")
    told = orjson.loads(dict(letters[0].header_list)["kirby-dead-letter"] or b"")
    assert [letter.at_ms for letter in letters] == [NOON_MS + 59 * 60_000, NOON_MS + 58 * 60_000]
    assert (told["offset"], told["reason"][:8]) == (2, "TooLate:")
    assert capsys.readouterr().err.count("come too late") == 1
    with kirby.Topic("in", group="g") as topic:
        windows = hourly(topic)
        assert list(windows) == []
        assert windows.late == 2


def test_late_messages_go_to_the_script_if_it_wants_them(kafka: MemoryKafka) -> None:
    for minute in (0, 70, 59):
        add(kafka, minute)
    late: list[int] = []
    run(late=lambda message: late.append(message.offset))
    assert late == [2]
    assert kafka.values("in.dead-letters") == []


def test_the_time_may_be_in_the_value(kafka: MemoryKafka) -> None:
    for minute in (0, 70):
        kafka.add("in", minute, key="a", partition=0)
    assert run(at=lambda m: NOON + timedelta(minutes=m.value)) == [("a", 12, 0)]


def test_what_cannot_be_read_or_folded_is_a_dead_letter(kafka: MemoryKafka) -> None:
    add(kafka, 0, b"{")
    add(kafka, 1, "text")
    add(kafka, 2)
    add(kafka, 70)
    assert run() == [("a", 12, 1)]
    assert [r.value_bytes for r in kafka.records("in.dead-letters")] == [b"{", b'"text"']


def test_an_error_in_the_loop_gives_the_window_again_and_nothing_twice(kafka: MemoryKafka) -> None:
    for key in "abc":
        add(kafka, 0, key=key)
    assert run() == []
    add(kafka, 70)

    def fail_at_b() -> None:
        with kirby.Topic("in", group="g") as topic, kirby.Topic("out") as out:
            for window in hourly(topic):
                assert window.key != "b", "planted"
                out.send(window.key)

    with pytest.raises(AssertionError, match="planted"):
        fail_at_b()
    assert kafka.values("out") == []
    assert run() == [("a", 12, 1), ("b", 12, 1), ("c", 12, 1)]


def test_what_is_due_when_the_script_is_to_end_is_left_to_the_next(
    kafka: MemoryKafka, monkeypatch: pytest.MonkeyPatch
) -> None:
    for key in "abc":
        add(kafka, 0, key=key)
    add(kafka, 70)
    with kirby.Topic("in", group="g") as topic, monkeypatch.context() as patched:
        for window in hourly(topic):
            assert window.key == "a"
            patched.setattr("kirby._drain.asked", True)
    assert run() == [("b", 12, 1), ("c", 12, 1)]


def test_a_lost_membership_counts_nothing_twice(kafka: MemoryKafka) -> None:
    for minute in range(60):
        add(kafka, minute)
    add(kafka, 70, key="b")
    add(kafka, 71, key="b")
    lost = False
    with kirby.Topic("in", group="g") as topic, kirby.Topic("out") as out:
        for window in hourly(topic):
            out.send(window.value)
            if not lost:
                lost = True
                topic._reading().receiver.lose()  # type: ignore[attr-defined]
    assert kafka.values("out") == [60]


def test_another_member_goes_on_with_the_open_windows(kafka: MemoryKafka) -> None:
    for partition in (0, 1):
        add(kafka, 0, key=str(partition), partition=partition)
    first, second = kirby.Topic("in", group="g"), kirby.Topic("in", group="g")
    with first, second:
        assert list(hourly(first)) == []
        theirs = hourly(second)
        for partition in (0, 1):
            add(kafka, 70, key=str(partition), partition=partition)
        given = [w.key for _ in range(3) for windows in (hourly(first), theirs) for w in windows]
    assert sorted(given) == ["0", "1"]


def test_closed_windows_leave_deletion_marks(kafka: MemoryKafka) -> None:
    for minute in (0, 70):
        add(kafka, minute)
    run()
    last = {r.key_bytes: r.value_bytes for r in kafka.records(CHANGELOG)}
    assert sorted(value is None for key, value in last.items() if key and b"window" in key) == [False, True]


def test_a_widened_topic_is_refused(kafka: MemoryKafka) -> None:
    kafka.create(CHANGELOG, partitions=3)
    with pytest.raises(kirby.KirbyError, match="in has 2 partitions, and had 3"):
        run()


def test_a_second_kind_of_windows_needs_a_topic_of_its_own(kafka: MemoryKafka) -> None:
    with kirby.Topic("in", group="g") as topic:
        hourly(topic)
        with pytest.raises(kirby.KirbyError, match="has windows or timers already"):
            hourly(topic, name="other")
        with pytest.raises(kirby.KirbyError, match="has windows or timers already"):
            topic.process_timed(lambda m, t: None, lambda t, s: None, timeout=0)


def test_a_window_tells_its_inputs_and_begins_a_trace(kafka: MemoryKafka) -> None:
    kafka.create(".kirby.lineage", partitions=1)
    for minute in (0, 59, 70):
        add(kafka, minute)
    run()
    made = header(kafka)
    assert (made.joined, made.rerun, [(h.partition, h.offset) for h in made.hops]) == (True, False, [(-1, -1)])
    assert inputs(kafka) == [[{"topic": "in", "partition": 0, "from": 0, "to": 2}]]


def test_a_window_keeps_the_flag_of_a_re_run_over_a_restart(kafka: MemoryKafka) -> None:
    flagged = lineage.begin(bytes(16), lineage.pack_hop(b"process1", -1, -1), flags=lineage.RERUN)
    add(kafka, 0, headers={"kirby": flagged})
    run()
    add(kafka, 1)
    add(kafka, 70)
    assert run() == [("a", 12, 2)]
    assert header(kafka).rerun
    add(kafka, 130)
    run()
    assert not header(kafka).rerun


def test_a_group_that_is_moved_back_gives_closed_windows_again_and_leaves_open_ones(kafka: MemoryKafka) -> None:
    for minute in (0, 1, 70, 71):
        add(kafka, minute)
    assert run() == [("a", 12, 2)]
    mark = "rewind:8f1c:4:4:0;"
    kafka.groups.of("g").commits["in", 0] = Position("in", 0, 0, mark)
    assert run() == [("a", 12, 2)]
    assert header(kafka).rerun
    add(kafka, 130)
    assert run() == [("a", 13, 2)]
    assert not header(kafka).rerun


class Orders:
    """A processor that wants each order paid within 30 minutes, by whichever clock."""

    def __init__(self, clock: Any) -> None:
        self.clock = clock
        self.now = NOON
        self.fired: list[tuple[str | None, str, Any]] = []

    def run(self, **more: Any) -> None:
        with kirby.Topic("in", group="g") as topic, kirby.Topic("out") as self.out:
            topic.process_timed(self.on_message, self.on_timer, timeout=0, now=lambda: self.now, **more)

    def on_message(self, message: "kirby.Message[Any]", timers: kirby.Timers) -> None:
        if message.value == "paid":
            timers.cancel("unpaid")
        else:
            assert message.timestamp is not None
            due = message.timestamp + timedelta(minutes=30)
            timers.set(due, name="unpaid", data=message.value, clock=self.clock)

    def on_timer(self, timer: kirby.Timer, timers: kirby.Timers) -> None:
        self.fired.append((timer.key, timer.name, timer.data))
        self.out.send(timer.data, key=timer.key)


def test_timers_by_event_time_survive_and_can_be_cancelled(kafka: MemoryKafka) -> None:
    orders = Orders("event")
    add(kafka, 0, "order 7", key="7")
    add(kafka, 1, "order 8", key="8")
    orders.run()
    add(kafka, 20, "paid", key="8")
    add(kafka, 29, "order 9", key="9")
    orders.run()
    assert orders.fired == []
    add(kafka, 40, "order 10", key="10")
    orders.run()
    orders.run()
    assert orders.fired == [("7", "unpaid", "order 7")]
    assert kafka.values("out") == ["order 7"]


def test_timers_by_the_wall_clock_need_no_message(kafka: MemoryKafka) -> None:
    orders = Orders("wall")
    add(kafka, 0, "order 7", key="7")
    orders.run()
    orders.now = NOON + timedelta(minutes=29)
    orders.run()
    assert orders.fired == []
    orders.now = NOON + timedelta(minutes=30)
    orders.run()
    orders.run()
    assert orders.fired == [("7", "unpaid", "order 7")]
    assert committed(kafka) == {0: 1, 1: 0}


def test_a_timer_whose_handler_fails_fires_again(kafka: MemoryKafka, monkeypatch: pytest.MonkeyPatch) -> None:
    orders = Orders("wall")
    add(kafka, 0, "order 7", key="7")
    orders.run()
    orders.now = NOON + timedelta(minutes=30)
    with monkeypatch.context() as patched:
        patched.setattr(Orders, "on_timer", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            orders.run()
    orders.run()
    assert kafka.values("out") == ["order 7"]


def test_a_timer_may_set_the_next_one(kafka: MemoryKafka, monkeypatch: pytest.MonkeyPatch) -> None:
    orders = Orders("wall")
    add(kafka, 0, "order 7", key="7")
    orders.run()

    def again(self: Orders, timer: kirby.Timer, timers: kirby.Timers) -> None:
        self.fired.append((timer.key, timer.name, timer.at.minute))
        timers.set(timer.at + timedelta(minutes=5), name=timer.name, data=timer.data, clock="wall")

    monkeypatch.setattr(Orders, "on_timer", again)
    orders.now = NOON + timedelta(minutes=41)
    orders.run()
    assert orders.fired == [("7", "unpaid", 30), ("7", "unpaid", 35), ("7", "unpaid", 40)]


def test_what_a_timer_sends_comes_from_the_message_that_set_it(kafka: MemoryKafka) -> None:
    kafka.create(".kirby.lineage", partitions=1)
    flagged = lineage.begin(bytes(16), lineage.pack_hop(b"process1", -1, -1), flags=lineage.RERUN)
    add(kafka, 0, "order 1", key="1", headers={"kirby": flagged})
    add(kafka, 40, "order 2", key="2")
    Orders("event").run()
    assert header(kafka).joined
    assert header(kafka).rerun
    assert inputs(kafka) == [[{"topic": "in", "partition": 0, "from": 0, "to": 1}]]


def test_a_message_whose_handler_fails_is_a_dead_letter(kafka: MemoryKafka) -> None:
    add(kafka, 0, key="7")
    with kirby.Topic("in", group="g") as topic:
        topic.process_timed(lambda m, t: 1 / 0, lambda t, s: None, timeout=0, dead_letters=kirby.DeadLetters())
    assert len(kafka.records("in.dead-letters")) == 1
    assert committed(kafka) == {0: 1, 1: 0}


def test_a_join_looks_into_the_state_for_each_message(kafka: MemoryKafka) -> None:
    with kirby.State("rates", create=True) as rates, kirby.Topic("in", group="g") as sales, kirby.Topic("out") as out:
        rates.set("CHF", 2)
        for currency in ("CHF", "EUR", None):
            add(kafka, 0, {"currency": currency})
        for message, rate in kirby.join(sales.exactly_once(timeout=0), rates, key="currency"):
            out.send([message.offset, rate])
        sales.seek_at_timestamp(NOON)
        by_currency = kirby.join(sales.iterate(0), rates, key=lambda m: m.value["currency"], how="inner")
        found = [rate for _, rate in by_currency]
    assert kafka.values("out") == [[0, 2], [1, None], [2, None]]
    assert found == [2]
    assert [(h.partition, h.offset) for h in header(kafka).hops] == [(0, 2)]
    assert not header(kafka).joined
    with pytest.raises(kirby.KirbyError, match="how="):
        kirby.join([], rates, how="outer")  # type: ignore[arg-type]
