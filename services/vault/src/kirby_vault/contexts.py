"""Follows `.kirby.config` for the names of contexts, and drops the grants of those that are gone."""

from dataclasses import dataclass
from uuid import UUID

from kirby_common.consumer import Batch
from kirby_common.messages import BadMessage, ConfigEntityV1, decode
from kirby_common.ports import Record

from kirby_vault.ports import SecretStore


@dataclass(frozen=True)
class ContextNamed:
    id: UUID
    job: str
    env: str


@dataclass(frozen=True)
class ContextGone:
    id: UUID


def read_context(record: Record) -> ContextNamed | ContextGone | None:
    """What a configuration message says about a context; None for other things. Raises `BadMessage`."""
    if record.value is None:
        kind, _, name = (record.key or b"").decode(errors="replace").partition("/")
        return ContextGone(_uuid(name)) if kind == "context" else None
    message = decode(record.value)
    if not isinstance(message, ConfigEntityV1):
        raise BadMessage(f"{message.type} does not belong on {record.topic}")
    entity = message.data
    if entity.kind != "context":
        return None
    if entity.value is None:
        return ContextGone(_uuid(entity.id))
    job, env = entity.value.get("job"), entity.value.get("env")
    if not isinstance(job, str) or not isinstance(env, str) or "\0" in job + env:
        raise BadMessage("a context without the names of its job and environment")
    return ContextNamed(_uuid(entity.id), job, env)


async def project(store: SecretStore, batch: Batch[ContextNamed | ContextGone | None]) -> None:
    for received in batch.received:
        match received.message:
            case ContextNamed(id=context_id, job=job, env=env):
                await store.know_context(context_id, job=job, env=env)
            case ContextGone(id=context_id):
                await store.forget_context(context_id)


def _uuid(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise BadMessage(f"{text[:100]!r} is not the id of a context") from None
