"""The topics and States of a case: put on a cluster before its script runs, and read from it afterwards."""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from kirby._serializers import find
from kirby._span import Span
from kirby.errors import NotDelivered
from kirby.state._values import Values
from kirby.state.records import (
    LOG_CONFIG,
    BadRecord,
    Mutation,
    Value,
    decode_mutation,
    encode_key,
    encode_mutation,
    log_topic,
    name_of,
)
from kirby.state.rule import Memory, Op, Writer, fold
from kirby.testing._counting import Counting
from kirby.testing.case import Given
from kirby.testing.folders import Sent, sent
from kirby.transport import Sender, Transport

DELIVERED_S = 60.0
_FOR_EVER_MS = 2**62
_KEPT_FOR_EVER = {"retention.ms": "-1"}


def give(given: Given, counting: Counting) -> None:
    """Put the input on its topics. Raises BadFolder, NotDelivered, KafkaUnavailable."""
    lost: list[tuple[str, str]] = []
    sender = counting.way.sender(on_failure=lambda topic, why: lost.append((topic, why)))
    for topic, messages in given.topics.items():
        _give_messages(counting.prefix + topic, messages, counting, sender)
    for name, values in given.states.items():
        _give_state(name, values, counting, sender)
    waiting = sender.flush(DELIVERED_S)
    sender.close()
    if waiting or lost:
        topic, why = lost[0] if lost else ("", f"{waiting} messages are still waiting for the broker")
        raise NotDelivered(topic, waiting or len(lost), why)


def _give_messages(topic: str, messages: Sequence[Sent], counting: Counting, sender: Sender) -> None:
    counting.way.admin().create(topic, partitions=1, config=_KEPT_FOR_EVER)
    now_ms = 0 if counting.now_ms is None else counting.now_ms()
    for message in messages:
        value, key, headers = message.encoded()
        at_ms = now_ms if message.timestamp is None else round(message.timestamp.timestamp() * 1000)
        sender.send(topic, value, key, headers, at_ms)
    counting.count(topic, len(messages))


def _give_state(name: str, values: Mapping[str, Any], counting: Counting, sender: Sender) -> None:
    log = log_topic(name, prefix=counting.prefix)
    counting.way.admin().create(log, partitions=1, config=LOG_CONFIG)
    for n, (key, value) in enumerate(values.items(), start=1):
        sender.send(log, encode_mutation(_first(key, value, n)), encode_key(key), [], 0)


def _first(key: str, value: Any, n: int) -> Mutation:
    return Mutation(
        key=key, op=Op.SET, writer=Writer("", 0, "given"), n=n, of=1, by="given", value=Value(orjson.dumps(value))
    )


def left(given: Given, counting: Counting, own: str) -> tuple[dict[str, list[Sent]], dict[str, dict[str, Any]]]:
    """What is on the topics behind the input, and in the States."""
    topics: dict[str, list[Sent]] = {}
    states: dict[str, dict[str, Any]] = {}
    for name in counting.way.admin().names(prefix=counting.prefix):
        short = name[len(counting.prefix) :]
        state = name_of(name)
        if state is not None:
            values = Values(state[1], find("json"), objects=f"{own}/objects")
            states[state[1]] = _folded(name, values, counting.way)
        elif not short.startswith("."):
            records = Span(name, way=counting.way, start_ms=0, end_ms=_FOR_EVER_MS)
            first = len(given.topics.get(short, ()))
            made = [sent(record) for number, record in enumerate(records) if number >= first]
            if made:
                topics[short] = made
    return topics, states


def _folded(topic: str, stored: Values, way: Transport) -> dict[str, Any]:
    """The newest values of a State's log."""
    memories: dict[str, Memory] = {}
    values: dict[str, Any] = {}
    for record in Span(topic, way=way, start_ms=0, end_ms=_FOR_EVER_MS):
        try:
            mutation = decode_mutation(record.key(), record.value())
        except BadRecord:
            continue
        folded = fold(memories.get(mutation.key), mutation.step, record.offset())
        memories[mutation.key] = folded.memory
        if folded.applied and mutation.value is not None:
            values[mutation.key] = stored.decode(mutation.value)
        elif folded.applied:
            values.pop(mutation.key, None)
    return dict(sorted(values.items()))


def unfed(given: Given, counting: Counting) -> list[str]:
    """The topics that the script reads, of which it was given nothing and has sent nothing."""
    read = {topic for _, topic in counting.read}
    return sorted(
        topic[len(counting.prefix) :]
        for topic in read
        if topic[len(counting.prefix) :] not in given.topics and not counting.sent[topic]
    )
