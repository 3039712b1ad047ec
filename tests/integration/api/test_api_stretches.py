"""What a replay reads over REST: where a topic lies, its offsets of a time, and records as they are."""

import base64
from datetime import timedelta

from kirby_common.kafka_groups import KafkaGroups
from kirby_common.settings import KafkaSettings

from tests.eventually import eventually
from tests.integration.api.conftest import Served
from tests.integration.api.test_api_rewinds import NOW, raw

__all__ = ["raw"]


async def test_a_topic_is_copied_as_it_is(served: Served, kafka_settings: KafkaSettings, raw: str) -> None:
    since = (NOW - timedelta(minutes=45)).isoformat()
    until = (NOW - timedelta(minutes=35)).isoformat()

    async def answered() -> bool:
        return (await served.admin.get(f"/data/topics/{raw}/extent")).status_code == 200

    await eventually(answered, what="the new topic's leaders")
    whole = (await served.admin.get(f"/data/topics/{raw}/extent")).json()
    assert whole["partitions"] == [{"partition": 0, "begin": 0, "end": 6}]
    assert (whole["topic"], whole["prefix"]) == (raw, "")
    assert whole["cluster"] == await KafkaGroups(kafka_settings).cluster()
    part = (await served.admin.get(f"/data/topics/{raw}/extent", params={"since": since, "until": until})).json()
    assert part["partitions"] == [{"partition": 0, "begin": 2, "end": 4}]
    asked = {"partition": 0, "offset": 2, "end": 4}
    page = (await served.admin.get(f"/data/topics/{raw}/records", params=asked)).json()
    assert page["next"] == 4
    first, second = page["items"]
    assert (first["offset"], first["key"], base64.b64decode(first["value"]), first["headers"]) == (2, None, b"0", [])
    assert first["at_ms"] == second["at_ms"] == round((NOW - timedelta(minutes=40)).timestamp() * 1000)


async def test_who_may_not_read_topics_copies_none(served: Served, raw: str) -> None:
    assert (await served.viewer.get(f"/data/topics/{raw}/extent")).status_code == 403
    bad = await served.admin.get(f"/data/topics/{raw}/records", params={"partition": 0, "offset": 4, "end": 2})
    assert (bad.status_code, "ends before it begins" in bad.json()["detail"]) == (422, True)
