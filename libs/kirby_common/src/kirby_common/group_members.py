"""Who is in a consumer group: the SDK in a daemon's slot, or somebody else. Pure."""

from collections.abc import Sequence

from kirby_common.ports import GroupMember

_UUID = len("-00000000-0000-0000-0000-000000000000")


def static_names(members: Sequence[GroupMember], group: str) -> list[str]:
    """The names of the SDK's members in a daemon's slot: `group.slot.topic`, before a hyphen and a UUID."""
    names = (member.id[:-_UUID] for member in members)
    return sorted(name for name in names if name.startswith(f"{group}."))


def strangers(members: Sequence[GroupMember], group: str) -> list[GroupMember]:
    """The members that are not the SDK's in a daemon's slot."""
    return [member for member in members if not member.id.startswith(f"{group}.")]
