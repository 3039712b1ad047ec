"""What the services say to each other on Kafka: one envelope with CloudEvents names, JSON, versioned types.

A message that is not JSON, of an unknown type or version, or that does not fit its schema raises
`BadMessage`; the consumer puts it on the dead-letter topic and goes on.
"""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from uuid import UUID, uuid4

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

MAX_MESSAGE_BYTES = 1_000_000


class BadMessage(ValueError):
    """The message can't be read: its text says why, in one sentence."""


class Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class RunOffer(Message):
    """A wake-up: there is something to claim. May be lost, late or doubled."""

    run_id: UUID
    pool: str
    due_at: datetime | None = None
    package_name: str
    package_version: str
    lock_id: UUID | None = None


class RunChanged(Message):
    """What a run has become. Views ignore a `rev` lower than one they have seen."""

    run_id: UUID
    rev: int
    status: str
    previous: str | None
    kind: str
    job: str
    env: str
    namespace: str
    context_id: UUID | None
    labels: dict[str, str] = {}
    due_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    attempt: int = 0
    grant: int = 0
    exit_code: int | None = None
    reason: str | None = None
    package_name: str | None = None
    package_version: str | None = None
    worker: str | None = None
    parent_run_id: UUID | None = None
    log: dict[str, Any] | None = None


class ConfigEntity(Message):
    """The current form of one configured thing; a null `value` says it is gone."""

    kind: str
    id: str
    value: dict[str, Any] | None


class MarkMissed(Message):
    """Something that should be and is not. Told once; `mark.recovered.v1` of the same alert follows when it is over."""

    subject: str
    reason: str
    env: str | None = None
    job: str | None = None
    run_id: UUID | None = None
    detail: dict[str, Any] = {}
    alert_id: UUID | None = None
    kind: str | None = None
    context_id: UUID | None = None
    opened_at: datetime | None = None


class MarkRecovered(Message):
    """A missed mark that was told is over."""

    alert_id: UUID
    kind: str
    subject: str
    reason: str
    opened_at: datetime
    closed_at: datetime
    env: str | None = None
    job: str | None = None
    context_id: UUID | None = None
    run_id: UUID | None = None


class MessageRefused(Message):
    """A message that could not be read, with its origin; of a long one `value_base64` is the beginning."""

    topic: str
    partition: int
    offset: int
    consumer: str
    reason: str
    value_base64: str
    size: int | None = None


class _Envelope(Message):
    specversion: Literal["1.0"] = "1.0"
    id: UUID = Field(default_factory=uuid4)
    source: str
    time: datetime = Field(default_factory=lambda: datetime.now(UTC))
    subject: str | None = None


class RunOfferV1(_Envelope):
    type: Literal["run.offer.v1"] = "run.offer.v1"
    data: RunOffer


class RunChangedV1(_Envelope):
    type: Literal["run.changed.v1"] = "run.changed.v1"
    data: RunChanged


class ConfigEntityV1(_Envelope):
    type: Literal["config.entity.v1"] = "config.entity.v1"
    data: ConfigEntity


class MarkMissedV1(_Envelope):
    type: Literal["mark.missed.v1"] = "mark.missed.v1"
    data: MarkMissed


class MarkRecoveredV1(_Envelope):
    type: Literal["mark.recovered.v1"] = "mark.recovered.v1"
    data: MarkRecovered


class MessageRefusedV1(_Envelope):
    type: Literal["message.refused.v1"] = "message.refused.v1"
    data: MessageRefused


Envelope = Annotated[
    RunOfferV1 | RunChangedV1 | ConfigEntityV1 | MarkMissedV1 | MarkRecoveredV1 | MessageRefusedV1,
    Field(discriminator="type"),
]
_ADAPTER: TypeAdapter[Envelope] = TypeAdapter(Envelope)


def encode(message: Envelope) -> bytes:
    return message.model_dump_json().encode()


def decode(value: bytes | None) -> Envelope:
    """The message in a Kafka value. Raises `BadMessage`."""
    if value is None:
        raise BadMessage("the message has no value")
    if len(value) > MAX_MESSAGE_BYTES:
        raise BadMessage(f"the message has {len(value)} bytes, more than {MAX_MESSAGE_BYTES}")
    try:
        return _ADAPTER.validate_json(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BadMessage(f"not a Kirby message: {where + ': ' if where else ''}{first['msg']}") from error
