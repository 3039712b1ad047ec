"""Lineage as REST shows it."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class Maker(BaseModel):
    """Who made something. `known` is false for a process that has announced itself to another suite, to none, or so
    long ago that its run is forgotten; `hidden` is true, and nothing else is told, where the caller may not read.
    """

    process: str | None = Field(description="the process id, in hexadecimal")
    by: str | None = Field(default=None, description="JOB@VERSION, or the program's name outside of Kirby")
    job: str | None = None
    version: str | None = None
    env: str | None = None
    package: str | None = None
    run_id: str | None = None
    attempt: int | None = None
    slot: str | None = None
    host: str | None = None
    rerun: bool = False
    known: bool = True
    hidden: bool = False


class MessagePlace(BaseModel):
    """A message; `at` is null for one that is not kept any more."""

    topic: str | None
    partition: int
    offset: int
    place: str
    at: datetime | None = None


class InputRange(BaseModel):
    """Offsets [from, to) of a partition."""

    model_config = ConfigDict(populate_by_name=True)

    topic: str | None
    partition: int
    from_: int = Field(alias="from", serialization_alias="from")
    to: int


class Hop(Maker):
    """One step of a message's way: a process that read `inputs` (none: a source) and wrote `output`."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"process": "0102030405060708", "by": "weather-daily@1.2.0", "job": "weather-daily",
                 "version": "1.2.0", "env": "prod", "run_id": "7c9e6679-7425-40de-944b-e07fc1f90ae7", "attempt": 1,
                 "inputs": [{"topic": "weather.raw", "partition": 0, "from": 17, "to": 18}],
                 "output": {"topic": "weather.daily", "partition": 0, "offset": 4, "place": "0:4",
                            "at": "2026-11-21T10:00:00.123Z"}}
            ]
        }
    )  # fmt: skip

    inputs: list[InputRange]
    output: MessagePlace


class Touch(Maker):
    """What came of a message. `exact` is false where it is only known that some of [from, to) did it."""

    of: MessagePlace = Field(description="the message that it was done for")
    kind: Literal["topic", "file", "web", "state"]
    name: str
    message: MessagePlace | None = Field(default=None, description="of a topic: the message that was made")
    at: datetime
    exact: bool = True


class Journey(BaseModel):
    """A message's way: `hops` from its sources to it, oldest first, and what it `touched` since.

    `dropped` counts older hops, which are not in its header any more. `more`: not all was looked at. `expired`: some of
    what was made from it, or from that in its turn, has been deleted by its topic's retention.
    """

    topic: str
    env: str
    partition: int
    offset: int
    place: str
    at: datetime
    trace: str | None
    rerun: bool
    origin: str | None = Field(description="the environment of birth, when it is another one")
    dropped: int
    hops: list[Hop]
    touched: list[Touch]
    more: bool = False
    expired: bool = False
