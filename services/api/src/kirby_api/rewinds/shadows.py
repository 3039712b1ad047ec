"""Rewinds in shadow: which are refused, what is said before one begins, and what its own runs may tell and ask."""

from collections.abc import Sequence
from uuid import UUID

from kirby.shadowing import names
from kirby_common.group_members import static_names
from kirby_common.ledger.rewinds import RewindRow
from kirby_common.ledger.tables import LineageProcess
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncSession

from kirby_api.access.permissions import Caller
from kirby_api.problems import Conflict, Forbidden, Invalid
from kirby_api.rewinds.downstream import Touched
from kirby_api.rewinds.targets import Target, is_up
from kirby_api.rewinds.view import ToldProcess

_OWNED = text(
    "SELECT DISTINCT l.name FROM state_logs l JOIN lineage_edges x ON x.kind = 'state' AND x.name = l.name"
    " WHERE l.owned AND l.prefix = :prefix AND x.job = :job AND x.env = :env AND x.direction = 'out' ORDER BY l.name"
)


def refuse_without_sdk(target: Target) -> None:
    """Raises `Conflict` unless it is seen to read by the SDK: a script without it would write to the originals."""
    daemon = target.daemon
    if not is_up(daemon):
        raise Conflict(
            f"{daemon.job} in {daemon.env} is not up, so that it can't be seen whether it works by Kirby's SDK; without"
            " it a run in shadow would write to the originals: start it first"
        )
    if not static_names(target.look.members, daemon.group_name):
        raise Conflict(
            f"{daemon.job} in {daemon.env} does not read by Kirby's SDK, or has just begun: a script without it would"
            " write to the originals, with live effect; rewind it in place, or try again in a moment"
        )


async def refuse(db: AsyncSession, target: Target, outputs: Sequence[str]) -> None:
    """Raises `Invalid` for what has no room beside it, `Conflict` for what can only be worked on in place."""
    daemon = target.daemon
    long = [name for name in outputs if names.is_too_long(name, prefix=daemon.topic_prefix)]
    if long:
        raise Invalid(f"{long[0]} has too long a name for a topic beside it: rewind {daemon.job} in place")
    asked = {"prefix": daemon.topic_prefix, "job": daemon.job, "env": daemon.env}
    owned = (await db.execute(_OWNED, asked)).scalars().all()
    if owned:
        raise Conflict(
            f"{daemon.job} owns the State {', '.join(owned)}, which a run in shadow can't work beside: rewind it in"
            " place"
        )


def warnings(target: Target, touched: Touched) -> list[str]:
    """What somebody should know before it begins."""
    daemon = target.daemon
    told = [
        "what the script writes without Kirby's SDK is not kept apart; side effects are held back as in every re-run",
        "a State that it reads has the values of now, not those of then",
    ]
    others = sorted({topic for topic, _ in target.look.commits} - {topic for topic, _ in target.commits})
    if others:
        told.append(
            f"{daemon.job} reads {', '.join(others)}, too, of which a run in shadow gets nothing: name the job in place"
            " of the topic to have all"
        )
    if not touched.written:
        told.append(
            f"{daemon.job} was never seen to send anything, so that it is not known what there will be to compare"
        )
    return told


def require_own_run(row: RewindRow, caller: Caller) -> UUID:
    """The run that asks, which is the rewind's own. Raises `Forbidden`."""
    if caller.run_id is None or row.run_id != caller.run_id:
        raise Forbidden(f"{caller.name} is not a run of rewind {row.id}")
    return caller.run_id


async def processes(db: AsyncSession, asked: Sequence[str]) -> list[ToldProcess]:
    """What these have announced of themselves, as far as that is recorded."""
    of = LineageProcess.process.in_([bytes.fromhex(process) for process in asked])
    return [
        ToldProcess(process=found.process.hex(), job=found.job, env=found.env, reads=found.reads)
        for found in await db.scalars(select(LineageProcess).where(of))
    ]
