"""A State's records: mutations in its log, memories in its `.latest` topic. Pure bytes in and out.

Both are a line of JSON, then the value's bytes as they are: readable with any tool, and cheap to pass on unread.

    {"rule":"fold/1","op":"set","process":"…","n":7,"by":"weather@prod","of":4}
    {"celsius":11.4}

The key is the record's key, as UTF-8. A value that is not JSON has its content type in the field `type`. A record that
is not one of these is skipped, by rule; one whose rule has a name that is not known stops the reader (`UnknownRule`).
Fields that are not known are passed over.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from kirby.state.rule import RULE, Entry, Memory, Op, Outcome, Step, Verdict, Writer

JSON = "application/json"
MAX_KEY_BYTES = 1024
POSITION_KEY = b""
"""In `.latest`: the record that says up to which offset of the log's partition the topic has been folded."""
OWNER_KEY = b"\0owner"
"""In an owned State's log: the record that says which group owns it. It is no mutation, so the rule skips it."""
LOG_CONFIG = {"retention.ms": "-1", "message.timestamp.type": "LogAppendTime"}
"""What the log's topic must be: kept for ever, dated by the broker."""
COMMANDS_CONFIG = {"retention.ms": "86400000", "message.timestamp.type": "LogAppendTime"}
"""What the topic with the commands to an owner must be: dated by the broker."""
COMMAND_MS = 10_000
"""So long after its append an owner applies a command, and never later: its sender has given it up by then."""
LATEST_CONFIG = {"cleanup.policy": "compact", "max.message.bytes": "2097152"}
_NAME = re.compile(r"[a-z0-9]([a-z0-9-]{0,98}[a-z0-9])?")
_FAMILY = ".kirby.state."


class UnknownRule(ValueError):
    """The log was written by a rule that this version of Kirby does not know: nothing after it can be folded."""

    def __init__(self, name: str) -> None:
        super().__init__(f"the State's log has the rule {name!r}, which this version does not know: update kirby")
        self.name = name


class BadRecord(ValueError):
    """A record that is not a mutation; readers skip it."""


class BadName(ValueError):
    """A State's name or key that can't be one."""


@dataclass(frozen=True, slots=True)
class Value:
    """A value as it is stored, and its content type.

    `stored`: the data is a reference to an object, by its hash, instead of the value itself.
    """

    data: bytes
    content_type: str = JSON
    stored: bool = False


@dataclass(frozen=True, slots=True)
class Mutation:
    """A record of the log. `value` is None for what leaves none. `of`: the log's partitions as its writer knew them.

    `by`: a job in its environment, a user, or whoever else; `inputs`: what it was made from, `topic partition:offset`.
    """

    key: str
    op: Op
    writer: Writer
    n: int
    of: int
    by: str = ""
    value: Value | None = None
    expect: int | None = None
    restores: int | None = None
    rerun: bool = False
    inputs: tuple[str, ...] = ()

    @property
    def step(self) -> Step:
        """What the rule looks at."""
        return Step(
            writer=self.writer,
            n=self.n,
            op=self.op,
            expect=self.expect,
            restores=self.restores,
            leaves_value=self.value is not None,
        )


@dataclass(frozen=True, slots=True)
class Latest:
    """A record of `.latest`: a key's memory, its value, and who made that value when (`at_ms`, the append time)."""

    memory: Memory
    value: Value | None
    by: str
    at_ms: int


def log_topic(name: str, *, prefix: str = "") -> str:
    """The topic with a State's truth. Raises BadName."""
    return f"{prefix}{_FAMILY}{checked_name(name)}.log"


def latest_topic(name: str, *, prefix: str = "") -> str:
    """The compacted topic that readers start from. Raises BadName."""
    return f"{prefix}{_FAMILY}{checked_name(name)}.latest"


def commands_topic(name: str, *, prefix: str = "") -> str:
    """The topic in which others ask an owned State's owner for mutations; a shared one has none. Raises BadName."""
    return f"{prefix}{_FAMILY}{checked_name(name)}.commands"


def name_of(topic: str) -> tuple[str, str] | None:
    """The (prefix, name) of a State's log; None for another topic."""
    prefix, family, rest = topic.rpartition(_FAMILY)
    name = rest.removesuffix(".log")
    return (prefix, name) if family and name != rest and _NAME.fullmatch(name) else None


def checked_name(name: str) -> str:
    """The name. Raises BadName."""
    if not _NAME.fullmatch(name):
        raise BadName(f"{name!r} can't be the name of a State: use a-z, 0-9 and -, 100 characters at most")
    return name


def encode_key(key: object) -> bytes:
    """The key's bytes. Raises TypeError for what is not text, BadName for text that can't be a key."""
    if not isinstance(key, str):
        raise TypeError(f"a State's keys are text, and {key!r} is a {type(key).__name__}: write str(…)")
    try:
        data = key.encode()
    except UnicodeEncodeError:
        raise BadName(f"{key!r} can't be a State's key: it is not valid Unicode") from None
    if not 0 < len(data) <= MAX_KEY_BYTES or "\0" in key:
        raise BadName(f"{key[:40]!r} can't be a State's key: 1 to {MAX_KEY_BYTES} bytes, and none of them 0")
    return data


