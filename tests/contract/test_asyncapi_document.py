"""The AsyncAPI document, against the official schema of AsyncAPI 3.0.0 (without its descriptions and examples)."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jsonschema
from kirby_api.asyncapi import document
from kirby_api.lineage.graph import Edge, Graph, Node
from kirby_api.messages.view import TopicInfo
from kirby_common.topics import registry

SCHEMA = json.loads(Path(__file__).with_name("asyncapi.schema.json").read_text())
AT = datetime(2026, 1, 1, tzinfo=UTC)


def made() -> Any:
    topics = [
        TopicInfo(name="raw", env=env, topic=prefix + "raw", partitions=4, registered=True, description=told)
        for env, prefix, told in (("prod", "", "one a day"), ("test", "test.", ""))
    ]
    graph = Graph(
        nodes=[
            Node(id="job:prod/sensor", kind="job", name="sensor", env="prod", versions=["1.1", "1.0"]),
            Node(id="job:/a b.py", kind="job", name="a b.py"),
            Node(id="topic:raw", kind="topic", name="raw", env="prod"),
            Node(id="file:x", kind="file", name="x"),
        ],
        edges=[
            Edge(source="job:prod/sensor", target="topic:raw", last_seen=AT),
            Edge(source="topic:raw", target="job:/a b.py", last_seen=AT),
            Edge(source="job:prod/sensor", target="file:x", last_seen=AT),
        ],
    )
    return document(registry(), topics, graph, version="1.2.3")


def test_it_is_as_asyncapi_says() -> None:
    validator = jsonschema.Draft7Validator(SCHEMA)
    assert [f"{list(e.absolute_path)}: {e.message}" for e in validator.iter_errors(made())] == []
    broken = made() | {"channels": {"x": {"adress": "x"}}}
    assert list(validator.iter_errors(broken)), "the schema finds nothing"


def test_every_reference_leads_somewhere() -> None:
    whole = made()

    def walk(value: Any) -> None:
        if isinstance(value, dict):
            if "$ref" in value:
                at = whole
                for part in value["$ref"].removeprefix("#/").split("/"):
                    at = at[part]
            for inner in value.values():
                walk(inner)
        elif isinstance(value, list):
            for inner in value:
                walk(inner)

    walk(whole)


def test_it_has_every_registered_topic_and_who_sends_and_reads() -> None:
    whole = made()
    addresses = {channel["address"] for channel in whole["channels"].values()}
    assert addresses == {spec.name for spec in registry()} | {"raw", "test.raw"}
    told = {(o["action"], o["summary"]) for o in whole["operations"].values()}
    assert {("send", "the job sensor sends raw"), ("receive", "the job a b.py reads raw")} <= told
    assert ("send", "worker sends .kirby.logs") in told
    assert whole["operations"]["prod.sensor.sends.raw"]["x-kirby-versions"] == ["1.1", "1.0"]
    assert "RunChanged" in whole["components"]["schemas"]
