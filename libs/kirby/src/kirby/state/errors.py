"""What can go wrong with a State. All are `KirbyError`s, with one sentence.

Worth another try, after reading again: `StateConflict`. With time: `StateStale`. Not at all: the others.
"""

from kirby.errors import KirbyError


class StateError(KirbyError):
    """The root of a State's errors."""


class StateAbsent(StateError):
    """There is no such State, and it was not to be created."""

    def __init__(self, name: str, topic: str) -> None:
        super().__init__(f"There is no State {name!r} (topic {topic!r}): pass create=True to State, or set a key of it")
        self.name = name


class StateConflict(StateError):
    """The key has another version than `expect_version`; `version` is what it had then. Nothing was changed."""

    def __init__(self, name: str, key: str, *, expected: int | None, version: int) -> None:
        super().__init__(
            f"The key {key!r} of State {name!r} has version {version}, not {expected}: read it again and decide anew"
        )
        self.key = key
        self.expected = expected
        self.version = version


class VersionAbsent(StateError):
    """The key has, or had by then, no such version."""

    def __init__(self, name: str, key: str, what: str) -> None:
        super().__init__(f"The key {key!r} of State {name!r} has no {what}")
        self.key = key


class StateFenced(StateError):
    """Another attempt of this run has written to the key since: this one must end. Nothing was changed."""

    def __init__(self, name: str, key: str) -> None:
        super().__init__(
            f"The key {key!r} of State {name!r} was written by a later attempt of this run: this attempt must end"
        )
        self.key = key


class StateStale(StateError):
    """What is read here may be older than `fresh_within` allows, for Kafka could not be asked."""

    def __init__(self, name: str, seconds: float) -> None:
        super().__init__(f"State {name!r} could not be made sure of within {seconds:g} s: does Kafka answer?")


class StateStopped(StateError):
    """The State can't be read any further, and says why: an unknown rule, or a changed number of partitions."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"State {name!r} is not read any further: {reason}")


class NotWritten(StateError):
    """It is not known whether a mutation was written: Kafka took too long, or gave up. A later repeat does no harm."""

    def __init__(self, name: str, key: str, reason: str) -> None:
        super().__init__(f"Whether the key {key!r} of State {name!r} was written is not known: {reason}")
        self.key = key


class OwnerAbsent(NotWritten):
    """Nobody who owns the State has applied the command; it is not applied any more. Try again when its owner runs."""

    def __init__(self, name: str, key: str) -> None:
        reason = "its owner did not answer. Is the processor that owns it running?"
        super().__init__(name, key, reason)


class OwnedByAnother(StateError):
    """Another group owns the State: two would each decide versions for themselves."""

    def __init__(self, name: str, *, owner: str, group: str) -> None:
        super().__init__(
            f"State {name!r} is owned by the group {owner!r}, and so not by {group!r}: take another name,"
            f" or read the topic as its owner does, by Topic(…, group=…)"
        )
        self.owner = owner
        self.group = group


class NotOwned(StateError):
    """The key is in a partition that is not this process's, or not that of the message in hand."""

    def __init__(self, name: str, key: str, partition: int) -> None:
        super().__init__(
            f"The key {key!r} of the owned State {name!r} is in partition {partition}, which is not the message's:"
            " send the messages to the input topic with this key, or write to a shared State"
        )
        self.key = key


class OutsideTransaction(StateError):
    """An owned State is read and written by its owner within its topic's `exactly_once`, where its table is."""

    def __init__(self, name: str, topic: str) -> None:
        super().__init__(
            f"The owned State {name!r} is used within the exactly_once loop of its topic {topic!r};"
            f" elsewhere, use kirby.State({name!r})"
        )


class ValueLost(StateError):
    """A large value is not where it was kept, or not what it was."""

    def __init__(self, where: str, reason: str) -> None:
        super().__init__(f"A large value is not at {where} ({reason}): is KIRBY_OBJECTS_URL right?")


class InsideTransaction(StateError):
    """A shared State can't be written within `exactly_once`: its log has many writers, and so no part in it."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"State {name!r} is shared and can't be set within exactly_once: set it outside, or send to a Topic"
        )
