"""OpenLineage: Kirby's runs and what they touched as events of it, and others' events as edges of the graph. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Literal
from urllib.parse import urlsplit
from uuid import UUID, uuid5

from kirby_common.messages import RunChanged
from pydantic import BaseModel, ConfigDict, Field

from kirby_api.lineage.projection import EdgeKey
from kirby_api.lineage.told import Announced, Joined, ProcessTouched, Text, Touched

PRODUCER = "https://kirby.invalid/openlineage"
SCHEMA = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent"
_FACET = "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/JobFacet"
_NAMESPACE = UUID("5bd7c3a6-8f0e-4a53-9d5b-6b6972627921")
_ENDS = {"SUCCEEDED": "COMPLETE", "FAILED": "FAIL", "LOST": "FAIL", "KILLED": "ABORT"}
OUTSIDE = "outside"
"""The namespace of jobs in no environment."""
Event = dict[str, Any]


class _Wire(BaseModel):
    model_config = ConfigDict(extra="allow")


class DatasetRef(_Wire):
    namespace: Text = Field(min_length=1)
    name: Text = Field(min_length=1)


class JobRef(_Wire):
    namespace: Text = Field(min_length=1)
    name: Text = Field(min_length=1)


class RunRef(_Wire):
    run_id: UUID = Field(alias="runId")


class OpenLineageEvent(_Wire):
    """A RunEvent or JobEvent of OpenLineage 2; facets are taken and not kept."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "examples": [
                {"eventType": "COMPLETE", "eventTime": "2026-11-21T10:00:00Z", "producer": "https://example.org/etl",
                 "schemaURL": SCHEMA, "run": {"runId": "7c9e6679-7425-40de-944b-e07fc1f90ae7"},
                 "job": {"namespace": "etl", "name": "load"},
                 "inputs": [{"namespace": "kafka://broker:9092", "name": "weather.daily"}],
                 "outputs": [{"namespace": "postgres://db:5432", "name": "public.weather"}]}
            ]
        },
    )  # fmt: skip

    event_time: datetime = Field(alias="eventTime")
    event_type: Literal["START", "RUNNING", "COMPLETE", "ABORT", "FAIL", "OTHER"] = Field("OTHER", alias="eventType")
    producer: Text = Field(min_length=1)
    schema_url: str = Field(alias="schemaURL", min_length=1)
    run: RunRef | None = None
    job: JobRef
    inputs: list[DatasetRef] = Field(default=[], max_length=1000)
    outputs: list[DatasetRef] = Field(default=[], max_length=1000)


def edges_of(event: OpenLineageEvent, *, servers: str) -> Iterator[EdgeKey]:
    """The edges that an event tells of; a dataset of the suite's own Kafka is a topic of ours."""
    job = f"{event.job.namespace}/{event.job.name}"
    for direction, datasets in (("in", event.inputs), ("out", event.outputs)):
        for dataset in datasets:
            yield "", job, "", direction, *_thing(dataset, servers)


def _thing(dataset: DatasetRef, servers: str) -> tuple[str, str]:
    if dataset.namespace.startswith("kafka://") and urlsplit(dataset.namespace).netloc in servers.split(","):
        return "topic", dataset.name
    return "dataset", f"{dataset.namespace}/{dataset.name}"


class Namer:
    """Makes events of what was told. `known` are the rows of processes that announced themselves before."""

    def __init__(self, *, servers: str, version: str) -> None:
        self._kafka = f"kafka://{servers.split(',')[0]}"
        self._version = version

    def of_run(self, run: RunChanged) -> list[Event]:
        """The start of a run, and its end."""
        kind = "START" if run.status == "RUNNING" else _ENDS.get(run.status)
        at = run.started_at if kind == "START" else run.ended_at
        if kind is None:
            return []
        job = {"namespace": run.env, "name": run.job}
        facts = {"version": run.package_version, "attempt": run.attempt}
        return [self._event(kind, at or datetime.now(UTC), str(run.run_id), job, facts)]

    def of_told(
        self, told: Iterable[Announced | Joined | ProcessTouched], known: Mapping[bytes, Any]
    ) -> Iterator[Event]:
        """What processes have touched, an event each; the start of those outside of Kirby, whose runs nobody tells."""
        who = dict(known)
        for message in told:
            if isinstance(message, Announced):
                who[bytes.fromhex(message.process)] = message
                if not message.run_id:
                    yield self._of_process("START", message.at, message.process, message, [])
            elif isinstance(message, ProcessTouched) and (row := who.get(bytes.fromhex(message.process))):
                at = datetime.fromtimestamp(max((t.until_ms for t in message.touched), default=0) / 1000, UTC)
                yield self._of_process("RUNNING", at, message.process, row, message.touched)

    def _of_process(self, kind: str, at: datetime, process: str, who: Any, touched: list[Touched]) -> Event:
        job = {"namespace": who.env or OUTSIDE, "name": who.job or who.program or "script"}
        event = self._event(kind, at, _run_id(who.run_id, process), job, {"version": who.version, "host": who.host})
        reads = [self._dataset(who.env, "topic", who.reads)] if who.reads else []
        event["inputs"] = reads + self._datasets(who.env, touched, "in")
        event["outputs"] = self._datasets(who.env, touched, "out")
        return event

    def _datasets(self, env: str, touched: list[Touched], direction: str) -> list[Event]:
        things = dict.fromkeys((t.kind, t.name) for t in touched if t.direction == direction)
        return [self._dataset(env, kind, name) for kind, name in things]

    def _dataset(self, env: str, kind: str, name: str) -> Event:
        """By OpenLineage's rules for names, where it has some."""
        if kind == "topic":
            return {"namespace": self._kafka, "name": name}
        if kind == "file":
            parts = urlsplit(name)
            host = f"{parts.scheme}://{parts.netloc}" if parts.netloc else parts.scheme or "file"
            return {"namespace": host, "name": (parts.path if not parts.netloc else parts.path.lstrip("/")) or "/"}
        return {"namespace": f"kirby-{kind}", "name": f"{env}/{name}" if kind == "state" else name}

    def _event(self, kind: str, at: datetime, run_id: str, job: Event, facts: Event) -> Event:
        facet = {"_producer": PRODUCER, "_schemaURL": _FACET, "kirby": self._version}
        return {
            "eventType": kind,
            "eventTime": at.isoformat(),
            "producer": PRODUCER,
            "schemaURL": SCHEMA,
            "run": {"runId": run_id, "facets": {}},
            "job": {**job, "facets": {"kirby": facet | {k: v for k, v in facts.items() if v}}},
            "inputs": [],
            "outputs": [],
        }


def _run_id(run_id: str, process: str) -> str:
    """A run's id; of a script outside of Kirby one that follows from its process id."""
    try:
        return str(UUID(run_id))
    except ValueError:
        return str(uuid5(_NAMESPACE, run_id or process))
