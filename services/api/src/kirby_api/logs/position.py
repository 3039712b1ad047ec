"""Where a reader is: per attempt the last line it got, or per partition the next offset. Pure."""

from kirby_api.problems import Invalid

Position = dict[int, tuple[int, int]]
"""grant → (seq, index) of the last line that was given."""

Offsets = dict[int, int]
"""partition → the next offset."""


def format_position(position: Position) -> str:
    return ",".join(f"{grant}.{seq}.{index}" for grant, (seq, index) in sorted(position.items()))


def parse_position(text: str) -> Position:
    """Raises `Invalid`."""
    try:
        made: Position = {}
        for part in text.split(","):
            grant, seq, index = part.split(".")
            made[int(grant)] = (int(seq), int(index))
    except ValueError as error:
        raise Invalid("Last-Event-ID is not one of this stream; leave it out to begin anew") from error
    return made


def format_offsets(offsets: Offsets) -> str:
    return ",".join(f"{partition}:{offset}" for partition, offset in sorted(offsets.items()))


def parse_offsets(text: str) -> Offsets:
    """Raises `Invalid`."""
    try:
        return {int(p): int(o) for p, o in (part.split(":") for part in text.split(","))}
    except ValueError as error:
        raise Invalid("Last-Event-ID is not one of this stream; leave it out to begin anew") from error


def parse_after(text: str | None, *, grant: int | None) -> tuple[int | None, int]:
    """`after` of a page: `N` counts in the grant that is asked for, `G.N` names it. Raises `Invalid`."""
    if not text:
        return grant, 0
    try:
        head, dot, tail = text.partition(".")
        return (int(head), int(tail)) if dot else (grant, int(head))
    except ValueError as error:
        raise Invalid(f"after: '{text}' is not a line's number nor GRANT.NUMBER") from error
