"""What does not answer, what is full, what is slow: nothing is started twice, nothing printed is lost."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from kirby.dev.index import IndexPart
from kirby.dev.kafka import KafkaPart
from kirby.dev.parts import free_port
from kirby.dev.processes import start_together, stop_all
from kirby_common.settings import KafkaSettings
from sqlalchemy.ext.asyncio import AsyncEngine

from tests.eventually import eventually
from tests.integration.ledger.world import World
from tests.integration.worker.shim_bench import witness
from tests.integration.worker.test_worker_life import WITNESSED, started
from tests.integration.worker.worker_suite import WorkerSuite, worker_suite


@pytest.mark.parametrize("lost", ["request", "answer"])
async def test_without_an_answer_to_launching_nothing_starts_and_the_run_is_given_back(
    lost: str, suite: WorkerSuite, unique_name: Callable[[str], str], tmp_path: Path
) -> None:
    path = tmp_path / "witness"
    worker = await suite.start()
    context = await suite.context(unique_name("mute"), WITNESSED)
    await suite.enabled(context)
    silence = asyncio.Event()
    (suite.ledger.before if lost == "request" else suite.ledger.after)["launches"] = silence
    run_id = await suite.trigger(context, variables={"WITNESS": str(path), "SECONDS": "0"})
    await eventually(lambda: '"aborting"' in worker.said(), timeout=20)
    assert witness(path) == []
    suite.ledger.before.clear()
    suite.ledger.after.clear()
    silence.set()
    run = await suite.status(run_id)
    assert (run.status, run.attempt) == ("SUCCEEDED", 1), worker.said()
    assert run.grant_no >= 2
    assert [w["event"] for w in witness(path)] == ["start", "end"]
    assert all(a.status != "LOST" for a in await suite.world.attempts(run_id))


async def test_kafka_away_for_a_while_loses_no_line(
    ledger_engine: AsyncEngine, index_part: IndexPart, unique_name: Callable[[str], str], tmp_path: Path
) -> None:
    part = KafkaPart(tmp_path / "kafka", port=free_port(), controller_port=free_port())
    running = await asyncio.to_thread(start_together, [part], logs=tmp_path)
    kafka = KafkaSettings(kafka_bootstrap_servers=part.bootstrap)
    try:
        async with (
            worker_suite(World(ledger_engine), kafka, index_part, folder=tmp_path, prefix=unique_name(".o")) as suite,
            suite.ledger.serving(),
        ):
            await suite.start()
            go_on = tmp_path / "witness.end"
            source = WITNESSED.replace("while time", "n = 0\nwhile time").replace(
                "    time.sleep(0.02)", '    time.sleep(0.001); n += 1; print("line", n, flush=True)'
            )
            context = await suite.context(unique_name("lines"), source)
            await suite.enabled(context)
            run_id = await suite.trigger(context, variables={"WITNESS": str(tmp_path / "witness"), "SECONDS": "600"})
            await started(tmp_path / "witness")
            await asyncio.to_thread(stop_all, running)
            second = await suite.trigger(context, variables={"WITNESS": str(tmp_path / "two"), "SECONDS": "0"})
            go_on.touch()
            assert (await suite.status(run_id)).status == "SUCCEEDED"
            assert (await suite.status(second)).status in ("SUCCEEDED", "SKIPPED")
            running = await asyncio.to_thread(start_together, [part], logs=tmp_path)
            run = await suite.world.run(run_id)
            lines = (await suite.text(run_id, timeout=60)).splitlines()
            assert lines == ["up", *(f"line {n}" for n in range(1, len(lines) - 1)), "done"]
            assert run.log["lines"] == len(lines)
            assert [w["event"] for w in witness(tmp_path / "witness")] == ["start", "end"]
            await eventually(lambda: not list((suite.home / "runs").iterdir()), timeout=30)
    finally:
        await asyncio.to_thread(stop_all, running)
