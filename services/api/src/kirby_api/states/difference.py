"""What differs between two values of JSON, place by place. Pure."""

from collections.abc import Iterator
from typing import Any, Literal

from pydantic import BaseModel

MOST = 1000


class Difference(BaseModel):
    """One place: `path` is a JSON pointer (RFC 6901), "" for the whole value."""

    path: str
    what: Literal["added", "removed", "changed"]
    before: Any = None
    after: Any = None


def differences(before: Any, after: Any) -> list[Difference]:
    """At most MOST of them, in the order of the values; lists are compared place by place."""
    found: list[Difference] = []
    for difference in _walk(before, after, ""):
        if len(found) == MOST:
            break
        found.append(difference)
    return found


def _walk(before: Any, after: Any, path: str) -> Iterator[Difference]:
    if isinstance(before, dict) and isinstance(after, dict):
        yield from _parts(before, after, path, [*before, *(name for name in after if name not in before)])
    elif isinstance(before, list) and isinstance(after, list):
        yield from _parts(dict(enumerate(before)), dict(enumerate(after)), path, range(max(len(before), len(after))))
    elif type(before) is not type(after) or before != after:
        yield Difference(path=path, what="changed", before=before, after=after)


def _parts(before: dict[Any, Any], after: dict[Any, Any], path: str, names: Any) -> Iterator[Difference]:
    for name in names:
        inner = f"{path}/{str(name).replace('~', '~0').replace('/', '~1')}"
        if name not in after:
            yield Difference(path=inner, what="removed", before=before[name])
        elif name not in before:
            yield Difference(path=inner, what="added", after=after[name])
        else:
            yield from _walk(before[name], after[name], inner)
