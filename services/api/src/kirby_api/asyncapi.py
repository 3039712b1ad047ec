"""The AsyncAPI 3 document of every registered topic: Kirby's own, and scripts', with who sends and reads. Pure."""

import re
from collections.abc import Iterable, Sequence
from typing import Any, get_args

from kirby_common.messages import Envelope
from kirby_common.topics import TopicSpec
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from kirby_api.lineage.graph import Graph
from kirby_api.lineage.told import Announced, Joined, ProcessTouched
from kirby_api.messages.view import TopicInfo

VERSION = "3.0.0"
_ANY = "any-message"
_JSON = "application/json"
_BINDING = "0.5.0"
Document = dict[str, Any]


def document(own: Sequence[TopicSpec], topics: Sequence[TopicInfo], graph: Graph, *, version: str) -> Document:
    """`topics`: the registered ones, each in its environment; `graph` says which jobs send to them and read them."""
    messages, schemas = _messages(own)
    channels = {_id(spec.name): _own_channel(spec) for spec in own}
    channels |= {_id(t.topic): _channel(t) for t in topics}
    operations = {key: operation for spec in own for key, operation in _own_operations(spec)}
    operations |= dict(_operations(graph, {t.topic for t in topics}))
    return {
        "asyncapi": VERSION,
        "info": {
            "title": "Kirby",
            "version": version,
            "description": "The topics of Kirby's services, and those of scripts that are registered.",
        },
        "defaultContentType": _JSON,
        "channels": channels,
        "operations": operations,
        "components": {"messages": messages, "schemas": schemas},
    }


def _own_channel(spec: TopicSpec) -> Document:
    config: Document = {"cleanup.policy": [spec.cleanup], "retention.ms": int(spec.configs()["retention.ms"])}
    if "max.message.bytes" in spec.extra:
        config["max.message.bytes"] = int(spec.extra["max.message.bytes"])
    binding = {"topic": spec.name, "partitions": spec.partitions, "topicConfiguration": config}
    return {
        "address": spec.name,
        "description": f"Keyed by {spec.key}.",
        "messages": {_id(name): {"$ref": f"#/components/messages/{_id(name)}"} for name in spec.messages},
        "bindings": {"kafka": binding | {"bindingVersion": _BINDING}},
    }


def _channel(info: TopicInfo) -> Document:
    binding: Document = {"topic": info.topic, "bindingVersion": _BINDING}
    if info.partitions:
        binding["partitions"] = info.partitions
    return {
        "address": info.topic,
        "title": info.name,
        **({"description": info.description} if info.description else {}),
        "messages": {_ANY: {"$ref": f"#/components/messages/{_ANY}"}},
        "bindings": {"kafka": binding},
        "tags": [{"name": info.env or "prod"}],
    }


def _own_operations(spec: TopicSpec) -> Iterable[tuple[str, Document]]:
    channel = {"$ref": f"#/channels/{_id(spec.name)}"}
    for action, verb, services in (("send", "sends", spec.producers), ("receive", "reads", spec.consumers)):
        for service in services:
            told = {"action": action, "channel": channel, "summary": f"{service} {verb} {spec.name}"}
            yield _id(f"{service}.{verb}.{spec.name}"), told


def _operations(graph: Graph, topics: set[str]) -> Iterable[tuple[str, Document]]:
    """Of the jobs that are known to send to these topics, or to read them."""
    nodes = {node.id: node for node in graph.nodes}
    for edge in graph.edges:
        sends = nodes[edge.source].kind == "job"
        job, topic = (nodes[edge.source], nodes[edge.target]) if sends else (nodes[edge.target], nodes[edge.source])
        if topic.kind != "topic" or topic.name not in topics:
            continue
        verb = "sends" if sends else "reads"
        told: Document = {
            "action": "send" if sends else "receive",
            "channel": {"$ref": f"#/channels/{_id(topic.name)}"},
            "summary": f"the job {job.name} {verb} {topic.name}",
        }
        if job.versions:
            told["x-kirby-versions"] = job.versions
        yield _id(f"{job.env or 'outside'}.{job.name}.{verb}.{topic.name}"), told


def _messages(own: Sequence[TopicSpec]) -> tuple[Document, Document]:
    """The components: a message for each name that the registry has, with its payload's schema where it is JSON."""
    union, *_ = get_args(Envelope)
    models: list[type[BaseModel]] = [*get_args(union), Announced, Joined, ProcessTouched]
    _, definitions = models_json_schema(
        [(model, "serialization") for model in models], ref_template="#/components/schemas/{model}"
    )
    names = {get_args(model.model_fields["type"].annotation)[0]: model.__name__ for model in models}
    made: Document = {_ANY: {"title": "what a script sends", "headers": _HEADERS, "payload": {}}}
    for name in {name for spec in own for name in spec.messages}:
        payload = {"$ref": f"#/components/schemas/{names[name]}"} if name in names else {"type": "string"}
        binary = {} if name in names else {"contentType": "application/octet-stream"}
        made[_id(name)] = {"name": _id(name), "title": name, "payload": payload, **binary}
    return made, definitions.get("$defs", {})


_HEADERS: Document = {
    "type": "object",
    "properties": {
        "kirby": {"type": "string", "description": "where it comes from, packed; written by Kirby's runtime only"},
        "content-type": {"type": "string"},
        "traceparent": {"type": "string", "description": "W3C; only with KIRBY_TRACING=1"},
    },
}


def _id(text: str) -> str:
    """As keys of a document may be."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-")
