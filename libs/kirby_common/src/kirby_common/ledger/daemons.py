"""Daemons as the ledger has them: their slots with the runs, workers and offsets that say how they are."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any
from uuid import UUID

from sqlalchemy import text, update

from kirby_common.ledger.contexts import pause_reason
from kirby_common.ledger.health import DaemonFacts, Progress, SlotFacts, SlotState
from kirby_common.ledger.outbox import Tx
from kirby_common.ledger.policies import merged
from kirby_common.ledger.tables import DaemonSlot

_slots = DaemonSlot.__table__

_SELECT = """
SELECT c.id AS context_id, c.state AS context_state, c.state_reason, c.paused, c.pause_reason, c.paused_by,
       c.replicas, c.per_worker, c.pool, c.policies AS context_policies,
       j.name AS job, j.namespace, j."group", j.exclusive, j.kafka, j.policies AS job_policies,
       e.name AS env, e.paused AS env_paused, e.pause_reason AS env_pause_reason,
       e.paused_by AS env_paused_by, j.paused AS job_paused, j.pause_reason AS job_pause_reason,
       j.paused_by AS job_paused_by, e.topic_prefix,
       e.kafka_bootstrap_servers, s.package_name, s.package_version,
       p.lag, p.moved_at, p.sampled_at,
       d.slot, d.state, d.wanted, d.generation, d.restarts, d.crashes, d.not_before, d.up_since, d.run_id,
       d.old_run_id, r.status AS run_status, r.reason AS run_reason, r.worker, r.package_version AS run_version,
       o.status AS old_status, w.last_beat_at AS beat_at,
       (SELECT z.state FROM rewinds z WHERE z.context_id = c.id AND z.mode = 'in-place'
        AND z.state IN ('draining', 'paused')) AS rewind
FROM contexts c
JOIN jobs j ON j.id = c.job_id
JOIN environments e ON e.id = c.environment_id
LEFT JOIN scripts s ON s.id = c.script_id
LEFT JOIN daemon_progress p ON p.context_id = c.id
LEFT JOIN daemon_slots d ON d.context_id = c.id
LEFT JOIN runs r ON r.id = d.run_id
LEFT JOIN runs o ON o.id = d.old_run_id
LEFT JOIN workers w ON w.name = r.worker
WHERE j.type = 'daemon' AND (CAST(:context AS uuid) IS NULL OR c.id = :context)
ORDER BY j.name, e.name, d.slot
"""


@dataclass(frozen=True)
class SlotRow:
    """A replica: what decides how it is, and what people want to know besides."""

    facts: SlotFacts
    generation: int
    restarts: int
    version: str | None
    run_id: UUID | None
    old_run_id: UUID | None


@dataclass(frozen=True)
class DaemonRow:
    context_id: UUID
    job: str
    env: str
    namespace: str
    group: str | None
    exclusive: bool
    kafka: str
    kafka_bootstrap_servers: str | None
    topic_prefix: str
    version: str | None
    facts: DaemonFacts
    slots: Sequence[SlotRow]

    @property
    def group_name(self) -> str:
        """The consumer group as the script sees it: the job's, or the SDK's default."""
        return self.topic_prefix + self.group if self.group else f"{self.job}@{self.env}"


async def load(tx: Tx, *, context_id: UUID | None = None) -> list[DaemonRow]:
    """All daemons, or the one of a context, by job and environment."""
    rows = (await tx.execute(text(_SELECT), {"context": context_id})).mappings().all()
    return [_daemon([dict(r) for r in part]) for _, part in groupby(rows, key=lambda r: r["context_id"])]


async def restart(tx: Tx, context_id: UUID, *, slot: int | None = None) -> int:
    """Asks for a new generation of the daemon's replicas, or of one; returns of how many."""
    mine = (_slots.c.context_id == context_id) & (_slots.c.state != SlotState.DOWN)
    if slot is not None:
        mine &= _slots.c.slot == slot
    asked = await tx.execute(update(_slots).where(mine).values(renew=True, rev=_slots.c.rev + 1))  # type: ignore[arg-type]
    count: int = asked.rowcount  # type: ignore[attr-defined]
    return count


def _daemon(rows: list[dict[str, Any]]) -> DaemonRow:
    first = rows[0]
    slots = [_slot(r) for r in rows if r["slot"] is not None]
    exclusive = first["group"] is None if first["exclusive"] is None else first["exclusive"]
    facts = DaemonFacts(
        replicas=sum(s.facts.wanted for s in slots) if first["per_worker"] else first["replicas"],
        slots=[s.facts for s in slots],
        policies=merged(first["job_policies"], first["context_policies"]),
        progress=None if first["lag"] is None else Progress(first["lag"], first["moved_at"], first["sampled_at"]),
        off=_off(first),
    )
    return DaemonRow(
        context_id=first["context_id"], job=first["job"], env=first["env"], namespace=first["namespace"],
        group=first["group"], exclusive=exclusive, kafka=first["kafka"],
        kafka_bootstrap_servers=first["kafka_bootstrap_servers"], topic_prefix=first["topic_prefix"],
        version=first["package_version"], facts=facts, slots=slots,
    )  # fmt: skip


def _off(row: dict[str, Any]) -> str | None:
    paused = pause_reason(row)
    if paused is not None:
        return paused
    if row["rewind"] is not None:
        return f"its rewind is {row['rewind']}"
    if row["context_state"] == "enabled":
        return None
    if row["context_state"] == "enabling" and any(row[name] for name in ("run_id", "old_run_id")):
        return None
    state: str = row["context_state"]
    return f"{state} ({row['state_reason']})" if row["state_reason"] else state


def _slot(row: dict[str, Any]) -> SlotRow:
    up_since: datetime | None = row["up_since"]
    facts = SlotFacts(
        slot=row["slot"], state=SlotState(row["state"]), wanted=row["wanted"], run_status=row["run_status"],
        old_status=row["old_status"], crashes=row["crashes"], reason=row["run_reason"], not_before=row["not_before"],
        up_since=up_since, worker=row["worker"], beat_at=row["beat_at"],
    )  # fmt: skip
    return SlotRow(facts, row["generation"], row["restarts"], row["run_version"], row["run_id"], row["old_run_id"])
