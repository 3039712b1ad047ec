"""The messages of `.kirby.lineage`, as scripts write them (`kirby._process`)."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Literal

from kirby_common.ports import Record
from pydantic import BaseModel, BeforeValidator, Field, TypeAdapter, ValidationError

MOST_NAME = 500
"""What a name is cut to: it is a key of tables."""


class Unreadable(ValueError):
    """It is none of the messages that this version knows."""


def _clean(text: object) -> object:
    return text.replace("\0", "")[:MOST_NAME] if isinstance(text, str) else text


Text = Annotated[str, BeforeValidator(_clean)]
Id8 = Annotated[str, Field(pattern="^[0-9a-f]{16}$")]
Id16 = Annotated[str, Field(pattern="^[0-9a-f]{32}$")]
Int64 = Annotated[int, Field(ge=-1, lt=2**63)]
Int32 = Annotated[int, Field(ge=-1, lt=2**31)]


class Announced(BaseModel):
    """A process that reads a topic ("": none)."""

    type: Literal["process.announced.v1"]
    process: Id8
    job: Text = ""
    env: Text = ""
    package: Text = ""
    version: Text = ""
    run_id: Text = ""
    attempt: Int32 = 0
    slot: Text = ""
    host: Text = ""
    pid: Int64 = 0
    program: Text = ""
    reads: Text = ""
    rerun: bool = False
    at: datetime


class Range(BaseModel):
    """Offsets [from, to) of a partition."""

    topic: Text
    partition: Int32
    from_: Int64 = Field(alias="from")
    to: Int64


class Joined(BaseModel):
    """Messages that met in a trace."""

    type: Literal["inputs.joined.v1"]
    trace: Id16
    process: Id8
    inputs: list[Range] = Field(max_length=10_000)
    at_ms: Int64 = 0


class Touched(BaseModel):
    """One thing that was written or read, for messages [from, to) of an input partition."""

    direction: Literal["out", "in"]
    kind: Literal["topic", "file", "web", "state"]
    name: Text
    partition: Int32
    from_: Int64 = Field(alias="from")
    to: Int64
    count: Int64
    since_ms: Int64
    until_ms: Int64


class ProcessTouched(BaseModel):
    """What a process has touched since it last told."""

    type: Literal["process.touched.v1"]
    process: Id8
    touched: list[Touched] = Field(max_length=100_000)


Told = Annotated[Announced | Joined | ProcessTouched, Field(discriminator="type")]
_told: TypeAdapter[Announced | Joined | ProcessTouched] = TypeAdapter(Told)


def by_partition(records: Sequence[Record]) -> list[list[Record]]:
    """A batch of a tail, in parts of one partition each, in order."""
    parts: dict[tuple[str, int], list[Record]] = {}
    for record in records:
        parts.setdefault((record.topic, record.partition), []).append(record)
    return list(parts.values())


def read_told(record: Record) -> Announced | Joined | ProcessTouched:
    """Raises `Unreadable`."""
    try:
        return _told.validate_json(record.value or b"")
    except ValidationError as error:
        raise Unreadable(str(error.errors()[0]["msg"])) from error
