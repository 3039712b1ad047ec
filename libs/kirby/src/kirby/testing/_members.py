"""The consumer groups of Kafka in memory: who has which partition, and what was committed."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from kirby.transport import Position

Place = tuple[str, int]


class Member(Protocol):
    """What the coordinator knows of a receiver."""

    @property
    def topics(self) -> tuple[str, ...]: ...
    @property
    def name(self) -> str | None: ...


@dataclass
class Group:
    members: list[Member] = field(default_factory=list)
    holds: dict[Place, Member] = field(default_factory=dict)
    """Who has a partition, until they gave it back."""
    wants: dict[Place, Member] = field(default_factory=dict)
    """Who is to have it."""
    commits: dict[Place, Position] = field(default_factory=dict)


class Groups:
    """Not thread-safe: its users hold the cluster's lock. A partition changes hands in two steps, as in cooperative
    rebalancing: the old member lets go in its own `poll`, then the new one takes it in its own.
    """

    def __init__(self, width: Callable[[str], int]) -> None:
        self._width = width
        self._groups: dict[str, Group] = {}

    def of(self, name: str) -> Group:
        return self._groups.setdefault(name, Group())

    def join(self, group: str, member: Member) -> None:
        """A static member replaces the one of its name, and has its partitions at once."""
        these = self.of(group)
        for old in [m for m in these.members if m.name is not None and m.name == member.name]:
            these.members[these.members.index(old)] = member
            these.holds = {place: m for place, m in these.holds.items() if m is not old}
            break
        else:
            these.members.append(member)
        self._share(these)

    def leave(self, group: str, member: Member) -> None:
        these = self.of(group)
        these.members = [m for m in these.members if m is not member]
        these.holds = {place: m for place, m in these.holds.items() if m is not member}
        self._share(these)

    def topic_changed(self, topic: str) -> None:
        for group in self._groups.values():
            if any(topic in m.topics for m in group.members):
                self._share(group)

    def settle(self, group: str, member: Member) -> tuple[list[Place], list[Place]]:
        """What the member must let go of, and what it may take now."""
        these = self.of(group)
        gone = [place for place, m in these.holds.items() if m is member and these.wants.get(place) is not member]
        come = [place for place, m in these.wants.items() if m is member and place not in these.holds]
        return sorted(gone), sorted(come)

    def let_go(self, group: str, places: list[Place]) -> None:
        for place in places:
            self.of(group).holds.pop(place, None)

    def take(self, group: str, member: Member, places: list[Place]) -> None:
        self.of(group).holds |= dict.fromkeys(places, member)

    def _share(self, group: Group) -> None:
        """In turn by the order of joining, so that it is always alike."""
        group.wants = {}
        topics = sorted({topic for member in group.members for topic in member.topics})
        for topic in topics:
            members = [m for m in group.members if topic in m.topics]
            for number in range(self._width(topic)):
                group.wants[topic, number] = members[number % len(members)]
