"""Runs a script in this process as if it were alone in one, and puts everything back afterwards."""

import importlib
import io
import logging
import os
import runpy
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from kirby.errors import KirbyError
from kirby.testing.case import is_function

_HERE = str(Path(__file__).parents[1])
_OURS = ("KIRBY_", "ID", "PACKAGE_NAME")


class NoScript(KirbyError):
    """The script to be run is not there."""


class TooLong(BaseException):
    """The script did not end in time. No Exception, so that a script's own `except` lets it pass."""


@dataclass(frozen=True)
class Ran:
    """How a script ended: its exit code, what it printed, and the traceback of what it raised, from the script on."""

    exit_code: int
    output: str
    trace: str = ""
    hung: bool = False


def run(
    script: str,
    *,
    root: Path,
    args: Sequence[str],
    env: Mapping[str, str],
    timeout_s: float,
    at_exit: Callable[[], None],
) -> Ran:
    """Run a file as `__main__`, or call `module:function`; then `at_exit`, whose errors are the script's, too.

    Raises NoScript.
    """
    if not is_function(script):
        script = str(Path(os.path.abspath(root / script)))
    printed = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True)
    code, trace, hung = 0, "", False
    with ExitStack() as stack:
        stack.enter_context(_environment(env))
        stack.enter_context(_modules(_places(script, root)))
        stack.enter_context(_surroundings([script, *args]))
        stack.enter_context(redirect_stdout(printed))
        stack.enter_context(redirect_stderr(printed))
        try:
            with _limit(timeout_s):
                try:
                    _start(script)
                finally:
                    at_exit()
        except TooLong as error:
            code, trace, hung = 1, _trimmed(error), True
        except SystemExit as error:
            code = _code(error, printed)
        except (NoScript, KeyboardInterrupt):
            raise
        except BaseException as error:
            code, trace = 1, _trimmed(error)
    printed.flush()
    text = printed.buffer.getvalue().decode(errors="replace")
    return Ran(code, text, trace, hung)


def _start(script: str) -> None:
    if not is_function(script):
        if not Path(script).is_file():
            raise NoScript(f"There is no script {script}")
        runpy.run_path(script, run_name="__main__")
        return
    module, _, function = script.partition(":")
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name == module or module.startswith(f"{error.name}."):
            raise NoScript(f"There is no module {module} for the script {script}") from error
        raise
    called = getattr(found, function, None)
    if called is None:
        raise NoScript(f"The module {module} has no {function} for the script {script}")
    sys.exit(called())


def _code(error: SystemExit, printed: io.TextIOWrapper) -> int:
    if error.code is None or isinstance(error.code, int):
        return error.code or 0
    printed.write(f"{error.code}\n")
    return 1


def _places(script: str, root: Path) -> list[Path]:
    """Where the script's modules are looked for: its own folder, or its package."""
    if not is_function(script):
        return [Path(script).parent]
    root = root.absolute()
    return [root / "src" if (root / "src").is_dir() else root]


@contextmanager
def _environment(env: Mapping[str, str]) -> Iterator[None]:
    before = dict(os.environ)
    for name in [n for n in before if n.startswith(_OURS[0]) or n in _OURS]:
        del os.environ[name]
    os.environ.update(env)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def _modules(places: Sequence[Path]) -> Iterator[None]:
    """Find the script's modules first, load them anew, and forget them afterwards: another version may come next."""
    inside = [p for place in places if place.is_dir() for p in place.iterdir()]
    own = {p.stem for p in inside if p.suffix == ".py" or (p / "__init__.py").is_file()}
    before = {name: m for name, m in sys.modules.items() if name.partition(".")[0] in own}
    path, no_bytecode = list(sys.path), sys.dont_write_bytecode
    for name in before:
        del sys.modules[name]
    sys.path[:0] = [str(place) for place in places]
    sys.dont_write_bytecode = True
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path[:], sys.dont_write_bytecode = path, no_bytecode
        for name in [n for n in sys.modules if n.partition(".")[0] in own]:
            del sys.modules[name]
        sys.modules.update(before)


@contextmanager
def _surroundings(argv: list[str]) -> Iterator[None]:
    """A working folder of its own, and the process's handlers as they were."""
    folder, before = Path.cwd(), sys.argv
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    is_main = threading.current_thread() is threading.main_thread()
    term = signal.getsignal(signal.SIGTERM)
    with tempfile.TemporaryDirectory(prefix="kirby-test-") as own:
        os.chdir(own)
        sys.argv = argv
        root.handlers[:] = []
        try:
            yield
        finally:
            os.chdir(folder)
            sys.argv = before
            root.handlers[:], root.level = handlers, level
            if is_main:
                signal.signal(signal.SIGTERM, term)


@contextmanager
def _limit(timeout_s: float) -> Iterator[None]:
    """Raise TooLong in the block after `timeout_s` seconds, again and again; only the main thread can be reached."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def on_alarm(number: int, frame: FrameType | None) -> None:
        raise TooLong(f"it did not end within {timeout_s:g} s")

    began = time.monotonic()
    handler = signal.signal(signal.SIGALRM, on_alarm)
    left, interval = signal.setitimer(signal.ITIMER_REAL, timeout_s, 1.0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        if left:
            # Somebody else's alarm, as pytest-timeout's, goes on.
            signal.setitimer(signal.ITIMER_REAL, max(0.001, left - (time.monotonic() - began)), interval)


def _trimmed(error: BaseException) -> str:
    """The traceback from the script's first line to its last: neither what runs it, nor the insides of the SDK."""
    shown = traceback.TracebackException.from_exception(error)
    each: traceback.TracebackException | None = shown
    while each is not None:
        each.stack = traceback.StackSummary.from_list(_of_script(each.stack))
        each = each.__cause__ or each.__context__
    if isinstance(error, TooLong):
        return "".join(shown.stack.format()) + str(error)
    return "".join(shown.format()).rstrip()


def _of_script(frames: Sequence[traceback.FrameSummary]) -> list[traceback.FrameSummary]:
    kept = [f for f in frames if not f.filename.startswith((_HERE, "<frozen"))]
    return [f for f in kept if not f.filename.endswith(("/runpy.py", "/importlib/__init__.py"))]
