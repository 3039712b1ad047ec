"""kirby.Topic on a real broker."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import kirby
import pytest
from kirby import _outbox, _process, transport


@pytest.fixture(autouse=True)
def script_environment(kafka_bootstrap: str, topic_prefix: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", kafka_bootstrap)
    monkeypatch.setenv("KIRBY_TOPIC_PREFIX", topic_prefix)
    monkeypatch.setenv("KIRBY_JOB", "weather")
    monkeypatch.setenv("KIRBY_ENV", "test")
    yield
    monkeypatch.undo()
    _outbox._forget()
    transport._current = None
    _process.forget()


def start(code: str, **environment: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-u", "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | environment,
    )


def take(topic: kirby.Topic, count: int) -> list[kirby.Message[Any]]:
    messages = topic.iterate(timeout=60)
    return [next(messages) for _ in range(count)]


def test_a_message_comes_back_as_it_was_sent() -> None:
    at = datetime(2026, 3, 1, 12, tzinfo=UTC)
    with kirby.Topic("raw", create=True) as topic:
        topic.send({"celsius": 11.4, "at": at}, key="Seattle", headers={"station": "KSEA"}, submitted=at)
        message = topic.next(timeout=60)
    assert message is not None
    assert message.value == {"celsius": 11.4, "at": "2026-03-01T12:00:00+00:00"}
    assert (message.key, message.headers["station"], message.timestamp) == ("Seattle", b"KSEA", at)
    assert message.topic == os.environ["KIRBY_TOPIC_PREFIX"] + "raw"


def test_next_gives_none_when_nothing_comes() -> None:
    with kirby.Topic("quiet", create=True, group="g") as topic:
        assert topic.next(timeout=0.3) is None
        assert topic.nexts(timeout=0) == []


def test_what_was_committed_is_not_read_again_and_the_rest_is() -> None:
    with kirby.Topic("work", create=True, partitions=1) as topic:
        for n in range(10):
            topic.send(n)
        take(topic, 4)
        topic.commit()
        assert [m.value for m in take(topic, 6)] == [4, 5, 6, 7, 8, 9]
    with kirby.Topic("work") as again:
        message = again.next(timeout=60)
        assert message is not None
        assert message.value == 4


def test_a_message_is_seen_soon_after_it_was_sent() -> None:
    with kirby.Topic("soon", create=True) as topic:
        topic.send("first")
        assert topic.next(timeout=60) is not None
        topic.send("second")
        assert topic.next(timeout=5) is not None


def test_commit_waits_for_what_was_sent_to_other_topics() -> None:
    with kirby.Topic("in", create=True) as source, kirby.Topic("out", create=True) as sink:
        source.send("x")
        assert source.next(timeout=60) is not None
        for n in range(5000):
            sink.send({"n": n})
        source.commit()
        assert _outbox.outbox().sender.waiting() == 0


def test_two_members_share_a_group_and_every_message_is_read_once_or_again() -> None:
    with kirby.Topic("shared", create=True, partitions=4, key="id") as topic:
        for n in range(400):
            topic.send({"id": n})
        topic.flush()
    code = (
        "import kirby\n"
        "with kirby.Topic('shared', group='pair') as t:\n"
        "  for m in t.iterate(timeout=2):\n"
        "    print(m.value['id']); t.commit()\n"
    )
    outputs = [p.communicate(timeout=60)[0] for p in (start(code), start(code))]
    assert set(map(int, "".join(outputs).split())) == set(range(400))


def test_the_field_named_as_key_decides_the_partition_as_every_kafka_client_would() -> None:
    from kirby_common.murmur2 import partition_for

    with kirby.Topic("keyed", create=True, partitions=4, key="city") as topic:
        for city in ("Seattle", "Oslo", "Kyoto", "Quito", "Namur"):
            topic.send({"city": city})
        messages = take(topic, 5)
    assert {m.key: m.partition for m in messages} == {
        city: partition_for(city.encode(), 4) for city in ("Seattle", "Oslo", "Kyoto", "Quito", "Namur")
    }


def test_an_absent_topic_is_named_and_not_created() -> None:
    with pytest.raises(kirby.TopicAbsent, match="nowhere"):
        kirby.Topic("nowhere").send(1)
    with pytest.raises(kirby.TopicAbsent, match="create=True"):
        kirby.Topic("nowhere").next(timeout=1)
    with pytest.raises(kirby.TopicAbsent):
        kirby.Topic("nowhere", group="g").next(timeout=1)


def test_a_message_that_is_not_json_is_passed_after_it_was_told() -> None:
    with kirby.Topic("mixed", create=True, partitions=1) as topic:
        for value in (b"{not json", b'{"ok": 1}', None):
            topic.send(value)
        with pytest.raises(kirby.BadMessage, match="0:0") as caught:
            topic.next(timeout=60)
        assert caught.value.raw == b"{not json"
        assert [m.value for m in topic.nexts(timeout=60)] == [{"ok": 1}, None]
    with kirby.Topic("mixed", group="skipping", skip_bad=True) as topic:
        assert [m.value for m in take(topic, 2)] == [{"ok": 1}, None]
    with kirby.Topic("mixed", group="raw", serializer="bytes") as topic:
        assert [m.value for m in take(topic, 3)] == [b"{not json", b'{"ok": 1}', None]


def test_a_value_that_json_cannot_hold_is_refused_at_once() -> None:
    with kirby.Topic("strict", create=True) as topic, pytest.raises(kirby.BadValue, match="strict"):
        topic.send({1, 2})


def test_a_message_that_the_broker_refuses_stops_the_commit() -> None:
    with kirby.Topic("small", create=True) as topic:
        topic.send("fine")
        assert topic.next(timeout=60) is not None
        with pytest.raises(kirby.NotDelivered):
            topic.send("x" * 2_000_000)
        topic.commit()


def test_without_a_group_everything_is_read_and_nothing_can_be_committed(monkeypatch: pytest.MonkeyPatch) -> None:
    with kirby.Topic("plain", create=True) as topic:
        topic.send(1)
    monkeypatch.delenv("KIRBY_JOB")
    for _ in range(2):
        with kirby.Topic("plain") as topic:
            assert [m.value for m in take(topic, 1)] == [1]
            with pytest.raises(kirby.KirbyError, match="needs a group"):
                topic.commit()


def test_sigterm_ends_the_loop_after_the_message_in_hand() -> None:
    with kirby.Topic("daemon", create=True) as topic:
        topic.send("one")
    code = (
        "import kirby\n"
        "with kirby.Topic('daemon') as t:\n"
        "  for m in t:\n"
        "    print('got', m.value, flush=True); t.commit()\n"
        "print('ended cleanly')\n"
    )
    process = start(code)
    assert process.stdout is not None
    assert process.stdout.readline() == "got one\n"
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=10)
    assert (out, err, process.returncode) == ("ended cleanly\n", "", 0)


def test_sigterm_ends_a_loop_of_next_too() -> None:
    with kirby.Topic("polled", create=True):
        pass
    with kirby.Topic("polled", create=True) as topic:
        topic.send("one")
    code = (
        "import kirby\n"
        "t = kirby.Topic('polled')\n"
        "while True:\n"
        "  m = t.next(timeout=1)\n"
        "  if m: print('got', m.value, flush=True)\n"
    )
    process = start(code)
    assert process.stdout is not None
    assert process.stdout.readline() == "got one\n"
    process.terminate()
    assert process.communicate(timeout=10) == ("", "")
    assert process.returncode == 0


def test_what_was_sent_just_before_the_end_is_delivered() -> None:
    process = start("import kirby\nt = kirby.Topic('last', create=True)\nfor n in range(1000): t.send(n)\n")
    assert process.communicate(timeout=30) == ("", "")
    with kirby.Topic("last") as topic:
        assert {m.value for m in take(topic, 1000)} == set(range(1000))


def test_a_forked_child_sends_through_a_producer_of_its_own() -> None:
    code = (
        "import os, kirby\n"
        "t = kirby.Topic('forked', create=True)\n"
        "t.send('parent')\n"
        "if os.fork() == 0:\n"
        "  t.send('child'); t.flush(); os._exit(0)\n"
        "assert os.wait()[1] == 0\n"
    )
    assert start(code).communicate(timeout=30) == ("", "")
    with kirby.Topic("forked") as topic:
        assert sorted(m.value for m in take(topic, 2)) == ["child", "parent"]


def test_a_broker_that_is_not_there_is_one_sentence() -> None:
    process = start(
        "import kirby.topic\nkirby.topic._FIRST_CONTACT_S = 1\n"
        "try: kirby.Topic('x').send(1)\nexcept kirby.KafkaUnavailable as e: print(e)\n",
        KAFKA_BOOTSTRAP_SERVERS="127.0.0.1:1",
    )
    out, _ = process.communicate(timeout=30)
    assert "Kafka at 127.0.0.1:1 does not answer" in out
    assert "KAFKA_BOOTSTRAP_SERVERS" in out


def test_a_script_whose_messages_are_lost_does_not_succeed() -> None:
    code = (
        "import kirby, kirby._outbox\n"
        "t = kirby.Topic('lost', create=True); t.send('ok'); t.flush()\n"
        "kirby._outbox.outbox()._failures.append(('lost', 'the broker is gone'))\n"
    )
    process = start(code)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 1
    assert err == "ERROR kirby: 1 message(s) did not reach Kafka, the first for topic 'lost': the broker is gone\n"
