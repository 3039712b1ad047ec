"""Whatever a script prints, and however: nothing is lost, and only the script ever waits."""

import asyncio
import random
import resource
import signal
from hashlib import sha256
from pathlib import Path

from kirby_common.logchunks import OPEN, STDERR, STDOUT, pieces
from kirby_worker.adapters.spool import Position, SpoolReader
from kirby_worker.shim.processes import boot_clock

from tests.eventually import eventually
from tests.integration.worker.shim_bench import ShimBench, shim_bench


def reassembled(bench: ShimBench, stream: str) -> list[bytes]:
    """The lines of one stream, put together again from their pieces, as a reader does it."""
    lines: dict[int, bytes] = {}
    for frame in bench.spooled():
        for piece in pieces(frame):
            if piece.stream == stream:
                assert piece.cont == (piece.number in lines)
                lines[piece.number] = lines.get(piece.number, b"") + piece.data
    return [lines[number] for number in sorted(lines)]


async def test_bytes_that_are_no_text(tmp_path: Path) -> None:
    data = b"\xff\xfe\x00caf\xc3\n\xf0\x9f\n\n\r\n\x1b[31mred\n"
    async with shim_bench(tmp_path) as bench:
        ended = await bench.run(f"import os; os.write(1, {data!r})")
        assert bench.text(STDOUT) == data
        assert reassembled(bench, "stdout") == data.split(b"\n")[:-1]
        bench.check_log(ended)


async def test_a_last_line_without_an_end(tmp_path: Path) -> None:
    async with shim_bench(tmp_path) as bench:
        ended = await bench.run("import sys; sys.stdout.write('one\\ntwo'); sys.stderr.write('three')")
        assert reassembled(bench, "stdout") == [b"one", b"two"]
        assert reassembled(bench, "stderr") == [b"three"]
        assert ended["log"]["lines"] == 3
        bench.check_log(ended)


async def test_a_prompt_shows_before_its_line_ends(tmp_path: Path) -> None:
    async with shim_bench(tmp_path) as bench:
        go_on = tmp_path / "go-on"
        bench.assign(
            f"""
            import os, sys, time
            os.write(1, b"working")
            while not os.path.exists({str(go_on)!r}):
                time.sleep(0.01)
            os.write(2, b"aside\\n")
            os.write(1, b" done\\nnext\\n")
            """
        )
        await bench.until("ready")
        bench.go()
        await eventually(lambda: bench.text(STDOUT) == b"working", timeout=5)
        assert bench.spooled()[-1].flags & OPEN
        go_on.touch()
        ended = await bench.until("ended")
        assert reassembled(bench, "stdout") == [b"working done", b"next"]
        assert reassembled(bench, "stderr") == [b"aside"]
        bench.check_log(ended)


async def test_a_line_of_ten_megabytes(tmp_path: Path) -> None:
    async with shim_bench(tmp_path) as bench:
        ended = await bench.run("print('before'); print('x' * 10_000_000); print('after')")
        lines = reassembled(bench, "stdout")
        assert [len(line) for line in lines] == [6, 10_000_000, 5]
        assert ended["log"]["lines"] == 3
        bench.check_log(ended)


async def test_a_closed_stdout(tmp_path: Path) -> None:
    async with shim_bench(tmp_path) as bench:
        ended = await bench.run(
            """
            import os, sys, time
            print("before", flush=True)
            os.close(1)
            time.sleep(0.1)
            print("still here", file=sys.stderr, flush=True)
            os._exit(0)
            """
        )
        assert (bench.text(STDOUT), bench.text(STDERR)) == (b"before\n", b"still here\n")
        assert ended["exit_code"] == 0
        bench.check_log(ended)


async def test_children_that_hold_the_pipe_print_to_the_end(tmp_path: Path) -> None:
    async with shim_bench(tmp_path) as bench:
        ended = await bench.run(
            """
            import os, sys, time
            told, tell = os.pipe()
            for n in range(5):
                if os.fork() == 0:
                    os.write(1, b"child %d\\n" % n)
                    os.write(tell, b"!")
                    time.sleep(600)
            heard = b""
            while len(heard) < 5:
                heard += os.read(told, 5)
            print("parent", flush=True)
            """
        )
        lines = reassembled(bench, "stdout")
        assert sorted(lines[:-1]) == [b"child %d" % n for n in range(5)]
        assert lines[-1] == b"parent"
        bench.check_log(ended)


