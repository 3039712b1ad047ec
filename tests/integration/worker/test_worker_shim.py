"""The shim with real processes: starts, ends, trees, timers, adoption."""

import json
import os
import signal
from pathlib import Path

from kirby_common.logchunks import STDERR, STDOUT, SYSTEM
from kirby_worker.adapters import shims
from kirby_worker.shim.processes import boot_clock, start_time

from tests.eventually import eventually
from tests.integration.worker.shim_bench import shim_bench


def gone(pid: int) -> bool:
    return start_time(pid) is None


async def test_a_script_runs_and_its_end_is_told_and_journalled(tmp_path: Path) -> None:
    async with shim_bench(tmp_path) as bench:
        ended = await bench.run(
            """
            import os, sys
            print("hello", os.environ["KIRBY_ATTEMPT"])
            print("oops", file=sys.stderr)
            sys.exit(3)
            """
        )
        assert (ended["exit_code"], ended["signal"], ended["killed_by"]) == (3, None, None)
        assert bench.text(STDOUT) == b"hello 1\n"
        assert bench.text(STDERR) == b"oops\n"
        bench.check_log(ended)
        journal = bench.journal()
        assert list(journal) == ["prepared", "go", "started", "ended"]
        assert journal["ended"]["log"] == ended["log"]
        assert journal["started"]["pid"] == ended["pid"]


async def test_nothing_starts_before_go_nor_after_its_limit(tmp_path: Path) -> None:
    async with shim_bench(tmp_path) as bench:
        bench.assign(f"open({str(tmp_path / 'witness')!r}, 'w')")
        ready = await bench.until("ready")
        bench.go(within_s=-0.001)
        told = await bench.until("not_launched")
        assert told["reason"] == "too late to start"
        assert gone(ready["pid"])
        assert not (tmp_path / "witness").exists()
        assert "go" not in bench.journal()


async def test_a_start_waits_for_the_due_instant(tmp_path: Path) -> None:
    async with shim_bench(tmp_path) as bench:
        bench.assign("import time; print(time.clock_gettime(time.CLOCK_BOOTTIME))")
        await bench.until("ready")
        due = boot_clock() + 0.3
        bench.go(in_s=0.3)
        await bench.until("ended")
        began = float(bench.text(STDOUT))
        assert due <= began < due + 1.5


async def test_a_worker_that_goes_away_before_go_leaves_nothing(tmp_path: Path) -> None:
    async with shim_bench(tmp_path) as bench:
        bench.assign("print('never')")
        ready = await bench.until("ready")
        bench.shim.close()
        await eventually(lambda: "not_launched" in bench.journal())
        await eventually(lambda: gone(ready["pid"]))


async def test_timeout_kills_the_whole_tree_with_what_was_forked_twice(tmp_path: Path) -> None:
    async with shim_bench(tmp_path) as bench:
        ended = await bench.run(
            """
            import os, signal, sys, time
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
            if os.fork() == 0:
                os.setsid()
                if os.fork() == 0:
                    os.environ.clear()
                    print("grandchild", os.getpid(), flush=True)
                    time.sleep(600)
                os._exit(0)
            time.sleep(600)
            """,
            timeout_s=0.4,
            grace_s=0.2,
        )
        assert (ended["signal"], ended["killed_by"]) == (signal.SIGKILL, "timeout")
        pid = int(bench.text(STDOUT).split()[1])
        assert gone(pid)
        assert b"stopped by Kirby (timeout)" in bench.text(SYSTEM)
        bench.check_log(ended)


async def test_term_gives_a_script_its_grace(tmp_path: Path) -> None:
    async with shim_bench(tmp_path) as bench:
        bench.assign(
            """
            import signal, sys, time
            def stop(*_):
                print("tidying up", flush=True)
                sys.exit(0)
            signal.signal(signal.SIGTERM, stop)
            print("up", flush=True)
            time.sleep(600)
            """
        )
        await bench.until("ready")
        bench.go()
        await eventually(lambda: b"up" in bench.text(STDOUT))
        bench.shim.send({"t": "stop", "why": "superseded", "grace_s": 30})
        ended = await bench.until("ended")
        assert (ended["exit_code"], ended["killed_by"]) == (0, "superseded")
        assert bench.text(STDOUT) == b"up\ntidying up\n"


async def test_children_that_outlive_the_script_are_killed(tmp_path: Path) -> None:
    async with shim_bench(tmp_path) as bench:
        ended = await bench.run(
            """
            import subprocess, sys
            child = subprocess.Popen([sys.executable, "-c", "import time; print('child', flush=True); time.sleep(600)"],
                                     start_new_session=True)
            print(child.pid)
            """
        )
        assert ended["exit_code"] == 0
        pid = int(next(line for line in bench.text(STDOUT).split() if line.isdigit()))
        assert gone(pid)
        bench.check_log(ended)


async def test_a_killed_shim_takes_its_script_along(tmp_path: Path) -> None:
    async with shim_bench(tmp_path) as bench:
        bench.assign("import time; print('up', flush=True); time.sleep(600)")
        ready = await bench.until("ready")
        bench.go()
        await eventually(lambda: b"up" in bench.text(STDOUT))
        assert bench.shim.pid is not None
        os.kill(bench.shim.pid, signal.SIGKILL)
        await eventually(lambda: gone(ready["pid"]))
        assert "ended" not in bench.journal()


