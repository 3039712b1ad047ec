"""A shadow as it lies in Kafka: what its topics and States are, and what to tell of how they compare."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from kirby.replaying.kafka import KafkaSource
from kirby.replaying.ports import Copied, Extent
from kirby.shadowing import names
from kirby.shadowing.comparing import MOST_EXAMPLES, Output, Process, Stretches, compare, may_count, output_of
from kirby.state._replica import Replica
from kirby.state.records import Latest, Value, log_topic
from kirby.transport import Transport

_SHOWN = 500
WhoseProcesses = Callable[[Sequence[bytes]], Mapping[bytes, Process]]
"""What is known of these processes."""


@dataclass(frozen=True)
class Range:
    """What the rewind is about. `outputs`: topics, with their prefix, that the job is known to write."""

    since_ms: int
    stretches: Stretches
    outputs: Sequence[str] = ()


@dataclass(frozen=True)
class Shadow:
    """The shadow `number` of a job of an environment."""

    number: str
    job: str
    env: str
    prefix: str
    way: Transport

    def topics(self) -> list[str]:
        """The topics that it has written, by their names without prefix."""
        before = names.topics(self.number, prefix=self.prefix)
        return [name.removeprefix(before) for name in self.way.admin().names(prefix=before)]

    def states(self) -> list[str]:
        """The States that it has written."""
        before = names.states(self.number, prefix=self.prefix)
        return [name.removeprefix(before) for name in self.way.admin().names(prefix=before)]

    def source(self) -> KafkaSource:
        """Its topics, by the names of the originals."""
        return KafkaSource(self.way, prefix=names.topics(self.number, prefix=self.prefix))

    def replica(self, state: str) -> Replica:
        """What it has set in a State over a copy of the original, where there is one; both are read to their ends."""
        log = log_topic(state, prefix=self.prefix)
        there = self.way.admin().partitions(log) is not None
        base = self._replica(state, topic=None, base=None) if there else None
        replica = self._replica(state, topic=names.states(self.number, prefix=self.prefix) + state, base=base)
        replica.start()
        return replica

    def _replica(self, state: str, *, topic: str | None, base: Replica | None) -> Replica:
        return Replica(
            state,
            prefix=self.prefix,
            way=self.way,
            on_seen=lambda seen: None,
            fresh_within=None,
            topic=topic,
            base=base,
        )


def comparison(shadow: Shadow, about: Range, *, whose: WhoseProcesses) -> dict[str, Any]:
    """How the shadow's outputs and States differ from the originals', as JSON. Raises KafkaUnavailable."""
    written = {*shadow.topics(), *(name.removeprefix(shadow.prefix) for name in about.outputs)}
    return {
        "at": datetime.now(UTC).isoformat(),
        "topics": [_topic(shadow, about, name, whose=whose) for name in sorted(written)],
        "states": [found for name in sorted(shadow.states()) if (found := _state(shadow, name)) is not None],
    }


def _topic(shadow: Shadow, about: Range, name: str, *, whose: WhoseProcesses) -> dict[str, Any]:
    made = _Outputs(shadow.way, shadow.source(), name)
    shadows = [output for output in made.read(since_ms=None) if may_count(output, about.stretches)]
    # A message may have been sent as of a time of its own, in the shadow as before.
    since_ms = min([about.since_ms, *(output.at_ms for output in shadows)])
    live = _Outputs(shadow.way, KafkaSource(shadow.way, prefix=shadow.prefix), name)
    originals = [output for output in live.read(since_ms=since_ms) if may_count(output, about.stretches)]
    processes = sorted({output.process for output in (*shadows, *originals)})
    found = compare(
        originals, shadows, about.stretches, known=whose(processes), job=shadow.job, env=shadow.env
    )  # fmt: skip
    examples = [
        {
            "kind": example.kind,
            "key": None if example.key is None else example.key.decode(errors="replace"),
            "original": None if example.original is None else live.shown(example.original),
            "shadow": None if example.shadow is None else made.shown(example.shadow),
        }
        for example in found.examples
    ]
    return {"topic": shadow.prefix + name, **asdict(found), "examples": examples}


class _Outputs:
    """One topic's messages, as they are compared and shown; none of a topic that there is not."""

    def __init__(self, way: Transport, source: KafkaSource, name: str) -> None:
        self._source = source
        self._name = name
        self._is_there = way.admin().partitions(source.topic(name)) is not None

    def read(self, *, since_ms: int | None) -> Iterator[Output]:
        if not self._is_there:
            return
        since = None if since_ms is None else datetime.fromtimestamp(since_ms / 1000, UTC)
        extent = self._source.extent(self._name, since=since, until=None)
        for record in self._records(extent):
            if (output := output_of(record)) is not None:
                yield output

    def shown(self, place: tuple[int, int]) -> dict[str, Any]:
        number, offset = place
        extent = self._source.extent(self._name, since=None, until=None)
        only = Extent(extent.name, extent.site, {number: (offset, offset + 1)})
        found = next(iter(self._records(only)), None)
        value = None if found is None else found.value
        return {"place": f"{number}:{offset}", "value": _text(value)}

    def _records(self, extent: Extent) -> Iterable[Copied]:
        for number, (begin, end) in sorted(extent.spans.items()):
            if begin < end:
                for records, _ in self._source.read(extent, number, begin):
                    yield from records


def _state(shadow: Shadow, name: str) -> dict[str, Any] | None:
    """None for one that was only read."""
    replica = shadow.replica(name)
    try:
        if not replica.rows:
            return None
        counts = {"same": 0, "changed": 0, "only_shadow": 0}
        examples: list[dict[str, Any]] = []
        for key in sorted(replica.rows):
            before = None if replica.base is None else _value(replica.base.row(key))
            after = _value(replica.row(key))
            kind = "same" if before == after else "only_shadow" if before is None else "changed"
            counts[kind] += 1
            if kind != "same" and counts[kind] <= MOST_EXAMPLES:
                examples.append({"kind": kind, "key": key, "original": _shown(before), "shadow": _shown(after)})
    finally:
        replica.close()
    return {"state": name, **counts, "examples": examples}


def _value(row: Latest | None) -> Value | None:
    return None if row is None else row.value


def _shown(value: Value | None) -> str | None:
    if value is None:
        return None
    return f"a large value, {value.data.decode(errors='replace')}" if value.stored else _text(value.data)


def _text(data: bytes | None) -> str | None:
    if data is None:
        return None
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return f"{len(data)} bytes"
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