async def test_a_hundred_thousand_lines_at_more_than_20000_a_second(tmp_path: Path) -> None:
    async with shim_bench(tmp_path) as bench:
        began = boot_clock()
        ended = await bench.run("for n in range(100_000): print(n, 'x' * 80)", timeout=60)
        seconds = boot_clock() - began
        lines = reassembled(bench, "stdout")
        assert lines == [b"%d %s" % (n, b"x" * 80) for n in range(100_000)]
        assert 100_000 / seconds > 20_000
        bench.check_log(ended)


async def test_both_streams_mixed_at_random(tmp_path: Path) -> None:
    seed = random.randrange(2**32)
    async with shim_bench(tmp_path) as bench:
        ended = await bench.run(
            f"""
            import hashlib, os, random
            draw = random.Random({seed})
            digests = [hashlib.sha256(), hashlib.sha256()]
            for _ in range(3000):
                which = draw.randrange(2)
                data = bytes(draw.choice(b"ab\\n") for _ in range(draw.randrange(400)))
                digests[which].update(data)
                os.write(1 + which, data)
            with open("digests", "w") as file:
                file.write(" ".join(d.hexdigest() for d in digests))
            """,
            timeout=60,
        )
        told = (bench.folder / "work" / "digests").read_text().split()
        assert [sha256(bench.text(s)).hexdigest() for s in (STDOUT, STDERR)] == told, f"seed {seed}"
        for stream, number in (("stdout", STDOUT), ("stderr", STDERR)):
            assert b"\n".join(reassembled(bench, stream)).rstrip(b"\n") == bench.text(number).rstrip(b"\n")
        bench.check_log(ended)


async def test_a_full_spool_blocks_the_script_and_loses_nothing(tmp_path: Path) -> None:
    async with shim_bench(tmp_path) as bench:
        bench.assign("for n in range(100_000): print(n, 'y' * 90)", spool_limit=1_000_000, env={"PATH": "/usr/bin"})
        await bench.until("ready")
        bench.go()
        await eventually(lambda: _size(bench.folder) >= 1_000_000)
        assert bench.said("ended") is None
        reader, at, lines, largest = SpoolReader(bench.folder), Position(), 0, 0
        while True:
            over = bench.said("ended") is not None
            message = reader.read(at)
            if message is None and over:
                break
            if message is None:
                await asyncio.sleep(0.001)
                continue
            lines, at = lines + message.value.count(b"\n"), message.after
            reader.discard(through=message.last)
            largest = max(largest, _size(bench.folder))
        assert lines >= 100_000
        assert largest < 1_400_000


def _size(folder: Path) -> int:
    return sum(p.stat().st_size for p in folder.glob("spool.*"))


async def test_a_full_disk_blocks_the_script_and_loses_nothing(tmp_path: Path) -> None:
    """A limit on the file size stands for the full disk: the write fails just so."""
    async with shim_bench(tmp_path) as bench:
        assert bench.shim.pid is not None
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        soft, hard = resource.prlimit(bench.shim.pid, resource.RLIMIT_FSIZE)
        bench.assign("for n in range(20_000): print(n, 'z' * 90)", env={"PATH": "/usr/bin"})
        await bench.until("ready")
        resource.prlimit(bench.shim.pid, resource.RLIMIT_FSIZE, (300_001, hard))
        bench.go()
        await eventually(lambda: (bench.folder / "spool.000001").stat().st_size == 300_001)
        assert bench.said("ended") is None
        resource.prlimit(bench.shim.pid, resource.RLIMIT_FSIZE, (soft, hard))
        ended = await bench.until("ended")
        assert bench.text(STDOUT) == b"".join(b"%d %s\n" % (n, b"z" * 90) for n in range(20_000))
        bench.check_log(ended)
