"""An armed interpreter: the venv's Python, up before its time, that becomes the script when a pipe says so.

The venv's own interpreter runs this file (see `command`); it can't import Kirby. Whatever Python does by itself at
its start has happened by then, and nothing else: no module of the user's, and none that `python -m` would not have
loaded either. What it needs to know comes over the pipe at the start, and by no other way.
"""

import marshal
import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any

_CODE = (
    "import sys; exec(sys.modules['_frozen_importlib_external'].SourceFileLoader('armed', sys.argv[1])"
    ".get_code('armed'), {'__name__': 'armed', '__file__': sys.argv[1]})"
)
_LENGTH = 8


def command(argv: list[str], *, start_fd: int) -> list[str]:
    """What to execute so that it waits at `start_fd` to become `argv`, a call of the same python."""
    return [argv[0], "-c", _CODE, __file__, str(start_fd), *argv[1:]]


def pack(start: "dict[str, Any]") -> bytes:
    """What is written to the pipe: `argv` and `env` of the script, `cwd` unless it waits there."""
    text = marshal.dumps(start)
    return len(text).to_bytes(_LENGTH, "big") + text


def read(fd: int) -> "dict[str, Any] | None":
    """Waits for the start; None when it is called off."""
    head = _read_exactly(fd, _LENGTH)
    text = _read_exactly(fd, int.from_bytes(head, "big")) if head else b""
    if not text:
        return None
    start: dict[str, Any] = marshal.loads(text)  # noqa: S302 - From the shim, by a pipe that nobody else has.
    return start


def _read_exactly(fd: int, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = os.read(fd, size - len(data))
        if not piece:
            return b""
        data += piece
    return data


def _wait() -> None:
    """Never returns before the start; then runs the script, and lets what it raises through to the interpreter."""
    start_fd, kind = int(sys.argv[2]), sys.argv[3]
    names = vars(sys.modules["__main__"])
    del names["sys"], sys.path[0]
    if kind == "-m":
        import runpy  # noqa: F401 - As `python -m` does itself.
    start = read(start_fd)
    if start is None:
        os._exit(0)
    os.close(start_fd)
    if start["cwd"] is not None:
        os.chdir(start["cwd"])
    _take_environment(start["env"])
    try:
        _run(start["argv"], names)
    except SystemExit:
        raise
    except BaseException:
        _hide_own_frames()
        raise


def _take_environment(env: dict[str, str]) -> None:
    coerced = os.environ.get("LC_CTYPE")
    os.environ.clear()
    os.environ.update(env)
    if coerced is not None:
        # Python itself sets it where no locale is set; whether one is, is the same for both environments.
        os.environ["LC_CTYPE"] = coerced


def _run(argv: list[str], names: "dict[str, Any]") -> None:
    """As the interpreter does with its command line."""
    sys.orig_argv[:] = argv
    kind = argv[1]
    if kind in ("-m", "-c"):
        sys.argv[:] = [kind, *argv[3:]]
        sys.path.insert(0, os.getcwd() if kind == "-m" else "")
    else:
        sys.argv[:] = argv[1:]
        sys.path.insert(0, os.path.dirname(os.path.realpath(kind)))
    if kind == "-m":
        import runpy

        runpy._run_module_as_main(argv[2])  # type: ignore[attr-defined]
    elif kind == "-c":
        exec(compile(argv[2], "<string>", "exec", dont_inherit=True), names)  # noqa: S102 - The job's own entry.
    else:
        _run_file(kind, names)


def _run_file(path: str, names: "dict[str, Any]") -> None:
    try:
        with open(path, "rb") as file:
            source = file.read()
    except OSError as error:
        sys.stderr.write(f"{sys.orig_argv[0]}: can't open file {path!r}: [Errno {error.errno}] {error.strerror}\n")
        sys.exit(2)
    code = compile(source, path, "exec", dont_inherit=True)
    loader = sys.modules["_frozen_importlib_external"].SourceFileLoader
    names.update(__file__=path, __cached__=None, __loader__=loader("__main__", path))
    exec(code, names)  # noqa: S102 - The job's own script.


def _hide_own_frames() -> None:
    """The interpreter prints what ended the script through `sys.excepthook`: this once, without our frames."""
    hook = sys.excepthook

    def excepthook(kind: type[BaseException], error: BaseException, trace: "TracebackType | None") -> None:
        sys.excepthook = hook
        trace = trace and trace.tb_next  # The line that has loaded this file.
        while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
            trace = trace.tb_next
        sys.last_traceback = trace
        hook(kind, error.with_traceback(trace), trace)

    sys.excepthook = excepthook


if __name__ == "armed":
    _wait()
