"""A package from the index runs on a real worker, and its lines are on Kafka."""

import asyncio
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

from kirby_common.kafka import KafkaBus, KafkaTail
from kirby_common.messages import MessageRefusedV1, decode
from kirby_common.ports import Start
from kirby_common.topics import DEAD_LETTERS, scheduled_offers

from tests.eventually import eventually
from tests.integration.worker.test_worker_life import WITNESSED
from tests.integration.worker.worker_suite import LEASE, WorkerSuite


async def test_a_triggered_run_succeeds_and_its_log_is_complete(
    steady: WorkerSuite, unique_name: Callable[[str], str]
) -> None:
    context = await steady.context(unique_name("hello"), "print('hello'); print('world')")
    await steady.enabled(context)
    run_id = await steady.trigger(context)
    run = await steady.status(run_id)
    assert (run.status, run.exit_code, run.attempt) == ("SUCCEEDED", 0, 1)
    assert await steady.text(run_id) == "hello\nworld\n"
    held = await steady.log(run_id)
    assert run.log["last_seq"] == held[-1].seq
    assert run.log["lines"] == 2
    # Once the recorder has it all, nothing of the run is left on the worker's disk.
    await eventually(lambda: not (steady.home / "runs" / f"{run_id}.1").exists(), timeout=15)


async def test_a_failing_script_and_its_exit_code(steady: WorkerSuite, unique_name: Callable[[str], str]) -> None:
    context = await steady.context(unique_name("fails"), "import sys; print('no'); sys.exit(7)")
    await steady.enabled(context)
    run = await steady.status(await steady.trigger(context))
    assert (run.status, run.exit_code) == ("FAILED", 7)


async def test_the_environment_of_a_script_is_exact(steady: WorkerSuite, unique_name: Callable[[str], str]) -> None:
    name = unique_name("env")
    context = await steady.context(name, "import json, os, sys; print(json.dumps([dict(os.environ), sys.argv[1:]]))")
    await steady.enabled(context)
    run_id = await steady.trigger(context, args=["--fast", "a b"], variables={"CITY": "Liège", "TWO": "a=b"})
    run = await steady.status(run_id)
    assert run.status == "SUCCEEDED"
    seen, args = json.loads(await steady.text(run_id))
    assert args == ["--fast", "a b"]
    venv = seen.pop("VIRTUAL_ENV")
    assert venv.startswith(str(steady.home / "venvs"))
    assert seen.pop("PATH").split(":")[0] == f"{venv}/bin"
    assert seen.pop("KIRBY_SECRET_FD").isdigit()
    assert seen.pop("KIRBY_DUE_AT").endswith("Z")
    assert seen.pop("ID") == str(run.script_id)
    assert seen == {
        "CITY": "Liège",
        "TWO": "a=b",
        "KIRBY_RUN_ID": str(run_id),
        "KIRBY_ATTEMPT": "1",
        "KIRBY_GRANT": "1",
        "KIRBY_JOB": name,
        "KIRBY_ENV": "prod",
        "KIRBY_RERUN": "0",
        "KIRBY_URL": steady.ledger.url,
        "KIRBY_TOPIC_PREFIX": "",
        "KIRBY_WEB_SERVER": steady.ledger.url,
        "ENV": "prod",
        "PACKAGE_NAME": f"{name}-prod",
        "KIRBY_VERSION": "1.0",
        "KAFKA_BOOTSTRAP_SERVERS": steady.kafka.kafka_bootstrap_servers,
        "KIRBY_OBJECTS_URL": "s3://states-of-tests",
        "PYTHONUNBUFFERED": "1",
        "HOME": str(steady.folder),
        "LANG": "C.UTF-8",
        "TZ": "UTC",
    }


