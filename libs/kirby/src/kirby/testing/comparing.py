"""Compares what a script left with what a case expects, and says in few lines where they differ."""

import difflib
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePath
from typing import Any

from kirby.testing.case import Case
from kirby.testing.folders import Sent, pretty
from kirby.testing.running import Outcome

_MOST = 5
_CONTEXT = 3


def problems(case: Case, outcome: Outcome) -> list[str]:
    """What is not as expected, each in one or more lines; nothing when all is."""
    if outcome.ran.hung:
        return [f"it did not end within {case.given.timeout_s:g} s:\n{outcome.ran.trace}"]
    found = list(_ended(case, outcome)) + [
        f"it reads the topic {topic!r}, and there is no folder topics/{topic}" for topic in outcome.unfed
    ]
    found += [f"it did not make the call of {one.where}" for one in outcome.calls.unused()]
    if not case.compares:
        return found
    for topic in sorted({*case.expected.topics, *outcome.topics}):
        found += topic_problems(case, topic, outcome.topics.get(topic, ()))
    found += _states(case, outcome)
    found += _files(case, outcome)
    found += _output(case, outcome)
    return found


def _ended(case: Case, outcome: Outcome) -> Iterator[str]:
    if outcome.exit_code != case.expected.exit_code:
        told = f"it ended with exit code {outcome.exit_code}, and {case.expected.exit_code} was expected"
        detail = outcome.ran.trace or outcome.output.rstrip()
        yield f"{told}:\n{detail}" if detail else told


def topic_problems(case: Case, topic: str, came: Sequence[Sent]) -> list[str]:
    """Of one topic: messages that differ, are missing, or are more than expected."""
    expected = case.expected.topics.get(topic, ())
    pairs, missing, extra = (_by_key if case.ordered else _in_any_order)(case, expected, came)
    found = []
    for wanted, got in pairs:
        want, have = shown(wanted, wanted, case.ignore), shown(got, wanted, case.ignore)
        if want != have:
            found.append(f"{_name(wanted, topic)} differs:\n{diff(pretty(want), pretty(have))}")
    found += [f"topics/{topic}: {_name(one, topic)} did not come" for one in missing]
    found += [f"topics/{topic}: a message more than expected:\n+ {_one_line(one)}" for one in extra]
    return found if len(found) <= _MOST else [*found[:_MOST], f"topics/{topic}: and {len(found) - _MOST} more"]


Matched = tuple[list[tuple[Sent, Sent]], list[Sent], list[Sent]]
"""Pairs (expected, came), what did not come, what came besides."""


def _by_key(case: Case, expected: Sequence[Sent], came: Sequence[Sent]) -> Matched:
    """The n-th message of a key with the n-th of that key: among keys there is no order."""
    queues: dict[str | None, list[Sent]] = defaultdict(list)
    for one in came:
        queues[one.key].append(one)
    pairs, missing = [], []
    for wanted in expected:
        if queues[wanted.key]:
            pairs.append((wanted, queues[wanted.key].pop(0)))
        else:
            missing.append(wanted)
    left = {id(one) for queue in queues.values() for one in queue}
    return pairs, missing, [one for one in came if id(one) in left]


def _in_any_order(case: Case, expected: Sequence[Sent], came: Sequence[Sent]) -> Matched:
    """Equal ones first; what is left over is missing, or more than expected."""
    left, missing = list(came), []
    for wanted in expected:
        want = shown(wanted, wanted, case.ignore)
        number = next((n for n, got in enumerate(left) if shown(got, wanted, case.ignore) == want), None)
        if number is None:
            missing.append(wanted)
        else:
            left.pop(number)
    return [], missing, left


def shown(message: Sent, expected: Sent, ignore: Sequence[str]) -> dict[str, Any]:
    """What is compared of a message: without the time, where the expected one has none, and without `ignore`."""
    made = message.as_json()
    if expected.timestamp is None:
        made.pop("timestamp", None)
    for path in ignore:
        made = _without(made, path.split("."))
    return made


def _without(value: Any, path: Sequence[str]) -> Any:
    if not isinstance(value, dict) or path[0] not in value:
        return value
    if len(path) == 1:
        return {name: inner for name, inner in value.items() if name != path[0]}
    return value | {path[0]: _without(value[path[0]], path[1:])}


def _states(case: Case, outcome: Outcome) -> list[str]:
    found = []
    for name in sorted({*case.expected.states, *outcome.states}):
        came = outcome.states.get(name, {})
        # A State that stays as it was given needs no expectation.
        wanted = case.expected.states.get(name, case.given.states.get(name, {}))
        if wanted != came:
            found.append(f"states/{name}.json differs:\n{diff(_sorted(wanted), _sorted(came))}")
    return found


def _files(case: Case, outcome: Outcome) -> list[str]:
    found = []
    for name in sorted({*case.expected.files, *outcome.files}):
        wanted, came = case.expected.files.get(name), outcome.files.get(name)
        if wanted is None:
            found.append(f"files/{name}: a file more than expected")
        elif came is None:
            found.append(f"files/{name} was not written")
        elif wanted != came:
            found.append(f"files/{name} differs:\n{_bytes_diff(wanted, came)}")
    return found


def _bytes_diff(wanted: bytes, came: bytes) -> str:
    try:
        return diff(wanted.decode(), came.decode())
    except UnicodeDecodeError:
        return f"- {len(wanted)} bytes\n+ {len(came)} bytes"


def _output(case: Case, outcome: Outcome) -> list[str]:
    wanted = case.expected.output
    if wanted is None or output_fits(wanted, outcome.output):
        return []
    return [f"output.txt differs:\n{diff(wanted, outcome.output)}"]


def output_fits(wanted: str, came: str) -> bool:
    """Whether an output is the wanted one, in which `…` stands for anything, and alone on a line for any lines.

    >>> output_fits("… primes below 100\\n", "25 primes below 100\\n")
    True
    """
    pattern = ""
    for line in wanted.rstrip().splitlines():
        if line.strip() == "…":
            pattern += r"(?:.*\n)*?"
        else:
            pattern += ".*".join(map(re.escape, line.rstrip().split("…"))) + r"[ \t]*\n"
    return re.fullmatch(pattern, came.rstrip() + "\n" if came.strip() else "") is not None


def diff(wanted: str, came: str) -> str:
    """Lines with `-` were expected, lines with `+` came instead."""
    lines = difflib.unified_diff(wanted.splitlines(), came.splitlines(), lineterm="", n=_CONTEXT)
    return "\n".join(
        f"{line[0]} {line[1:]}" if not line.startswith("@@") else "  …"
        for number, line in enumerate(lines)
        if number > 1 and not (number == 2 and line.startswith("@@"))
    )


def _sorted(value: Mapping[str, Any]) -> str:
    return pretty(dict(sorted(value.items())))


def _one_line(message: Sent) -> str:
    made = message.as_json()
    made.pop("timestamp", None)
    text = " ".join(pretty(made).split())
    return text if len(text) <= 300 else f"{text[:300]} …"


def _name(message: Sent, topic: str) -> str:
    """The last parts of the file's name: `001.json`, `messages.jsonl:3`."""
    return f"expected/topics/{topic}/{PurePath(message.where).name}" if message.where else f"topics/{topic}"
