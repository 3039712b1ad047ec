"""`kirby.api`: the original's calls, with msgpack values and header values."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace as Made
from typing import Any

import msgpack
import pytest
from kirby.api import ClientError, Kirby, ServerError
from kirby.api.context import ContextManager, MissingEnvironmentVariable, ctx
from kirby.api.ext import Topic, WebClient
from kirby.api.ext.topic import ConsumerRecord, Producer, parse_records
from kirby.api.ext.webclient import WebClientError
from kirby.api.log import LOGGER_TOPIC_NAME, Logger, LogReader
from kirby.api.queue import Queue
from kirby.api.testing import topic_sender
from kirby.testing import MemoryKafka

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.fixture
def kafka(monkeypatch: pytest.MonkeyPatch) -> Iterator[MemoryKafka]:
    for name in ("KIRBY_TOPIC_PREFIX", "KIRBY_GROUP", "KIRBY_JOB", "KIRBY_ENV", "KIRBY_SLOT", "KIRBY_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PACKAGE_NAME", "weather")
    monkeypatch.setenv("ID", "script-1")
    monkeypatch.setenv("KIRBY_WEB_SERVER", "http://kirby.test")
    with MemoryKafka() as memory:
        yield memory


def test_values_and_header_values_are_msgpack_on_the_topic(kafka: MemoryKafka) -> None:
    with Topic("raw", use_tls=False, init_time=NOON) as topic:
        topic.send({"n": [1, "é"]}, headers={"level": "info", "n": 3}, submitted=NOON)
        (record,) = kafka.records("raw")
        headers = dict(record.headers() or [])
        assert msgpack.unpackb(record.value() or b"") == {"n": [1, "é"]}
        assert (headers["level"], headers["n"]) == (msgpack.packb("info"), msgpack.packb(3))
        assert topic.next(timeout_ms=0) == {"n": [1, "é"]}
        assert topic.next(timeout_ms=0) is None
    assert sum(p.offset for p in kafka.groups.of("weather").commits.values()) == 1


def test_raw_records_have_their_headers_read(kafka: MemoryKafka) -> None:
    with Topic("raw", group_id="g", raw_records=True, init_time=NOON) as topic:
        topic.send("x", headers={"level": "info"}, submitted=NOON)
        (record,) = topic.nexts(timeout_ms=0)
    assert (record.value, record.headers, record.topic) == ("x", {"level": "info"}, "raw")
    assert record.timestamp == NOON.timestamp() * 1000


def test_reading_begins_at_the_init_time(kafka: MemoryKafka) -> None:
    with Topic("raw", group_id="g", init_time=NOON + timedelta(minutes=1)) as topic:
        for minute in range(3):
            topic.send(minute, submitted=NOON + timedelta(minutes=minute))
        assert topic.nexts(timeout_ms=0) in ([1, 2], [2, 1])
        assert topic.between(NOON, NOON + timedelta(minutes=2)) == [0, 1]
        with topic.temporary_rollback(NOON.replace(tzinfo=None)):
            assert topic._consumer()._topic.next(timeout=0) is not None


def test_topics_in_testing_mode(kafka: MemoryKafka) -> None:
    with Topic("raw", testing=True) as topic:
        for minute in range(3):
            topic.send(minute, submitted=NOON + timedelta(minutes=minute))
        assert (topic.next(), topic.nexts(max_records=5), topic.next()) == (0, [1, 2], None)
        assert topic.between(NOON, NOON + timedelta(minutes=1)) == [0]
        assert list(Topic("empty", testing=True)) == []
        with pytest.raises(AttributeError, match="Neither Topic, Consumer nor Producer"):
            _ = topic.nonsense
    assert kafka.names() == []


def test_headers_must_be_a_dictionary() -> None:
    with pytest.raises(RuntimeError, match="must be a dictionary"):
        Producer.format_headers(["level"])


def test_records_are_parsed() -> None:
    record = ConsumerRecord("raw", 0, 0, 0, 0, None, "x", [("level", msgpack.packb("info")), ("foreign", b"\xc1")])
    assert parse_records({"p": [record]}) == ["x"]
    parsed = parse_records({"p": [record]}, raw_records=True)
    assert parsed is not None
    assert parsed[0].headers == {"level": "info", "foreign": b"\xc1"}
    assert parse_records({}) is None


def test_the_context_has_types_and_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    ContextManager({"N": {"type": int}, "ON": {"type": bool}, "L": {"type": list}, "D": {"default": "d"}})
    for name, value in {"N": "7", "ON": "true", "L": "a, b"}.items():
        monkeypatch.setenv(name, value)
    assert (ctx.N, ctx["ON"], ctx.L, ctx.D) == (7, True, ["a", "b"], "d")
    assert repr(ctx) == "N=7; ON=True; L=['a', 'b']; D='d'"
    with pytest.raises(MissingEnvironmentVariable, match="NO_SUCH_NAME"):
        _ = ctx.NO_SUCH_NAME


class Session:
    """The part of a requests session that Kirby uses."""

    def __init__(self, *statuses: int) -> None:
        self.statuses = list(statuses)
        self.calls: list[tuple[str, str, Any]] = []

    def get(self, url: str, params: Any) -> Any:
        return self._answer("GET", url, params)

    def patch(self, url: str, data: Any) -> Any:
        return self._answer("PATCH", url, data)

    def _answer(self, method: str, url: str, what: Any) -> Any:
        self.calls.append((method, url, what))
        return Made(status_code=self.statuses.pop(0), json=lambda: {"id": "topic-1", "name": "raw"})


@pytest.mark.usefixtures("kafka")
def test_a_script_registers_itself_and_its_topics() -> None:
    session = Session(200, 200, 200, 200, 200)
    app = Kirby({}, session=session)
    app.add_source(Topic("raw", testing=True))
    app.add_destination(Topic("daily", testing=True))
    web = "http://kirby.test"
    assert session.calls == [
        ("PATCH", f"{web}/registration", {"script_id": "script-1"}),
        ("GET", f"{web}/topic", {"name": "raw"}),
        ("PATCH", f"{web}/registration", {"script_id": "script-1", "source_id": "topic-1"}),
        ("GET", f"{web}/topic", {"name": "daily"}),
        ("PATCH", f"{web}/registration", {"script_id": "script-1", "destination_id": "topic-1"}),
    ]


@pytest.mark.usefixtures("kafka")
def test_what_the_api_refuses_is_an_error() -> None:
    with pytest.raises(ServerError):
        Kirby({}, session=Session(500))
    app = Kirby({}, session=Session(200, 404, 200, 400))
    with pytest.raises(ClientError, match="no topic 'raw'"):
        app.get_topic_id("raw")
    with pytest.raises(ClientError):
        app.add_source(Topic("raw", testing=True))
    testing = Kirby({}, testing=True)
    testing.add_source(Topic("raw", testing=True))
    with pytest.raises(NotImplementedError):
        testing.get_topic_id("raw")


def test_a_web_client_asks_again_and_then_gives_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kirby.api.ext.webclient.WAIT_BETWEEN_RETRIES", 0)
    session = Session(503, 200)
    made = {"json": lambda: {"ok": True}, "text": "", "url": "u"}
    session._answer = lambda *call: Made(status_code=session.statuses.pop(0), **made)  # type: ignore[method-assign]
    client = WebClient("met", "http://met.test/", session)
    assert client.get("x", params={}) == {"ok": True}
    session.statuses = [503, 503, 503]
    with pytest.raises(WebClientError, match="get of u: status 503"):
        client.get("x", params={})
    with pytest.raises(AttributeError):
        _ = client.nonsense


def test_logs_are_written_and_read(kafka: MemoryKafka) -> None:
    logger, reader = Logger("warning"), LogReader(init_time=datetime(2020, 1, 1, tzinfo=UTC))
    logger.log("default")
    logger.error("broken")
    assert kafka.partitions(LOGGER_TOPIC_NAME) == 4
    records = reader.nexts(timeout_ms=0, package_name=logger.name)
    assert {(r.value, r.headers["level"]) for r in records} == {("default", "warning"), ("broken", "error")}
    assert reader.nexts(timeout_ms=0, package_name="other") == []
    with pytest.raises(ValueError, match="no level"):
        Logger("loud")
    with pytest.raises(AttributeError):
        _ = logger.nonsense


def test_queues_and_the_sender(kafka: MemoryKafka, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KIRBY_SUPERVISOR_GROUP_ID", "pool")
    queue = Queue("offers", init_time=NOON)
    assert queue.topic_config.group_id == "pool"
    with topic_sender() as send:
        send("offers", {"n": 1}, submitted=NOON)
    assert queue.next(timeout_ms=0) == {"n": 1}
    with pytest.raises(NotImplementedError):
        queue.last()
    queue.close()
