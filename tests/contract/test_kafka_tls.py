"""Every client of Kirby on a broker's TLS listener that asks for a client certificate."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import kirby
import pytest
from kirby._confluent import Confluent
from kirby.dev.kafka import KafkaPart
from kirby.dev.parts import free_port
from kirby.dev.processes import Running, start_together, stop_all
from kirby.transport import using
from kirby_common.consumer import Batch, DeadLetters, GroupConsumer, Processor
from kirby_common.kafka import KafkaBus, KafkaTail, KafkaTopicAdmin
from kirby_common.ports import BusUnavailable, Start
from kirby_common.settings import KafkaSettings
from kirby_common.topics import TopicSpec, registry

from tests.contract.certificates import Authority, Signed
from tests.eventually import eventually


class TlsKafkaPart(KafkaPart):
    """The embedded broker with one listener more."""

    def __init__(self, folder: Path, *, authority: Authority, server: Signed) -> None:
        super().__init__(folder / "kafka", port=free_port(), controller_port=free_port())
        self.tls_port = free_port()
        self._authority = authority
        self._keystore = folder / "server.both.pem"
        self._keystore.write_text(server.both())

    def _properties(self) -> str:
        plain = dict(line.split("=", 1) for line in super()._properties().splitlines())
        tls = {
            "listeners": f"{plain['listeners']},SSL://127.0.0.1:{self.tls_port}",
            "advertised.listeners": f"{plain['advertised.listeners']},SSL://localhost:{self.tls_port}",
            "listener.security.protocol.map": f"{plain['listener.security.protocol.map']},SSL:SSL",
            "ssl.client.auth": "required",
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": self._keystore,
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": self._authority.file,
        }
        return "".join(f"{name}={value}\n" for name, value in (plain | tls).items())


class TlsBroker:
    """A broker of this module's own, which it may stop and start again."""

    def __init__(self, folder: Path) -> None:
        authority = Authority(folder)
        client = authority.sign("client")
        self._part = TlsKafkaPart(folder, authority=authority, server=authority.sign("server"))
        self._logs = folder / "logs"
        self._logs.mkdir()
        self._running: list[Running] = []
        self.settings = KafkaSettings(
            kafka_bootstrap_servers=f"localhost:{self._part.tls_port}",
            kafka_use_ssl=True,
            kafka_ssl_cafile=authority.file,
            kafka_ssl_certfile=client.certificate,
            kafka_ssl_keyfile=client.key,
        )

    def start(self) -> None:
        self._running = start_together([self._part], logs=self._logs)

    def stop(self) -> None:
        stop_all(self._running)


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TlsBroker]:
    broker = TlsBroker(tmp_path_factory.mktemp("tls"))
    broker.start()
    try:
        yield broker
    finally:
        broker.stop()


@pytest.fixture
def tls(broker: TlsBroker) -> KafkaSettings:
    """How a client with the right certificate reaches the broker."""
    return broker.settings


@pytest.fixture
async def topic(tls: KafkaSettings, unique_name: Callable[[str], str]) -> str:
    spec = TopicSpec(unique_name("tls"), "key", (), (), (), partitions=1)
    await KafkaTopicAdmin(tls).ensure([spec, *registry()])
    return spec.name


async def test_the_services_clients_send_and_read(tls: KafkaSettings, topic: str) -> None:
    seen: list[bytes | None] = []

    async def handle(batch: Batch[bytes | None]) -> None:
        seen.extend(received.message for received in batch.received)

    stop = asyncio.Event()
    async with KafkaBus(tls) as bus:
        await bus.send(topic, key=b"k", value=b"over TLS")
        processor = Processor(decode=lambda r: r.value, handle=handle, dead_letters=DeadLetters(bus, service="test"))
        consumer = GroupConsumer(tls, group=topic, topics=[topic], processor=processor, poll_ms=50)
        running = asyncio.create_task(consumer.run(stop))
        await eventually(lambda: seen == [b"over TLS"], timeout=60)
        stop.set()
        await running
    async for records in KafkaTail(tls).records([topic], start=Start(at="beginning")):
        assert [record.value for record in records] == [b"over TLS"]
        break