async def test_a_shim_outlives_its_worker_and_is_adopted(tmp_path: Path) -> None:
    async with shim_bench(tmp_path) as bench:
        bench.assign("import sys, time; print('up', flush=True); time.sleep(1); print('done')", keep={"secret": "x"})
        await bench.until("ready")
        bench.go(attempt=4)
        await bench.until("started")
        assert bench.shim.pid is not None
        bench.shim.close()
        adopted = await shims.connect(bench.folder, pid=bench.shim.pid)
        messages = [message async for message in adopted.messages()]
        state = messages[0]
        assert (state["t"], state["phase"], state["attempt"], state["keep"]) == ("state", "running", 4, {"secret": "x"})
        assert messages[-1]["t"] == "ended"
        assert messages[-1]["exit_code"] == 0
        assert bench.text(STDOUT) == b"up\ndone\n"
        adopted.close()
    assert "secret" not in (bench.folder / "journal").read_text()


async def test_a_fenced_run_ends_when_no_beat_is_acknowledged(tmp_path: Path) -> None:
    async with shim_bench(tmp_path) as bench:
        bench.assign("import time; time.sleep(600)", fenced=True, lease_s=1.0)
        await bench.until("ready")
        bench.shim.send({"t": "beat", "at": boot_clock()})
        beat = boot_clock()
        bench.go()
        ended = await bench.until("ended")
        assert ended["killed_by"] == "fence"
        assert ended["ended_at"] - beat < 1.0


async def test_a_fenced_run_is_not_started_on_a_stale_lease(tmp_path: Path) -> None:
    async with shim_bench(tmp_path) as bench:
        bench.assign("print('never')", fenced=True, lease_s=0.2)
        await bench.until("ready")
        bench.go(in_s=0.15)
        assert (await bench.until("not_launched"))["reason"] == "too late to start"


async def test_the_end_of_the_lifeline_ends_everything(tmp_path: Path) -> None:
    read, write = os.pipe()
    async with shim_bench(tmp_path, lifeline=read) as bench:
        os.close(read)
        bench.assign("import signal, time; signal.signal(15, signal.SIG_IGN); print('up', flush=True); time.sleep(600)")
        ready = await bench.until("ready")
        bench.go()
        await eventually(lambda: b"up" in bench.text(STDOUT))
        os.close(write)
        ended = await bench.until("ended", timeout=30)
        assert ended["killed_by"] == "drained"
        assert gone(ready["pid"])


async def test_what_can_not_be_executed_says_so(tmp_path: Path) -> None:
    async with shim_bench(tmp_path) as bench:
        ended = await bench.run("", argv=[str(tmp_path / "missing-python"), "x"])
        assert ended["exit_code"] == 127
        assert b"could not be started: [Errno 2] No such file or directory" in bench.text(SYSTEM)
        bench.check_log(ended)


async def test_a_script_asks_for_secrets_over_its_socket(tmp_path: Path) -> None:
    async with shim_bench(tmp_path) as bench:
        bench.assign(
            """
            import json, os, socket
            talk = socket.socket(fileno=int(os.environ["KIRBY_SECRET_FD"])).makefile("rw")
            talk.write(json.dumps({"id": 7, "path": "db/main", "field": "password"}) + "\\n")
            talk.flush()
            print(json.loads(talk.readline())["value"])
            """
        )
        await bench.until("ready")
        bench.go()
        asked = await bench.until("secret")
        assert asked["ask"] == {"id": 7, "path": "db/main", "field": "password"}
        bench.shim.send({"t": "secret", "answer": {"id": 7, "value": "s3cret"}})
        await bench.until("ended")
        assert bench.text(STDOUT) == b"s3cret\n"


async def test_the_environment_and_descriptors_are_exactly_what_was_given(tmp_path: Path) -> None:
    async with shim_bench(tmp_path) as bench:
        await bench.run(
            """
            import json, os
            print(json.dumps({"env": dict(os.environ), "fds": sorted(map(int, os.listdir("/proc/self/fd"))),
                              "cwd": os.getcwd(), "sid": os.getsid(0) == os.getpid()}))
            """,
            env={"A": "1", "PATH": "/usr/bin"},
        )
        seen = json.loads(bench.text(STDOUT))
        secret_fd = int(seen["env"].pop("KIRBY_SECRET_FD"))
        seen["env"].pop("LC_CTYPE", None)
        assert seen["env"] == {"A": "1", "PATH": "/usr/bin", "KIRBY_ATTEMPT": "1"}
        # 3 is the listing's own.
        assert set(seen["fds"]) == {0, 1, 2, 3, secret_fd}
        assert seen["cwd"] == str(bench.folder / "work")
        assert seen["sid"]


async def test_a_script_may_run_as_another_user(tmp_path: Path) -> None:
    user = 65534 if os.getuid() == 0 else os.getuid()
    async with shim_bench(tmp_path) as bench:
        whom = {"uid": user, "gid": user, "groups": [user]}
        ended = await bench.run("", argv=["/bin/sh", "-c", "id -u; nice"], run_as=whom, nice=7)
        assert ended["exit_code"] == 0
        assert bench.text(STDOUT).split() == [b"%d" % user, b"7"]


async def test_term_to_the_shim_ends_the_script_with_grace(tmp_path: Path) -> None:
    async with shim_bench(tmp_path) as bench:
        bench.assign("import time; print('up', flush=True); time.sleep(600)")
        await bench.until("ready")
        bench.go()
        await eventually(lambda: b"up" in bench.text(STDOUT))
        assert bench.shim.pid is not None
        os.kill(bench.shim.pid, signal.SIGTERM)
        ended = await bench.until("ended")
        assert (ended["signal"], ended["killed_by"]) == (signal.SIGTERM, "drained")
