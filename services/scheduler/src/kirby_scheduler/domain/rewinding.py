"""What the leader commits for a group that stands still, to move it back, on, or to where it was. Pure."""

from collections.abc import Mapping, Sequence

from kirby.rewinding import Mark, mark_of
from kirby_common.ledger.rewind_parts import Part, open_stretches
from kirby_common.ports import Commit, Place


def moved(
    rewind: str, parts: Sequence[Part], positions: Mapping[str, int], *, rate: float | None
) -> dict[Place, Commit]:
    """Where each part that is not at its end goes on, with what the SDK needs to know; the rate is shared by them."""
    left = open_stretches(parts, positions)
    share = 0.0 if rate is None or not left else rate / len(left)
    backs = {part.place: part.back for part in parts}
    return {
        place: Commit(here, Mark(rewind, to, max(backs[place] or to, to), share).text())
        for place, (here, to) in left.items()
    }


def stood(commits: Mapping[Place, Commit]) -> dict[Place, Commit]:
    """Where the group was before it was moved back, by the marks of a rewind that did not get any further."""
    marks = {place: mark_of(commit.metadata) for place, commit in commits.items()}
    return {place: commit if (mark := marks[place]) is None else Commit(mark.back) for place, commit in commits.items()}


def put_back(parts: Sequence[Part], commits: Mapping[Place, Commit]) -> dict[Place, Commit]:
    """Where each part was before; those that are past their end are live already and stay."""
    return {
        part.place: Commit(part.back)
        for part in parts
        if part.back is not None and part.to is not None and commits.get(part.place, Commit(0)).offset < part.to
    }
