"""The notebook in memory, for tests; it passes the suite that Postgres passes and is not in the wheel."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from uuid import UUID, uuid4

from kirby_common.clock import ManualClock

from kirby_notifier.domain.alerts import Alert
from kirby_notifier.domain.attempts import Next, Outcome, State
from kirby_notifier.domain.config import Entity, Gone, Group, Notification
from kirby_notifier.ports import Delivery, Due, Kind, LoggedAttempt


class MemoryNotebook:
    def __init__(self, clock: ManualClock | None = None) -> None:
        self.clock = clock or ManualClock()
        self._positions: dict[str, int] = {}
        self._groups: dict[UUID, Group] = {}
        self._notifications: dict[UUID, Notification] = {}
        self._noted: set[tuple[UUID, int]] = set()
        self._deliveries: dict[UUID, tuple[Delivery, str]] = {}

    async def project(self, entities: Sequence[tuple[int, Entity | None]], *, topic: str, upto: int) -> None:
        done = self._positions.get(topic, 0)
        for offset, entity in entities:
            if offset >= done and entity is not None:
                self._apply(entity)
        self._positions[topic] = max(done, upto)

    async def position(self, topic: str) -> int:
        return self._positions.get(topic, 0)

    async def reset_position(self, topic: str) -> None:
        self._positions.pop(topic, None)

    async def note(self, alerts: Sequence[Alert], *, kinds: frozenset[Kind]) -> int:
        before = len(self._deliveries)
        for alert in alerts:
            if (alert.source_id, alert.rev) not in self._noted:
                self._noted.add((alert.source_id, alert.rev))
                for kind, target, group in self._recipients(alert):
                    if kind in kinds:
                        self._add(alert, kind, target, group)
        return len(self._deliveries) - before

    async def claim(self, *, limit: int, lease: timedelta) -> Sequence[Due]:
        now = self.clock.now()
        ready = [d for d, _ in self._deliveries.values() if d.state == "pending" and d.next_at and d.next_at <= now]
        claimed = []
        for delivery in sorted(ready, key=lambda d: str(d.next_at))[:limit]:
            attempt = delivery.attempts + 1
            log = (*delivery.log, LoggedAttempt(attempt, now))
            self._change(replace(delivery, attempts=attempt, next_at=now + lease, log=log))
            body = self._deliveries[delivery.id][1]
            claimed.append(Due(delivery.id, delivery.kind, delivery.target, body, attempt))
        return claimed

    async def finish(self, due: Due, outcome: Outcome, *, then: Next, took: timedelta) -> None:
        delivery = self._deliveries[due.id][0]
        ms = round(took.total_seconds() * 1000)
        told = {"duration_ms": ms, "status": outcome.status, "error": outcome.error, "response": outcome.response}
        log = tuple(replace(e, **told) if e.attempt == due.attempt else e for e in delivery.log)  # type: ignore[arg-type]
        delivery = replace(delivery, log=log)
        if delivery.state == "pending" and (delivery.attempts == due.attempt or then.state == "delivered"):
            next_at = self.clock.now() + then.delay if then.state == "pending" else None
            delivery = replace(delivery, state=then.state, next_at=next_at)
        self._change(delivery)

    async def deliveries(
        self, *, state: State | None, run_id: UUID | None, before: UUID | None, limit: int
    ) -> Sequence[Delivery]:
        newest = [d for d, _ in reversed(self._deliveries.values())]
        if before is not None:
            newest = newest[[d.id for d in newest].index(before) + 1 :]
        return [d for d in newest if state in (None, d.state) and run_id in (None, d.run_id)][:limit]

    async def purge(self, *, older_than: timedelta) -> int:
        oldest = self.clock.now() - older_than
        gone = [d.id for d, _ in self._deliveries.values() if d.state != "pending" and d.created_at < oldest]
        for each in gone:
            del self._deliveries[each]
        return len(gone)

    def _apply(self, entity: Entity) -> None:
        match entity:
            case Group():
                self._groups[entity.id] = entity
            case Notification():
                self._notifications[entity.id] = entity
            case Gone(kind="notification-group", id=gone):
                self._groups.pop(gone, None)
            case Gone(id=gone):
                self._notifications.pop(gone, None)

    def _recipients(self, alert: Alert) -> list[tuple[Kind, str, str]]:
        told = [n for n in self._notifications.values() if n.context_id == alert.context_id]
        told = [n for n in told if (n.on_failure if alert.occasion == "on_failure" else n.on_retry)]
        found_groups = [self._groups[n.group_id] for n in told if n.group_id in self._groups]
        if alert.occasion == "suite":
            found_groups = [g for g in self._groups.values() if g.suite_alerts]
        groups = sorted(found_groups, key=lambda g: g.name)
        found: dict[tuple[Kind, str], str] = {}
        for group in groups:
            for target in sorted(group.webhooks):
                found.setdefault(("webhook", target), group.name)
            for target in sorted(group.emails):
                found.setdefault(("email", target), group.name)
        return [(kind, target, group) for (kind, target), group in found.items()]

    def _add(self, alert: Alert, kind: Kind, target: str, group: str) -> None:
        now, each = self.clock.now(), uuid4()
        delivery = Delivery(
            id=each, webhook_id=f"msg_{each.hex}", type=alert.type, run_id=alert.run_id, rev=alert.rev, job=alert.job,
            env=alert.env, kind=kind, target=target, group=group, state="pending", attempts=0, created_at=now,
            next_at=now,
        )  # fmt: skip
        self._deliveries[each] = (delivery, alert.body)

    def _change(self, delivery: Delivery) -> None:
        self._deliveries[delivery.id] = (delivery, self._deliveries[delivery.id][1])
