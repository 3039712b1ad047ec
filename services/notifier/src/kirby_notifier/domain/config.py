"""What the notifier keeps of the configuration: groups, and which context tells which group."""

from dataclasses import dataclass
from typing import Annotated, Any
from uuid import UUID

from kirby_common.messages import BadMessage, ConfigEntityV1, decode
from kirby_common.ports import Record
from pydantic import BaseModel, Field, ValidationError

_Text = Annotated[str, Field(max_length=2000)]


class Group(BaseModel):
    id: UUID
    name: _Text
    emails: list[_Text] = []
    webhooks: list[_Text] = []
    suite_alerts: bool = False


class Notification(BaseModel):
    id: UUID
    context_id: UUID
    group_id: UUID
    on_failure: bool = True
    on_retry: bool = False


@dataclass(frozen=True)
class Gone:
    kind: str
    id: UUID


Entity = Group | Notification | Gone

_KINDS: dict[str, type[Group] | type[Notification]] = {"notification-group": Group, "notification": Notification}


def read_entity(record: Record) -> Entity | None:
    """What a configuration message says that matters here; None for other kinds. Raises `BadMessage`."""
    if record.value is None:
        kind, _, name = (record.key or b"").decode(errors="replace").partition("/")
        return _gone(kind, name) if kind in _KINDS else None
    message = decode(record.value)
    if not isinstance(message, ConfigEntityV1):
        raise BadMessage(f"{message.type} does not belong on {record.topic}")
    entity = message.data
    if entity.kind not in _KINDS:
        return None
    if entity.value is None:
        return _gone(entity.kind, entity.id)
    return _parsed(entity.kind, {**entity.value, "id": entity.id})


def _parsed(kind: str, value: dict[str, Any]) -> Entity:
    try:
        return _KINDS[kind].model_validate(value)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise BadMessage(f"not a {kind}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None


def _gone(kind: str, text: str) -> Gone:
    try:
        return Gone(kind, UUID(text))
    except ValueError:
        raise BadMessage(f"{text[:100]!r} is not the id of a {kind}") from None
