"""The api as the source of a replay, for who can't reach the source's Kafka."""

import base64
from collections.abc import Iterator, Sequence
from datetime import datetime

from kirby.cli.client import Client, ref
from kirby.replaying.ports import Copied, Extent, Site


class ApiSource:
    """Topics of one environment of a suite; its token needs the permission topics:read there."""

    def __init__(self, client: Client, *, env: str) -> None:
        self._client = client
        self._env = env

    def extent(self, name: str, *, since: datetime | None, until: datetime | None) -> Extent:
        asked = {"since": since and since.isoformat(), "until": until and until.isoformat(), "env": self._env}
        found = self._client.get(f"/data/topics/{ref(name)}/extent", **asked)
        spans = {one["partition"]: (one["begin"], one["end"]) for one in found["partitions"]}
        # An older suite does not tell.
        return Extent(name, Site(found["cluster"], found["prefix"]), spans, found.get("expired", False))

    def read(self, extent: Extent, partition: int, begin: int) -> Iterator[tuple[Sequence[Copied], int]]:
        end = extent.spans[partition][1]
        while begin < end:
            page = self._client.get(
                f"/data/topics/{ref(extent.name)}/records", env=self._env, partition=partition, offset=begin, end=end
            )
            records = [
                Copied(
                    partition,
                    one["offset"],
                    None if one["key"] is None else base64.b64decode(one["key"]),
                    None if one["value"] is None else base64.b64decode(one["value"]),
                    [(name, base64.b64decode(value)) for name, value in one["headers"]],
                    one["at_ms"],
                )
                for one in page["items"]
            ]
            begin = page["next"]
            yield records, begin

    def close(self) -> None:
        self._client.close()
