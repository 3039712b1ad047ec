"""Lineage over REST: events that others send, and the document of the topics."""

from typing import Any

import httpx2
import jsonschema
import pytest

from tests.contract.test_asyncapi_document import SCHEMA
from tests.integration.api.conftest import Served

EVENT: dict[str, Any] = {
    "eventType": "COMPLETE",
    "eventTime": "2026-01-01T00:00:00Z",
    "producer": "https://example.org/etl",
    "schemaURL": "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent",
    "run": {"runId": "7c9e6679-7425-40de-944b-e07fc1f90ae7", "facets": {"x": {}}},
    "job": {"namespace": "etl", "name": "load"},
    "outputs": [{"namespace": "postgres://db:5432", "name": "public.weather"}],
}


async def test_events_of_others_are_edges_of_the_graph(served: Served) -> None:
    kafka = f"kafka://{served.parts.settings.kafka_bootstrap_servers}"
    event = EVENT | {"inputs": [{"namespace": kafka, "name": "weather.daily"}]}
    for _ in range(2):
        assert (await served.admin.post("/lineage", json=event)).status_code == 201
    graph = (await served.viewer.get("/lineage/graph")).json()
    assert {(e["source"], e["target"], e["count"], tuple(e["told_by"])) for e in graph["edges"]} == {
        ("topic:weather.daily", "job:/etl/load", 2, ("https://example.org/etl",)),
        ("job:/etl/load", "dataset:postgres://db:5432/public.weather", 2, ("https://example.org/etl",)),
    }
    assert (await served.viewer.post("/lineage", json=event)).status_code == 403


@pytest.mark.parametrize(
    "change",
    [
        {"job": {"name": "load"}}, {"run": {"runId": "not one"}}, {"eventTime": "noon"}, {"producer": ""},
        {"inputs": [{"namespace": "x"}]}, {"eventType": "DONE"},
    ],
)  # fmt: skip
async def test_what_is_no_event_is_refused(shared_api: httpx2.AsyncClient, change: dict[str, Any]) -> None:
    answer = await shared_api.post("/lineage", json=EVENT | change)
    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")


async def test_the_asyncapi_document_names_what_is_registered(served: Served) -> None:
    await served.admin.post("/topics", json={"name": "weather.raw", "description": "one a day"})
    answer = await served.viewer.get("/asyncapi.json")
    whole = answer.json()
    jsonschema.validate(whole, SCHEMA)
    assert whole["channels"]["weather.raw"]["description"] == "one a day"