def test_the_script_sdk_sends_and_reads(tls: KafkaSettings, topic: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", tls.kafka_bootstrap_servers)
    monkeypatch.setenv("KAFKA_USE_SSL", "true")
    monkeypatch.setenv("KAFKA_SSL_CAFILE", str(tls.kafka_ssl_cafile))
    monkeypatch.setenv("KAFKA_SSL_CERTFILE", str(tls.kafka_ssl_certfile))
    monkeypatch.setenv("KAFKA_SSL_KEYFILE", str(tls.kafka_ssl_keyfile))
    # A process has one way to Kafka, which an earlier test may have taken to another broker.
    with using(Confluent()), kirby.Topic(topic, group=f"sdk-{topic}") as data:
        data.send({"a": 1}, key="k")
        data.flush()
        message = data.next(timeout=60)
        assert message is not None
        assert message.value == {"a": 1}


@pytest.mark.parametrize("wrong", ["no certificate", "another authority's", "no TLS"])
async def test_who_is_not_known_gets_in_nowhere(tls: KafkaSettings, tmp_path: Path, wrong: str) -> None:
    if wrong == "no certificate":
        refused = tls.model_copy(update={"kafka_ssl_certfile": None, "kafka_ssl_keyfile": None})
    elif wrong == "another authority's":
        other = Authority(tmp_path, name="other").sign("stranger")
        refused = tls.model_copy(update={"kafka_ssl_certfile": other.certificate, "kafka_ssl_keyfile": other.key})
    else:
        refused = tls.model_copy(update={"kafka_use_ssl": False})
    async with KafkaBus(refused, timeout_s=3) as bus:
        with pytest.raises(BusUnavailable):
            await bus.send("any", key=b"k", value=b"v")


async def test_a_broker_with_another_authority_is_not_trusted(tls: KafkaSettings, tmp_path: Path) -> None:
    elsewhere = tls.model_copy(update={"kafka_ssl_cafile": Authority(tmp_path, name="other").file})
    with pytest.raises(BusUnavailable):
        await KafkaTopicAdmin(elsewhere).ensure(registry())
    async with KafkaBus(elsewhere) as bus:
        with pytest.raises(BusUnavailable):
            await bus.send("any", key=b"k", value=b"v")


async def test_clients_go_on_by_themselves_when_the_broker_comes_back(broker: TlsBroker, topic: str) -> None:
    grouped: list[bytes | None] = []
    tailed: list[bytes | None] = []

    async def handle(batch: Batch[bytes | None]) -> None:
        grouped.extend(received.message for received in batch.received)

    async def follow() -> None:
        async for records in KafkaTail(broker.settings, poll_ms=50).records([topic], start=Start(at="beginning")):
            tailed.extend(record.value for record in records)

    stop = asyncio.Event()
    async with KafkaBus(broker.settings, timeout_s=2) as bus, asyncio.TaskGroup() as group:
        processor = Processor(decode=lambda r: r.value, handle=handle, dead_letters=DeadLetters(bus, service="test"))
        consumer = GroupConsumer(broker.settings, group=topic, topics=[topic], processor=processor, poll_ms=50)
        reading = [group.create_task(consumer.run(stop)), group.create_task(follow())]
        await bus.send(topic, key=b"k", value=b"before")
        await eventually(lambda: grouped == tailed == [b"before"], timeout=60)

        await asyncio.to_thread(broker.stop)
        with pytest.raises(BusUnavailable):
            await bus.send(topic, key=b"k", value=b"lost, and said so")
        assert not any(task.done() for task in reading)
        await asyncio.to_thread(broker.start)

        async def sent() -> bool:
            await bus.send(topic, key=b"k", value=b"after")
            return True

        await eventually(sent, timeout=30)
        await eventually(lambda: b"after" in grouped and b"after" in tailed, timeout=30)
        stop.set()
        reading[1].cancel()
    assert tailed[0] == b"before"
    assert tailed.count(b"before") == 1
    assert grouped.count(b"before") == 1
