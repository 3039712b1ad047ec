"""Appending to a State's log on behalf of a caller, and telling what became of it once the recorder has folded it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import orjson
from kirby.state.records import COMMAND_MS, Mutation, Value, commands_topic, encode_key, encode_mutation
from kirby.state.rule import REMEMBERED, Op, Outcome, Verdict, Writer
from kirby_common.ledger.tables import StateKey, StateLog, StateOffset, StateVersion
from kirby_common.ports import BusUnavailable, Stored
from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from kirby_api.access.permissions import Caller
from kirby_api.adapters.kafka_states import log_spec
from kirby_api.logs.ports import Bounds
from kirby_api.problems import Conflict, NotFound, TooLarge, Unavailable
from kirby_api.resources import Resources
from kirby_api.runs.wait import wait_for
from kirby_api.states.query import StateRef, checked_key, must_exist, version_row

PARTITIONS = 4
"""Of a State that is made by setting its first key here."""
MAX_VALUE_BYTES = 524_288
_FOLDED_S = 15.0
_OWNER_S = COMMAND_MS / 1000 + 5


@dataclass(frozen=True)
class Wanted:
    """A mutation as a caller asks for it."""

    key: str
    op: Op
    value: Value | None = None
    expect: int | None = None
    restores: int | None = None


def set_value(key: str, value: Any, expect: int | None) -> Wanted:
    """Raises `TooLarge`."""
    data = orjson.dumps(value)
    if len(data) > MAX_VALUE_BYTES:
        raise TooLarge(f"the value has {len(data)} bytes; {MAX_VALUE_BYTES} are taken here, more by kirby.State")
    return Wanted(key, Op.SET, Value(data), expect)


async def append(parts: Resources, caller: Caller, state: StateRef, wanted: Wanted) -> int:
    """The version that it made. Raises `Conflict` with the current version, `NotFound`, `Unavailable`.

    Each request is a writer of its own, so that two at the same moment are two mutations.
    """
    checked_key(wanted.key)
    log = await _log(parts, state)
    writer = Writer("", 0, str(uuid4()))
    mutation = Mutation(
        key=wanted.key,
        op=wanted.op,
        writer=writer,
        n=1,
        of=log.partitions,
        by=caller.name,
        value=wanted.value,
        expect=wanted.expect,
        restores=wanted.restores,
    )
    try:
        topic = commands_topic(log.name, prefix=log.prefix) if log.owned else state.topic
        stored = await parts.bus.send(topic, key=encode_key(wanted.key), value=encode_mutation(mutation))
    except BusUnavailable as error:
        raise Unavailable(f"Kafka did not take it: {error}; try again") from error
    if log.owned:
        outcome = await _owners_outcome(parts, state, wanted.key, writer)
    else:
        outcome = await _outcome(parts, state, wanted.key, writer, stored)
    _tell(state, wanted, outcome)
    return outcome.version


async def _log(parts: Resources, state: StateRef) -> StateLog:
    """Makes the State when there is none yet."""
    async with parts.sessions() as db:
        row = await db.get(StateLog, state.topic)
    if row is None:
        try:
            await parts.topics.ensure([log_spec(state.topic, partitions=PARTITIONS)])
        except BusUnavailable as error:
            raise Unavailable(f"Kafka can't be reached, so {state} can't be made: {error}; try again") from error
        row = await wait_for(lambda: _row(parts, state), done=lambda r: r is not None, seconds=_FOLDED_S)
    if row is None:
        raise Unavailable(f"{state} was made, but is not recorded yet: is the ledger role of the api up? Try again")
    if row.problem:
        raise Conflict(f"{state} is not read any further: {row.problem}")
    return row


async def _row(parts: Resources, state: StateRef) -> StateLog | None:
    async with parts.sessions() as db:
        return await db.get(StateLog, state.topic)


async def _outcome(parts: Resources, state: StateRef, key: str, writer: Writer, stored: Stored) -> Outcome:
    """What the recorder made of the mutation, as soon as it is folded."""

    async def look() -> Outcome | None:
        async with parts.sessions() as db:
            offset = await db.get(StateOffset, (state.topic, stored.partition))
            if offset is None or offset.next_offset <= stored.offset:
                return None
            row = await db.get(StateKey, (state.topic, key))
        found = _remembered(row, writer)
        if found is None:
            raise Unavailable(f"the key '{key}' changes so fast that the outcome is lost; see its history")
        return found

    found = await wait_for(look, done=lambda outcome: outcome is not None, seconds=_FOLDED_S)
    if found is None:
        raise Unavailable(f"it is written to {state}, but not folded yet: is the ledger role of the api up?")
    return found


async def _owners_outcome(parts: Resources, state: StateRef, key: str, writer: Writer) -> Outcome:
    """What the owner made of a command, once it is folded. Raises `Conflict` when no owner took it in time."""

    async def look() -> tuple[Outcome | None, int]:
        async with parts.sessions() as db:
            row = await db.get(StateKey, (state.topic, key))
        return _remembered(row, writer), row.version if row else 0

    _, before = await look()
    found, after = await wait_for(look, done=lambda seen: seen[0] is not None, seconds=_OWNER_S)
    if found is not None:
        return found
    if after - before >= REMEMBERED:
        raise Unavailable(f"the key '{key}' changes so fast that the outcome is lost; see its history")
    raise Conflict(
        f"{state} is owned, and its owner did not apply it within {_OWNER_S:g} s:"
        " is the processor that owns it running? It is not applied any more; try again"
    )


def _remembered(row: StateKey | None, writer: Writer) -> Outcome | None:
    for _, _, process, _, verdict, version in row.recent if row else ():
        if process == writer.process:
            return Outcome(Verdict(verdict), version)
    return None


def _tell(state: StateRef, wanted: Wanted, outcome: Outcome) -> None:
    if outcome.verdict is Verdict.CONFLICT:
        raise Conflict(
            f"the key '{wanted.key}' of {state} has version {outcome.version}, not {wanted.expect}: read it again",
            version=outcome.version,
            expected=wanted.expect,
        )
    if outcome.verdict is Verdict.ABSENT:
        raise NotFound(f"the key '{wanted.key}' of {state} has no version {wanted.restores}", version=outcome.version)


async def restoring(db: AsyncSession, state: StateRef, key: str, version: int, expect: int | None) -> Wanted:
    """The mutation that brings an old version back, value and all. Raises `NotFound`."""
    row = await version_row(db, state, key, version=version)
    value = None if row.value is None else Value(row.value, row.content_type, row.stored)
    return Wanted(key, Op.RESTORE, value, expect, restores=version)


async def rebuild(db: AsyncSession, state: StateRef) -> None:
    """Forgets what was folded, so that the recorder folds the log anew, from its begin. Raises `NotFound`.

    The offsets' rows are locked first: a recorder in the midst of a stretch ends it before, or finds itself set back.
    """
    await must_exist(db, state)
    back = update(StateOffset).where(StateOffset.topic == state.topic).values(next_offset=0, told_offset=0)
    await db.execute(back)
    await db.execute(delete(StateKey).where(StateKey.topic == state.topic))
    await db.execute(delete(StateVersion).where(StateVersion.topic == state.topic))
    await db.execute(update(StateLog).where(StateLog.topic == state.topic).values(problem=None))


async def is_folded(db: AsyncSession, state: StateRef, upto: Mapping[int, Bounds]) -> bool:
    """Whether the recorder has come to these ends of the log's partitions."""
    rows = await db.scalars(select(StateOffset).where(StateOffset.topic == state.topic))
    now = {row.partition: row.next_offset for row in rows}
    return all(now.get(partition, 0) >= bounds.end for partition, bounds in upto.items())
