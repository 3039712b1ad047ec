"""How a shadow compares with the originals, as sentences."""

from collections.abc import Iterator, Mapping
from typing import Any

_LONGEST = 100
_KINDS = {
    "changed": "changed",
    "only_original": "only in the original",
    "only_shadow": "only in the shadow",
}


def sentences(comparison: Mapping[str, Any]) -> Iterator[str]:
    """One line for each topic and State, and below it a few examples of what differs."""
    for topic in comparison["topics"]:
        yield f"{topic['topic']}: {_counts(topic)}"
        yield from (line for example in topic["examples"] for line in _messages(example))
    for state in comparison["states"]:
        yield f"State {state['state']}: {_counts(state)}"
        yield from (line for example in state["examples"] for line in _values(example))
    if not comparison["topics"] and not comparison["states"]:
        yield "Nothing was made, in the shadow or before."


def _counts(one: Mapping[str, Any]) -> str:
    others = (f"{one[kind]} {name}" for kind, name in _KINDS.items() if kind in one)
    return ", ".join([f"{one['same']} the same", *others])


def _messages(example: Mapping[str, Any]) -> Iterator[str]:
    key = "without a key" if example["key"] is None else f"key {example['key']}"
    yield f"  {_KINDS[example['kind']]}: {key}"
    for side in ("original", "shadow"):
        if example[side] is not None:
            yield f"    {side} {example[side]['place']}: {_cut(example[side]['value'])}"


def _values(example: Mapping[str, Any]) -> Iterator[str]:
    yield f"  {_KINDS[example['kind']]}: key {example['key']}"
    for side in ("original", "shadow"):
        if example["kind"] == "changed" or side == "shadow":
            yield f"    {side}: {_cut(example[side])}"


def _cut(value: str | None) -> str:
    if value is None:
        return "(deleted)"
    return value if len(value) <= _LONGEST else f"{value[:_LONGEST]}…"
