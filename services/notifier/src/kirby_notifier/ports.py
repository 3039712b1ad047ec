"""What the notifier needs of the outside. Postgres and the fake in `kirby_notifier.testing` pass one suite."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal, Protocol
from uuid import UUID

from kirby_notifier.domain.alerts import Alert
from kirby_notifier.domain.attempts import Next, Outcome, State
from kirby_notifier.domain.config import Entity

Kind = Literal["webhook", "email"]


@dataclass(frozen=True)
class Recipient:
    kind: Kind
    target: str
    group: str


@dataclass(frozen=True)
class Due:
    """A delivery that is to be attempted now; `attempt` counts from 1."""

    id: UUID
    kind: Kind
    target: str
    body: str
    attempt: int

    @property
    def message_id(self) -> str:
        """The same in every attempt: receivers recognise a repetition by it."""
        return f"msg_{self.id.hex}"


@dataclass(frozen=True)
class LoggedAttempt:
    """`status`, `error` and `duration_ms` are all None when the notifier ended before it knew."""

    attempt: int
    at: datetime
    duration_ms: int | None = None
    status: int | None = None
    error: str | None = None
    response: str | None = None


@dataclass(frozen=True)
class Delivery:
    id: UUID
    webhook_id: str
    type: str
    run_id: UUID | None
    rev: int
    job: str | None
    env: str | None
    kind: Kind
    target: str
    group: str
    state: State
    attempts: int
    created_at: datetime
    next_at: datetime | None
    log: Sequence[LoggedAttempt] = field(default_factory=tuple)


class Notebook(Protocol):
    """The projected configuration and the deliveries. Any method may raise the store's connection errors."""

    async def project(self, entities: Sequence[tuple[int, Entity | None]], *, topic: str, upto: int) -> None:
        """Applies what lies at offsets not applied before, and remembers `upto` as the next offset, in one
        transaction. Concurrent callers are put in order."""
        ...

    async def position(self, topic: str) -> int:
        """The next offset of the topic's only partition to be projected; 0 at first."""
        ...

    async def reset_position(self, topic: str) -> None:
        """The topic was made anew: projection starts at 0 again."""
        ...

    async def note(self, alerts: Sequence[Alert], *, kinds: frozenset[Kind]) -> int:
        """Makes a pending delivery for each recipient of each alert that was not noted before, by
        (source id, rev); returns how many. In one transaction.

        Recipients are the groups that are notified of the context on that occasion; on the occasion `suite` those
        that take the suite's alerts.
        """
        ...

    async def claim(self, *, limit: int, lease: timedelta) -> Sequence[Due]:
        """Deliveries whose time has come, counted as attempted; no one else gets them for `lease`.

        One whose claimer died is due again when its lease is over.
        """
        ...

    async def finish(self, due: Due, outcome: Outcome, *, then: Next, took: timedelta) -> None:
        """Writes what came of an attempt. Ignored when a later attempt has begun, unless it was delivered."""
        ...

    async def deliveries(
        self, *, state: State | None, run_id: UUID | None, before: UUID | None, limit: int
    ) -> Sequence[Delivery]:
        """With their logs, newest first; those older than the delivery `before`."""
        ...

    async def purge(self, *, older_than: timedelta) -> int:
        """Forgets ended deliveries and noted alerts of long ago."""
        ...


class Courier(Protocol):
    """Carries a message to one kind of target."""

    async def deliver(self, due: Due) -> Outcome:
        """Never raises for what the target does or is; takes at most the configured timeout."""
        ...


Couriers = Mapping[Kind, Courier]
