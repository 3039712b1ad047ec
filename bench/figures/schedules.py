"""What ten and a hundred thousand enabled schedules cost while nothing is due, and how fast due times become rows."""

import asyncio
import json
import time
from uuid import uuid4

import psutil
from kirby_common.database import connect
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from bench.figure import Figure
from bench.suite import Suite

SCRIPT = "print('never started')\n"
COUNTS = (10_000, 100_000)
DUE = 20_000
IDLE_S = 20


def measure(suite: Suite) -> list[Figure]:
    return asyncio.run(_measure(suite))


async def _measure(suite: Suite) -> list[Figure]:
    suite.deploy(SCRIPT, job="bench-schedules")
    engine = connect(_address(suite), application="bench", statement_timeout_ms=300_000)
    try:
        figures = []
        made = 0
        for count in COUNTS:
            await _make(engine, count - made)
            made = count
            figures.append(
                Figure(
                    f"scheduler with {count:,} idle schedules: processor",
                    _processor(suite),
                    "% of a core",
                    "≤ 10" if count == COUNTS[-1] else "",
                    note=f"over {IDLE_S} s",
                )
            )
        rate = await _due_at_once(engine)
        return [*figures, Figure("due times written down", rate, "a second", "≥ 2000", DUE, f"of {DUE:,} due at once")]
    finally:
        await engine.dispose()


def _address(suite: Suite) -> str:
    port = suite.parts()["postgres"]["port"]
    password = json.loads((suite.home / "secrets.json").read_text())["postgres"]
    return f"postgresql://kirby:{password}@127.0.0.1:{port}/kirby"


async def _make(engine: AsyncEngine, count: int) -> None:
    """Contexts like the deployed one, each with an hourly schedule of its own, for workers that do not exist."""
    stem = uuid4().hex
    async with engine.begin() as tx:
        for statement in (
            "INSERT INTO jobs (id, name, type) SELECT md5(:stem || 'j' || n)::uuid, :stem || '-' || n, 'scheduled'"
            " FROM generate_series(1, :count) n",
            "INSERT INTO schedules (id, name, kind, every_ms) SELECT md5(:stem || 's' || n)::uuid, :stem || '-' || n,"
            " 'every', 3600000 FROM generate_series(1, :count) n",
            "INSERT INTO contexts (id, job_id, environment_id, script_id, state, pool, horizon, next_due_at)"
            " SELECT md5(:stem || 'c' || n)::uuid, md5(:stem || 'j' || n)::uuid, c.environment_id, c.script_id,"
            " 'enabled', 'nobody', clock_timestamp(), date_trunc('hour', clock_timestamp()) + interval '2 hours'"
            " FROM generate_series(1, :count) n, contexts c JOIN jobs j ON j.id = c.job_id"
            " WHERE j.name = 'bench-schedules'",
            "INSERT INTO context_schedules (context_id, schedule_id)"
            " SELECT md5(:stem || 'c' || n)::uuid, md5(:stem || 's' || n)::uuid FROM generate_series(1, :count) n",
        ):
            await tx.execute(text(statement), {"stem": stem, "count": count} if ":count" in statement else {})
    async with engine.connect() as tx:
        await (await tx.execution_options(isolation_level="AUTOCOMMIT")).execute(text("ANALYZE"))


def _processor(suite: Suite) -> float:
    process = psutil.Process(suite.parts()["scheduler"]["pid"])
    time.sleep(3)
    before = sum(process.cpu_times()[:2])
    time.sleep(IDLE_S)
    return float(sum(process.cpu_times()[:2]) - before) / IDLE_S * 100


async def _due_at_once(engine: AsyncEngine) -> float:
    """Rows a second while a part of the contexts is due within the horizon."""
    async with engine.begin() as tx:
        before = await tx.scalar(text("SELECT count(*) FROM runs"))
        await tx.execute(
            text(
                "UPDATE contexts SET horizon = date_trunc('hour', clock_timestamp()) - interval '1 second',"
                " next_due_at = date_trunc('hour', clock_timestamp()) WHERE id IN"
                " (SELECT id FROM contexts WHERE pool = 'nobody' LIMIT :due)"
            ),
            {"due": DUE},
        )
    began = time.monotonic()

    async def written() -> bool:
        async with engine.connect() as tx:
            return bool(await tx.scalar(text("SELECT count(*) >= :n FROM runs"), {"n": (before or 0) + DUE}))

    while not await written():
        if time.monotonic() - began > 120:
            raise RuntimeError("not all due times had their row within 120 s")
        await asyncio.sleep(0.05)
    return DUE / (time.monotonic() - began)
