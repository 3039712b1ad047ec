"""What rewinds ask of Kafka."""

from collections.abc import Callable

from kirby_common.ports import Groups

GroupsOf = Callable[[str | None], Groups]
"""The groups of the cluster with these bootstrap servers; None is the suite's own."""
