"""A case: what a script is given, and what it is expected to leave. Read from a folder.

case.toml              script, args, env, now, timeout, exit, ignore, ordered
topics/<topic>/        the messages it finds
states/<name>.json     the States it finds, {key: value}
files/<path>           the files it finds
web/<nnn>.json         the answers of web services, {"request": …, "answer": …}
expected/topics/…      what it sends, and in the same way states/ and files/
expected/output.txt    what it prints, where … stands for anything
"""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kirby.testing.folders import BadFolder, Sent, parsed, read_topics
from kirby.testing.recordings import Recording, read_recordings

CASE_FILE = "case.toml"
TIMEOUT_S = 30.0
_EXPECTED = "expected"


@dataclass(frozen=True)
class Given:
    """What a script is run with.

    `script`: a file, seen from `root`, or `module:function`, which is looked for in `root` or its `src`. `now`: the
    time it sees (aware; else the real one). `timeout_s`: after how many seconds it counts as hanging.
    """

    script: str
    root: Path
    args: Sequence[str] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    now: datetime | None = None
    timeout_s: float = TIMEOUT_S
    topics: Mapping[str, Sequence[Sent]] = field(default_factory=dict)
    states: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    files: Mapping[str, bytes] = field(default_factory=dict)
    web: Sequence[Recording] = ()


@dataclass(frozen=True)
class Expected:
    """What a script should leave behind. `exit_code` is what it ends with, 1 for one that raises."""

    topics: Mapping[str, Sequence[Sent]] = field(default_factory=dict)
    states: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    files: Mapping[str, bytes] = field(default_factory=dict)
    output: str | None = None
    exit_code: int = 0


@dataclass(frozen=True)
class Case:
    """A test in a folder. `given.script` is "" where the folder names none: then only its messages are read.

    `compares`: whether there is anything to compare with. `ignore`: fields that are not compared, such as `value.id`.
    `ordered`: whether messages of one key must come in their order.
    """

    folder: Path
    given: Given
    expected: Expected
    compares: bool = True
    ignore: Sequence[str] = ()
    ordered: bool = True


def find_cases(folder: Path) -> Iterator[Path]:
    """The folders of cases in and below `folder`, sorted: those with a case.toml, or with topics and no case around."""
    if is_case(folder):
        yield folder
        return
    for path in sorted(folder.iterdir()):
        if path.is_dir() and not path.name.startswith((".", "__")) and path.name not in ("node_modules", "dist"):
            yield from find_cases(path)


def is_case(folder: Path) -> bool:
    """Whether a folder is a case."""
    return (folder / CASE_FILE).is_file() or any((folder / "topics").glob("*/*.json*"))


def read_case(folder: Path, *, script: str | None = None) -> Case:
    """The case of a folder; `script` in the place of the one it names. Raises BadFolder."""
    settings = _Settings(folder / CASE_FILE)
    root = _package(folder)
    wanted = script if script is not None else settings.text("script") or _only_command(root)
    given = Given(
        script=wanted,
        root=(root or folder) if is_function(wanted) else Path() if script is not None else folder,
        args=settings.texts("args"),
        env=settings.env(),
        now=settings.moment("now"),
        timeout_s=settings.seconds("timeout") or TIMEOUT_S,
        topics=read_topics(folder / "topics"),
        states=_read_states(folder / "states"),
        files=_read_files(folder / "files"),
        web=read_recordings(folder / "web"),
    )
    expected = Expected(
        topics=read_topics(folder / _EXPECTED / "topics"),
        states=_read_states(folder / _EXPECTED / "states"),
        files=_read_files(folder / _EXPECTED / "files"),
        output=_read_text(folder / _EXPECTED / "output.txt"),
        exit_code=settings.number("exit"),
    )
    compares = (folder / _EXPECTED).is_dir()
    ignore, ordered = settings.texts("ignore"), settings.flag("ordered", default=True)
    settings.check()
    return Case(folder, given, expected, compares=compares, ignore=ignore, ordered=ordered)


class _Settings:
    """case.toml; what is asked for is known, and `check` refuses the rest."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._asked: set[str] = set()
        try:
            self._told: dict[str, Any] = tomllib.loads(path.read_text()) if path.is_file() else {}
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise BadFolder(path, f"not TOML: {error}") from error

    def text(self, name: str) -> str:
        return str(self._of(name, str, "text", ""))

    def texts(self, name: str) -> tuple[str, ...]:
        found = self._of(name, list, "a list of texts", [])
        if not all(isinstance(one, str) for one in found):
            raise BadFolder(self._path, f"{name} is a list of texts")
        return tuple(found)

    def number(self, name: str) -> int:
        return int(self._of(name, int, "a whole number", 0))

    def seconds(self, name: str) -> float:
        return float(self._of(name, int | float, "a number of seconds", 0))

    def flag(self, name: str, *, default: bool) -> bool:
        return bool(self._of(name, bool, "true or false", default))

    def moment(self, name: str) -> datetime | None:
        found = self._of(name, datetime, "a time such as 2026-01-01T12:00:00Z", None)
        if found is not None and found.tzinfo is None:
            raise BadFolder(self._path, f"{name} has no zone: write 2026-01-01T12:00:00Z")
        return None if found is None else found.astimezone(UTC)

    def env(self) -> dict[str, str]:
        return {name: str(value) for name, value in self._of("env", dict, "a table", {}).items()}

    def check(self) -> None:
        """Raises BadFolder for a setting that there is not."""
        for name in self._told:
            if name not in self._asked:
                raise BadFolder(self._path, f"unknown setting {name!r}: there are {', '.join(sorted(self._asked))}")

    def _of(self, name: str, kind: Any, told: str, default: Any) -> Any:
        self._asked.add(name)
        found = self._told.get(name, default)
        is_wrong_bool = isinstance(found, bool) and kind is not bool
        if found is not default and (is_wrong_bool or not isinstance(found, kind)):
            raise BadFolder(self._path, f"{name} is {told}, not {found!r}")
        return found


def is_function(script: str) -> bool:
    """Whether a script is a `module:function`, and no file."""
    return ":" in script and not script.endswith(".py")


def _package(folder: Path) -> Path | None:
    """The package that a folder lies in."""
    return next((f for f in folder.absolute().parents if (f / "pyproject.toml").is_file()), None)


def _only_command(root: Path | None) -> str:
    """The command of a package that has one."""
    if root is None:
        return ""
    try:
        scripts = tomllib.loads((root / "pyproject.toml").read_text()).get("project", {}).get("scripts", {})
    except tomllib.TOMLDecodeError as error:
        raise BadFolder(root / "pyproject.toml", f"not TOML: {error}") from error
    return next(iter(scripts.values())) if len(scripts) == 1 else ""


def _read_states(folder: Path) -> dict[str, dict[str, Any]]:
    found = {}
    for path in sorted(folder.glob("*.json")):
        told = parsed(path, path.read_bytes())
        if not isinstance(told, dict):
            raise BadFolder(path, "a State is an object: its keys and their values")
        found[path.stem] = told
    return found


def _read_files(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


def _read_text(path: Path) -> str | None:
    return path.read_text() if path.is_file() else None
