"""What `kirby.transport` promises: one suite for Kafka in memory and for confluent-kafka."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
from kirby._confluent import Confluent
from kirby._murmur2 import murmur2
from kirby.errors import NotDelivered, TopicAbsent
from kirby.testing import MemoryKafka
from kirby.transport import (
    BEGINNING,
    END,
    Fenced,
    NotAMember,
    Position,
    Receiver,
    Record,
    Sender,
    Transport,
)
from kirby_common.murmur2 import murmur2 as murmur2_of_the_services

from tests.eventually import eventually_sync


@dataclass
class Way:
    """A transport, a topic of four partitions and one of one, and what could not be delivered."""

    transport: Transport
    wide: str
    narrow: str
    group: str
    failures: list[tuple[str, str]] = field(default_factory=list)
    _open: list[Sender | Receiver] = field(default_factory=list)

    def sender(self, *, transactional_id: str | None = None) -> Sender:
        made = self.transport.sender(
            on_failure=lambda *failure: self.failures.append(failure), transactional_id=transactional_id
        )
        self._open.append(made)
        return made

    def receiver(self, *, group: str | None = None, member: str | None = None) -> Receiver:
        made = self.transport.receiver(group=group, member=member)
        self._open.append(made)
        return made

    def alone(self, topic: str, *, partitions: int, offset: int = BEGINNING) -> Receiver:
        receiver = self.receiver()
        receiver.assign([Position(topic, number, offset) for number in range(partitions)])
        return receiver

    def member(self, topic: str, *, member: str | None = None) -> Receiver:
        receiver = self.receiver(group=self.group, member=member)
        receiver.subscribe([topic])
        return receiver

    def close(self) -> None:
        for one in reversed(self._open):
            one.close()


@pytest.fixture(params=["memory", "kafka"])
def way(request: pytest.FixtureRequest, unique_name: Callable[[str], str]) -> Iterator[Way]:
    if request.param == "memory":
        transport: Transport = MemoryKafka()
    else:
        transport = Confluent(request.getfixturevalue("kafka_bootstrap"))
    made = Way(transport, unique_name("wide"), unique_name("narrow"), unique_name("group"))
    transport.admin().create(made.wide, partitions=4)
    transport.admin().create(made.narrow, partitions=1)
    yield made
    made.close()


def send(sender: Sender, topic: str, *values: bytes, key: bytes | None = None, at_ms: int = 0) -> None:
    for value in values:
        sender.send(topic, value, key, [], at_ms)
    if not sender_is_in_transaction(sender):
        assert sender.flush(20) == 0


def sender_is_in_transaction(sender: Sender) -> bool:
    return bool(getattr(sender, "_transactional", False) or getattr(sender, "_open", False))


def read(receiver: Receiver, count: int) -> list[Record]:
    found: list[Record] = []

    def enough() -> bool:
        found.extend(receiver.poll(count - len(found), 0.2))
        return len(found) >= count

    within(enough)
    return found


def values(records: list[Record]) -> list[bytes]:
    return [record.value() for record in records]


def within(predicate: Callable[[], bool]) -> None:
    eventually_sync(predicate, timeout=60)


def test_what_was_sent_is_read_as_it_was(way: Way) -> None:
    way.sender().send(way.narrow, b"v", b"k", [("a", b"1"), ("b", "two"), ("a", b"3")], 1_700_000_000_123)
    (record,) = read(way.alone(way.narrow, partitions=1), 1)
    assert (record.topic(), record.partition(), record.offset()) == (way.narrow, 0, 0)
    assert (record.key(), record.value()) == (b"k", b"v")
    assert record.headers() == [("a", b"1"), ("b", b"two"), ("a", b"3")]
    assert record.timestamp() == (1, 1_700_000_000_123)


def test_value_key_and_headers_may_be_absent(way: Way) -> None:
    sender = way.sender()
    sender.send(way.narrow, None, None, [], 0)
    assert sender.flush(20) == 0
    (record,) = read(way.alone(way.narrow, partitions=1), 1)
    assert (record.key(), record.value(), record.headers()) == (None, None, None)
    assert record.timestamp()[1] > 1_600_000_000_000


def test_keys_lie_where_murmur2_puts_them(way: Way) -> None:
    keys = [f"key-{n}-{'x' * n}".encode() for n in range(20)]
    sender = way.sender()
    for key in keys:
        sender.send(way.wide, b"", key, [], 0)
    assert sender.flush(20) == 0
    found = {record.key(): record.partition() for record in read(way.alone(way.wide, partitions=4), 20)}
    assert found == {key: murmur2(key) % 4 for key in keys}
    assert all(murmur2(key) == murmur2_of_the_services(key) for key in keys)


def test_a_partition_may_be_named(way: Way) -> None:
    sender = way.sender()
    sender.send(way.wide, b"v", b"k", [], 0, 2)
    assert sender.flush(20) == 0
    (record,) = read(way.alone(way.wide, partitions=4), 1)
    assert record.partition() == 2


def test_order_holds_within_a_partition_and_a_poll_has_a_limit(way: Way) -> None:
    send(way.sender(), way.narrow, *(b"%d" % n for n in range(50)))
    receiver = way.alone(way.narrow, partitions=1)
    first = read(receiver, 10)
    assert len(first) == 10
    assert values(first + read(receiver, 40)) == [b"%d" % n for n in range(50)]


def test_a_poll_gives_nothing_where_there_is_nothing(way: Way) -> None:
    assert list(way.alone(way.narrow, partitions=1).poll(10, 0.05)) == []


def test_what_is_too_large_is_refused_at_once(way: Way) -> None:
    with pytest.raises(NotDelivered):
        way.sender().send(way.narrow, b"x" * 2_000_000, None, [], 0)


def test_an_absent_topic_is_named(way: Way) -> None:
    assert way.transport.admin().partitions("no-such-topic") is None
    assert way.transport.admin().config("no-such-topic") == {}
    receiver = way.member("no-such-topic")

    def raises() -> bool:
        try:
            receiver.poll(1, 0.2)
        except TopicAbsent as error:
            return error.topic == "no-such-topic"
        return False

    within(raises)
    assert way.transport.admin().partitions("no-such-topic") is None


def test_reading_begins_where_it_is_told_to(way: Way) -> None:
    sender = way.sender()
    send(sender, way.narrow, b"0", b"1", b"2")
    assert values(read(way.alone(way.narrow, partitions=1, offset=1), 2)) == [b"1", b"2"]
    at_end = way.alone(way.narrow, partitions=1, offset=END)
    # Where the end is, is known once the first poll has asked for it.
    within(lambda: not list(at_end.poll(1, 0.2)) and at_end.ends().get((way.narrow, 0)) == 3)
    send(sender, way.narrow, b"3")
    assert values(read(at_end, 1)) == [b"3"]


def test_the_end_is_told_markers_counted(way: Way) -> None:
    sender = way.sender(transactional_id=way.group)
    sender.begin()
    send(sender, way.narrow, b"0")
    sender.commit()
    receiver = way.alone(way.narrow, partitions=1)
    assert values(read(receiver, 1)) == [b"0"]
    within(lambda: not list(receiver.poll(1, 0.2)) and receiver.ends().get((way.narrow, 0)) == 2)
    assert receiver.watermarks(way.narrow, 0) == (0, 2)


def test_seeking_goes_back_and_forth(way: Way) -> None:
    send(way.sender(), way.narrow, b"0", b"1", b"2")
    receiver = way.alone(way.narrow, partitions=1)
    read(receiver, 3)
    receiver.seek(Position(way.narrow, 0, 1))
    assert values(read(receiver, 2)) == [b"1", b"2"]


def test_a_paused_partition_gives_nothing_and_others_do(way: Way) -> None:
    sender = way.sender()
    receiver = way.alone(way.wide, partitions=4)
    receiver.poll(1, 0.2)
    receiver.pause(way.wide, [1])
    for number in (1, 2):
        sender.send(way.wide, b"%d" % number, None, [], 0, number)
    assert sender.flush(20) == 0
    assert values(read(receiver, 1)) == [b"2"]
    assert list(receiver.poll(1, 0.2)) == []
    receiver.resume(way.wide, [1])
    assert values(read(receiver, 1)) == [b"1"]


def test_times_have_offsets(way: Way) -> None:
    sender = way.sender()
    for at_ms in (1_000, 3_000, 2_000, 5_000):
        send(sender, way.narrow, b"v", at_ms=at_ms)
    receiver = way.alone(way.narrow, partitions=1)
    asked = [0, 1_000, 1_001, 2_500, 3_001, 5_001]
    assert [receiver.offsets_at(way.narrow, {0: at_ms})[0] for at_ms in asked] == [0, 0, 1, 1, 3, 4]


def test_a_commit_and_its_metadata_outlive_the_member(way: Way) -> None:
    send(way.sender(), way.narrow, b"0", b"1", b"2")
    first = way.member(way.narrow)
    assert first.committed(way.narrow, [0]) == {}
    read(first, 2)
    first.commit([Position(way.narrow, 0, 2, "rewind:7:40;")])
    first.close()
    second = way.member(way.narrow)
    assert values(read(second, 1)) == [b"2"]
    found = second.committed(way.narrow, [0])[0]
    assert (found.offset, found.metadata.partition(";")[0]) == (2, "rewind:7:40"), "librdkafka does not cut it off"
    assert second.assigned() == {(way.narrow, 0)}
    way._open.remove(first)


def test_a_reader_without_a_group_commits_nothing(way: Way) -> None:
    with pytest.raises(NotAMember):
        way.alone(way.narrow, partitions=1).commit([Position(way.narrow, 0, 0)])


def test_partitions_are_shared_and_told_of_when_they_go(way: Way) -> None:
    came: list[int] = []
    went: list[int] = []
    first, second = way.receiver(group=way.group), way.receiver(group=way.group)
    first.subscribe(
        [way.wide],
        on_assign=lambda _, places: came.extend(n for _, n in places),
        on_revoke=lambda _, places: went.extend(n for _, n in places),
    )
    within(lambda: not first.poll(1, 0.2) and len(first.assigned()) == 4)
    second.subscribe([way.wide])
    within(lambda: not first.poll(1, 0.1) and not second.poll(1, 0.1) and len(second.assigned()) == 2)
    assert sorted(came) == [0, 1, 2, 3]
    assert {n for _, n in second.assigned()} == set(went)
    assert first.assigned() | second.assigned() == {(way.wide, n) for n in range(4)}


def test_a_static_member_that_comes_back_has_its_partitions_and_fences_the_other(way: Way) -> None:
    first = way.member(way.narrow, member="slot-0")
    within(lambda: not first.poll(1, 0.2) and len(first.assigned()) == 1)
    second = way.member(way.narrow, member="slot-0")
    within(lambda: not second.poll(1, 0.2) and len(second.assigned()) == 1)

    def is_fenced() -> bool:
        try:
            first.poll(1, 0.2)
            first.commit([Position(way.narrow, 0, 0)])
        except Fenced:
            return True
        return False

    within(is_fenced)


def test_a_transaction_shows_all_at_once_with_its_offsets(way: Way) -> None:
    send(way.sender(), way.narrow, b"in")
    reader, out = way.member(way.narrow), way.alone(way.wide, partitions=4)
    read(reader, 1)
    sender = way.sender(transactional_id=way.group)
    sender.begin()
    send(sender, way.wide, b"out-1", b"out-2")
    sender.add_offsets([Position(way.narrow, 0, 1)], reader)
    assert list(out.poll(1, 0.2)) == []
    sender.commit()
    assert sorted(values(read(out, 2))) == [b"out-1", b"out-2"]
    assert reader.committed(way.narrow, [0])[0].offset == 1


def test_an_aborted_transaction_was_never_there(way: Way) -> None:
    send(way.sender(), way.narrow, b"in")
    reader, out = way.member(way.narrow), way.alone(way.wide, partitions=4)
    read(reader, 1)
    sender = way.sender(transactional_id=way.group)
    sender.begin()
    send(sender, way.wide, b"dropped")
    sender.add_offsets([Position(way.narrow, 0, 1)], reader)
    sender.abort()
    sender.begin()
    send(sender, way.wide, b"kept")
    sender.commit()
    assert values(read(out, 1)) == [b"kept"]
    assert reader.committed(way.narrow, [0]) == {}


def test_a_newer_process_fences_the_one_before(way: Way) -> None:
    old, new = way.sender(transactional_id=way.group), way.sender(transactional_id=way.group)
    old.begin()
    send(old, way.narrow, b"old")
    new.begin()
    send(new, way.narrow, b"new")
    new.commit()
    with pytest.raises(Fenced):
        old.commit()
    assert values(read(way.alone(way.narrow, partitions=1), 1)) == [b"new"]


def test_topics_are_made_once_and_listed_and_deleted(way: Way) -> None:
    admin = way.transport.admin()
    assert admin.create(way.narrow, partitions=9) is False
    assert admin.partitions(way.narrow) == 1
    assert admin.names(prefix=way.wide) == [way.wide]
    assert admin.cluster_id() == way.transport.at(way.transport.servers).admin().cluster_id()
    assert admin.create(way.group, partitions=1, config={"retention.ms": "86400000"})
    assert admin.config(way.group)["retention.ms"] == "86400000"
    admin.delete(way.group)
    within(lambda: admin.partitions(way.group) is None)
    admin.delete(way.group)
