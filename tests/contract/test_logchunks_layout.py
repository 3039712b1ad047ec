"""The shim's copy of the frame layout against the one everybody else reads with."""

import ast
import sys
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from kirby_common import logchunks
from kirby_worker import shim
from kirby_worker.shim import frames


def test_the_copied_layout_is_the_same() -> None:
    assert frames.HEADER.format == logchunks.HEADER.format
    for name in ("STDOUT", "STDERR", "SYSTEM", "CONT", "OPEN", "END"):
        assert getattr(frames, name) == getattr(logchunks, name)


_WRITES = st.lists(
    st.tuples(
        st.sampled_from([frames.STDOUT, frames.STDERR]), st.binary(max_size=40) | st.just(b"a\nb\n"), st.booleans()
    )
)


@given(_WRITES)
def test_what_the_shim_frames_is_read_back_whole(writes: list[tuple[int, bytes, bool]]) -> None:
    framer = frames.Framer()
    out, now = b"", 0.0
    for stream, data, pause in writes:
        out += framer.feed(stream, data, now=now, t_ns=1)
        now += frames.HOLD_S if pause else 0.001
        out += framer.flush(now=now, t_ns=1)
    out += framer.end(t_ns=2)
    read = list(logchunks.frames(out))
    assert [f.seq for f in read] == list(range(len(read)))
    assert read[-1].flags & logchunks.END
    assert framer.summary()["last_seq"] == read[-1].seq
    for stream, name in ((frames.STDOUT, "stdout"), (frames.STDERR, "stderr")):
        printed = b"".join(data for s, data, _ in writes if s == stream)
        assert b"".join(f.payload for f in read if f.stream == stream) == printed
        lines: dict[int, bytes] = {}
        for piece in (p for f in read for p in logchunks.pieces(f) if p.stream == name):
            assert piece.cont == (piece.number in lines)
            lines[piece.number] = lines.get(piece.number, b"") + piece.data
        expected = printed.split(b"\n")
        if expected[-1] == b"":
            expected.pop()
        assert [lines[n] for n in sorted(lines)] == expected
    assert framer.lines == sum(f.nlines for f in read)


def test_the_shim_imports_nothing_but_the_standard_library() -> None:
    folder = Path(shim.__file__).parent
    for path in folder.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                known = name.startswith("kirby_worker.shim") or name.partition(".")[0] in sys.stdlib_module_names
                assert known, f"{path.name} imports {name}"
