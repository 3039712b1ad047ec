"""A shim that dies at the worst moments: what its journal says, and that nothing of it is left."""

from pathlib import Path

import pytest
from kirby_worker.shim.processes import start_time

from tests.eventually import eventually
from tests.integration.worker.shim_bench import ShimBench, shim_bench


async def _run_into_it(bench: ShimBench, place: str, script: str) -> None:
    bench.assign(script, keep={"grant": 1})
    if place == "ready":
        return
    ready = await bench.until("ready")
    bench.go()
    await eventually(lambda: start_time(ready["pid"]) is None, what="the end of the script's process")


@pytest.mark.parametrize(
    ("place", "written"),
    [
        ("ready", ["prepared"]),
        ("go", ["prepared"]),
        ("before_start", ["prepared", "go"]),
        ("started", ["prepared", "go", "started"]),
        ("ended", ["prepared", "go", "started"]),
    ],
)
async def test_a_shim_killed_at_a_failpoint_takes_its_process_along(
    place: str, written: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TESTING", "1")
    monkeypatch.setenv("KIRBY_FAILPOINT", f"shim.{place}:kill9")
    async with shim_bench(tmp_path) as bench:
        script = "print('done')" if place == "ended" else "import time; time.sleep(600)"
        await _run_into_it(bench, place, script)
        await eventually(lambda: list(bench.journal()) == written, what=f"a journal of {written}")


async def test_a_start_whose_writing_down_took_too_long_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TESTING", "1")
    monkeypatch.setenv("KIRBY_FAILPOINT", "shim.before_start:pause:0.6")
    async with shim_bench(tmp_path) as bench:
        bench.assign(f"open({str(tmp_path / 'witness')!r}, 'w')")
        await bench.until("ready")
        bench.go(within_s=0.3)
        assert (await bench.until("not_launched"))["reason"].startswith("too late to start")
        assert not (tmp_path / "witness").exists()


async def test_a_failpoint_that_is_named_for_once_spares_the_next_grant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TESTING", "1")
    monkeypatch.setenv("KIRBY_FAILPOINT", "shim.before_start:kill9")
    async with shim_bench(tmp_path) as bench:
        assert (await bench.run("print('again')", keep={"grant": 2}))["exit_code"] == 0
