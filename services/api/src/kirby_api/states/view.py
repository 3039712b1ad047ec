"""States and their versions as REST shows them."""

from datetime import datetime
from typing import Any

from kirby.state.records import JSON
from pydantic import BaseModel, ConfigDict, Field

from kirby_api.shown import shown
from kirby_api.states.difference import Difference


class StateView(BaseModel):
    """`problem`: why the State is not read any further."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"name": "prices", "env": "prod", "partitions": 4, "owned": False, "keys": 120, "versions": 4711,
                 "changed_at": "2026-11-21T10:00:00Z", "problem": None}
            ]
        }
    )  # fmt: skip

    name: str
    env: str
    partitions: int
    owned: bool = Field(description="one processor owns it: what is set here goes to that as a command")
    keys: int = Field(description="keys with a value")
    versions: int = Field(description="of all keys, deletions included")
    changed_at: datetime | None
    problem: str | None


class VersionView(BaseModel):
    """One version of a key. Of a deletion `deleted` is true; of what is not JSON, `base64` has the bytes."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"key": "Seattle", "version": 3, "op": "set", "value": {"celsius": 11.4}, "deleted": False,
                 "content_type": "application/json", "at": "2026-11-21T10:00:00.123Z", "by": "weather@prod",
                 "run": "7c9e6679-7425-40de-944b-e07fc1f90ae7", "grant": 1, "rerun": False,
                 "inputs": ["weather.raw 0:17"], "place": "2:4711"}
            ]
        }
    )  # fmt: skip

    key: str
    version: int
    op: str
    value: Any = None
    deleted: bool
    content_type: str | None = None
    base64: str | None = None
    stored: str | None = Field(default=None, description="a large value: where it is kept in the object store")
    restores: int | None = Field(default=None, description="the version that this one brought back")
    at: datetime = Field(description="when Kafka took it")
    by: str
    run: str | None = None
    grant: int | None = None
    rerun: bool = False
    inputs: list[str] = []
    place: str = Field(description="PARTITION:OFFSET in the State's log")


class VersionsDiff(BaseModel):
    """What differs between two versions of a key."""

    before: VersionView
    after: VersionView
    changes: list[Difference]


class KeyChange(BaseModel):
    """A key that is not as it was: its versions at both instants, None where it had none yet."""

    key: str
    before: VersionView | None
    after: VersionView | None
    changes: list[Difference]


def version_view(row: Any) -> VersionView:
    """Of a row of `state_versions`."""
    value: dict[str, Any] = {}
    if row.value is not None and row.stored:
        value["stored"] = row.value.decode(errors="replace")
    elif row.value is not None:
        value = shown(row.value, is_json=row.content_type == JSON)
    return VersionView(
        key=row.key,
        version=row.version,
        op=row.op,
        deleted=row.value is None,
        content_type=row.content_type,
        restores=row.restores,
        at=row.at,
        by=row.by,
        run=row.run,
        grant=row.grant_no,
        rerun=row.rerun,
        inputs=row.inputs,
        place=f"{row.partition}:{row.offset}",
        **value,
    )


def comparable(view: VersionView | None) -> Any:
    """What is compared of a version: its value, or whatever stands for it."""
    if view is None or view.deleted:
        return None
    return view.base64 or view.stored or view.value