async def test_secrets_reach_the_script_and_nothing_else(
    steady: WorkerSuite, unique_name: Callable[[str], str]
) -> None:
    steady.ledger.secrets["db/main"] = {"user": "bob", "password": "pl4nted-s3cret"}
    source = """
    import hashlib, json, os, socket
    talk = socket.socket(fileno=int(os.environ["KIRBY_SECRET_FD"])).makefile("rw")
    def ask(**question):
        talk.write(json.dumps(question) + "\\n"); talk.flush()
        return json.loads(talk.readline())
    print(len(os.environ["DB_PASSWORD"]), ask(id=1, path="db/main", field="user")["value"])
    print(ask(id=2, path="db/other", field=None)["code"])
    print(len(ask(id=3, what="run-token")["value"].split(".")))
    """
    context = await steady.context(unique_name("secret"), source)
    await steady.enabled(context)
    run_id = await steady.trigger(context, variables={"DB_PASSWORD": "secret://db/main#password"})
    run = await steady.status(run_id)
    assert run.status == "SUCCEEDED"
    assert await steady.text(run_id) == "14 bob\nabsent\n3\n"
    for path in (
        p
        for p in (steady.home, steady.folder / "worker-0.log")
        for p in (p.rglob("*") if p.is_dir() else [p])
        if p.is_file()
    ):
        assert b"pl4nted-s3cret" not in path.read_bytes(), path


async def test_a_run_that_can_not_be_prepared_says_why(steady: WorkerSuite, unique_name: Callable[[str], str]) -> None:
    context = await steady.context(unique_name("lacks"), "print('never')")
    await steady.enabled(context)
    run_id = await steady.trigger(context, variables={"KEY": "secret://nowhere"})
    reasons = await eventually(lambda: _reasons(steady, run_id), timeout=20)
    assert reasons == ["a secret of its configuration can't be had: there is no secret nowhere"]


async def _reasons(steady: WorkerSuite, run_id: object) -> list[str]:
    rows = await steady.world.sql("SELECT reason FROM attempts WHERE run_id = :id AND reason IS NOT NULL", id=run_id)
    return [row.reason for row in rows][:1]


async def test_an_unknown_package_is_told_by_the_context(
    steady: WorkerSuite, unique_name: Callable[[str], str]
) -> None:
    name = unique_name("nowhere")
    context = await steady.world.context(job=name, ready=False)

    expected = f"no lock yet: there is no package named {name}-prod in the package index"

    async def told() -> str | None:
        reason = await steady.reason(context)
        return None if reason == "no lock yet: being resolved" else reason

    assert await eventually(told, timeout=30) == expected


async def test_an_offer_that_can_not_be_read_goes_to_the_dead_letters(steady: WorkerSuite) -> None:
    topic = scheduled_offers(steady.ledger.prefix)
    async with KafkaBus(steady.kafka) as bus:
        spoiled = await bus.send(topic, key=b"x", value=b"not json")
    async with asyncio.timeout(60):
        async for records in KafkaTail(steady.kafka, poll_ms=50).records([DEAD_LETTERS], start=Start(at="beginning")):
            letters = [decode(r.value) for r in records if r.key == topic.encode()]
            if letters:
                break
    assert isinstance(letters[0], MessageRefusedV1)
    assert (letters[0].data.offset, letters[0].data.consumer) == (spoiled.offset, "worker")


async def test_cpu_bound_scripts_on_every_core_delay_no_beat(
    steady: WorkerSuite, unique_name: Callable[[str], str], tmp_path: Path
) -> None:
    source = "import time\nend = time.monotonic() + 6\nwhile time.monotonic() < end: sum(range(10000))"
    context = await steady.context(unique_name("sieve"), source, policies={"overlap": "allow"})
    await steady.enabled(context)
    await steady.world.sql("UPDATE workers SET max_beat_gap_ms = 0")
    runs = [await steady.trigger(context) for _ in range(2 * (os.cpu_count() or 1))]
    for run_id in runs:
        assert (await steady.status(run_id)).status == "SUCCEEDED"
    (row,) = await steady.world.sql("SELECT max_beat_gap_ms FROM workers WHERE name = 'w1'")
    assert row.max_beat_gap_ms < 0.3 * LEASE.total_seconds() * 1000


async def test_a_timeout_and_a_kill_end_the_script_and_say_so(
    steady: WorkerSuite, unique_name: Callable[[str], str], tmp_path: Path
) -> None:
    slow = await steady.context(unique_name("slow"), WITNESSED, policies={"timeout": "3s", "grace": "1s"})
    await steady.enabled(slow)
    path = tmp_path / "witness"
    run = await steady.status(await steady.trigger(slow, variables={"WITNESS": str(path), "SECONDS": "600"}))
    assert (run.status, run.signal) == ("FAILED", signal.SIGTERM)
    assert "timeout" in run.reason
    assert json.loads(path.read_text())["event"] == "start"
