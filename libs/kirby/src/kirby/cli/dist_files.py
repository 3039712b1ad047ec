"""Distribution files: built from a project folder, or given; and what their names say."""

import importlib.util
import io
import os
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from kirby.cli.errors import CommandError, UsageError
from kirby.cli.script_source import check_neighbours, check_syntax, read_script
from kirby.cli.script_wheel import BuiltWheel, build

_WHEEL = re.compile(r"(?P<name>[^-]+)-(?P<version>[^-]+)(-\d[^-]*)?-[^-]+-[^-]+-[^-]+\.whl")
_SDIST = re.compile(r"(?P<name>.+)-(?P<version>[^-]+)\.(tar\.gz|zip)")
# Setuptools stamps the time of the build into a wheel unless it is told one; the same project must give the same bytes.
_STABLE = {"SOURCE_DATE_EPOCH": "315532800"}


def built(path: Path) -> BuiltWheel:
    """The distribution of what is at `path`: a script file, a project's folder, a wheel or an sdist."""
    if path.is_dir():
        return build_project(path)
    if not path.exists():
        raise UsageError(f"{path} does not exist")
    if path.suffix != ".py":
        return read_dist(path)
    script = read_script(path.read_bytes(), filename=path.name)
    check_neighbours(script, path.parent)
    return build(script)


def read_dist(path: Path) -> BuiltWheel:
    """A wheel or sdist from disk. Raises UsageError when it is not one, or holds a module that is not Python."""
    found = _WHEEL.fullmatch(path.name) or _SDIST.fullmatch(path.name)
    if found is None:
        raise UsageError(f"{path.name} is neither NAME-VERSION-TAGS.whl nor NAME-VERSION.tar.gz: `uv build` makes one")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path} can't be read: {error.strerror}") from error
    if path.suffix == ".whl":
        _check_wheel(content, filename=path.name)
    name = re.sub(r"[-_.]+", "-", found["name"]).lower()
    return BuiltWheel(path.name, name, found["version"], content)


def build_project(folder: Path) -> BuiltWheel:
    """The wheel of a project, by uv or `build`. Raises CommandError with the builder's last words when it fails."""
    if not (folder / "pyproject.toml").is_file() and not (folder / "setup.py").is_file():
        raise UsageError(f"{folder} is not a Python project: it has neither pyproject.toml nor setup.py")
    with tempfile.TemporaryDirectory(prefix="kirby-build-") as target:
        command = [*_builder(target), str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, env=_STABLE | os.environ, check=False)
        wheels = sorted(Path(target).glob("*.whl"))
        if done.returncode != 0 or not wheels:
            raise CommandError(f"{folder.name} does not build: {_last_words(done.stdout + done.stderr)}")
        return read_dist(wheels[0])


def _builder(target: str) -> list[str]:
    """The command that builds into `target`: uv's, else that of the `build` package."""
    if on_path := shutil.which("uv"):
        return [on_path, "build", "--wheel", "--out-dir", target]
    if importlib.util.find_spec("uv"):
        return [sys.executable, "-m", "uv", "build", "--wheel", "--out-dir", target]
    if importlib.util.find_spec("build"):
        return [sys.executable, "-m", "build", "--wheel", "--outdir", target]
    raise UsageError("Building a project needs uv or build: pip install uv (or give a wheel)")


def _check_wheel(content: bytes, *, filename: str) -> None:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            modules = [name for name in archive.namelist() if name.endswith(".py") and ".data/" not in name]
            for name in modules:
                if all(part.isidentifier() for part in name.removesuffix(".py").split("/")):
                    check_syntax(archive.read(name), filename=f"{filename}: {name}")
    except zipfile.BadZipFile as error:
        raise UsageError(f"{filename} is not a wheel: {error}") from error


def _last_words(output: str) -> str:
    """The line of a builder's output that says why: the exception, else the deepest cause."""
    lines = [line.strip(" │╰─▶×├") for line in output.splitlines()]
    for pattern in (r"[\w.]*(Error|Exception|Exit): .+", r"(cause|Because|error).+", r".+"):
        if told := [line for line in lines if re.match(pattern, line)]:
            return told[-1].removeprefix("cause: ")[:500]
    return "the builder said nothing"