def encode_mutation(mutation: Mutation) -> bytes:
    """The record's value; its key is `encode_key(mutation.key)`."""
    run, grant, process = mutation.writer
    line: dict[str, Any] = {"rule": RULE, "op": mutation.op.value, "process": process, "n": mutation.n}
    if run:
        line |= {"run": run, "grant": grant}
    if mutation.expect is not None:
        line["expect"] = mutation.expect
    if mutation.restores is not None:
        line["restores"] = mutation.restores
    if mutation.rerun:
        line["rerun"] = True
    if mutation.inputs:
        line["inputs"] = mutation.inputs
    return _joined(line | {"by": mutation.by, "of": mutation.of}, mutation.value)


def decode_mutation(key: bytes | None, data: bytes | None) -> Mutation:
    """Raises BadRecord, or UnknownRule."""
    line, value = _parted(data)
    try:
        text = (key or b"").decode()
        encode_key(text)
        op = Op(line["op"])
        restores = line.get("restores")
        made = Mutation(
            key=text,
            op=op,
            writer=_writer(line),
            n=_natural(line["n"]),
            of=_natural(line["of"]),
            by=str(line.get("by", "")),
            value=value,
            expect=_maybe_natural(line.get("expect")),
            restores=_maybe_natural(restores),
            rerun=line.get("rerun") is True,
            inputs=tuple(map(str, line.get("inputs") or ())),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise BadRecord(f"not a mutation: {error}") from error
    if (op is Op.RESTORE) != (restores is not None) or (op is not Op.RESTORE and (op is Op.SET) != (value is not None)):
        raise BadRecord(f"a {op.value} that is not one")
    return made


def encode_latest(latest: Latest) -> bytes:
    """The value of a key's record in `.latest`."""
    line = {
        "rule": RULE,
        **memory_form(latest.memory),
        "by": latest.by,
        "at": latest.at_ms,
    }
    return _joined(line, latest.value)


def decode_latest(data: bytes | None) -> Latest:
    """Raises BadRecord, or UnknownRule."""
    line, value = _parted(data)
    try:
        return Latest(memory_from(line), value, str(line["by"]), _natural(line["at"]))
    except (KeyError, TypeError, ValueError) as error:
        raise BadRecord(f"not a memory: {error}") from error


def encode_owner(group: str) -> bytes:
    """The value of the record at `OWNER_KEY`."""
    return orjson.dumps({"owner": group})


def decode_owner(data: bytes | None) -> str:
    """The group. Raises BadRecord."""
    try:
        return str(orjson.loads(data or b"")["owner"])
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise BadRecord(f"not an owner: {error}") from error


def encode_position(next_offset: int) -> bytes:
    """The value of the record at `POSITION_KEY`: every mutation below `next_offset` is folded into the topic."""
    return _joined({"rule": RULE, "next": next_offset}, None)


def decode_position(data: bytes | None) -> int:
    """Raises BadRecord, or UnknownRule."""
    line, _ = _parted(data)
    try:
        return _natural(line["next"])
    except (KeyError, TypeError, ValueError) as error:
        raise BadRecord(f"not a position: {error}") from error


def memory_form(memory: Memory) -> dict[str, Any]:
    """A memory as JSON."""
    return {
        "version": memory.version,
        "offset": memory.offset,
        "value_offset": memory.value_offset,
        "recent": [[*e.writer, e.n, e.outcome.verdict.value, e.outcome.version] for e in memory.recent],
    }


def memory_from(form: Mapping[str, Any]) -> Memory:
    """Raises KeyError, TypeError or ValueError for what is not one."""
    return Memory(
        version=_natural(form["version"]),
        offset=_natural(form["offset"]),
        value_offset=_maybe_natural(form["value_offset"]),
        recent=tuple(_entry(*entry) for entry in form["recent"]),
    )


def _entry(run: str, grant: int, process: str, n: int, verdict: str, version: int) -> Entry:
    return Entry(Writer(run, grant, process), n, Outcome(Verdict(verdict), version))


def _writer(line: Mapping[str, Any]) -> Writer:
    run, process = line.get("run", ""), line["process"]
    if not isinstance(run, str) or not isinstance(process, str) or not process:
        raise ValueError("a writer without a process")
    return Writer(run, _natural(line.get("grant", 0)), process)


def _joined(line: dict[str, Any], value: Value | None) -> bytes:
    if value is None:
        return orjson.dumps(line)
    if value.content_type != JSON:
        line["type"] = value.content_type
    if value.stored:
        line["stored"] = True
    return orjson.dumps(line) + b"\n" + value.data


def _parted(data: bytes | None) -> tuple[dict[str, Any], Value | None]:
    """The line, and the value behind it. The rule's name is looked at before anything else is."""
    head, newline, rest = (data or b"").partition(b"\n")
    try:
        line = orjson.loads(head)
        rule = line["rule"]
    except (orjson.JSONDecodeError, KeyError, TypeError) as error:
        raise BadRecord(f"not a record of a State: {error}") from error
    if not isinstance(line, dict) or not isinstance(rule, str):
        raise BadRecord("not a record of a State: it names no rule")
    if rule != RULE:
        raise UnknownRule(rule)
    content_type, stored = line.get("type", JSON), line.get("stored", False)
    if not isinstance(content_type, str) or not isinstance(stored, bool):
        raise BadRecord("a value of no type")
    return line, Value(rest, content_type, stored) if newline else None


def _natural(number: Any) -> int:
    if not isinstance(number, int) or isinstance(number, bool) or number < 0:
        raise ValueError(f"{number!r} is not a number from 0")
    return number


def _maybe_natural(number: Any) -> int | None:
    return None if number is None else _natural(number)
