"""What uv says when a version can't be had, as one sentence for the user."""

import re

_UNREACHABLE = re.compile(
    r"error sending request|Connection refused|dns error|timed out|tcp connect error|Request failed after|"
    r"operation timed out|connection closed|HTTP status (?:server error|client error \(429)|"
    r"(?:500|502|503|504) [A-Z]|Temporary failure in name resolution",
    re.IGNORECASE,
)
_MISSING = re.compile(r"Because (\S+) was not found in the package registry")
_NO_VERSION = re.compile(r"Because there is no version of (\S+?)([=<>~!]=?[^\s,]*)")
_PYTHON = re.compile(r"(\S+?)==(\S+) (?:requires|depends on) Python\s*([<>=!~][^\s]*)")
_OTHER_PYTHON = re.compile(r"does not satisfy Python\s*([<>=!~][^\s]*)")
_BUILD = re.compile(r"Failed to (?:download and )?build `([^`]+)`")
_DENIED = re.compile(r"(401|403)\b.*(Unauthorized|Forbidden)|HTTP status client error \((401|403)")
_HASH = re.compile(r"Hash mismatch for `([^`]+)`")
_NO_WHEEL = re.compile(r"(\S+?)==(\S+) has no wheels with a matching")


class PackageError(Exception):
    """One sentence; `transient` when asking again may help."""

    def __init__(self, sentence: str, *, transient: bool = False) -> None:
        super().__init__(sentence)
        self.transient = transient


def explain(output: str, *, package: str, python: str) -> PackageError:
    """The error in uv's output. `package` is what was asked for, `python` this interpreter's version."""
    found = _reason(output, package, python)
    if found is not None:
        return PackageError(found)
    if _UNREACHABLE.search(output):
        sentence = f"the package index did not answer while {package} was looked for: {_causes(output)[-1]}"
        return PackageError(sentence, transient=True)
    return PackageError(f"{package} can't be installed: {_causes(output)[0]}")


def _reason(output: str, package: str, python: str) -> str | None:
    text = " ".join(output.split())
    if match := _HASH.search(text):
        return f"{match[1]} in the package index is not the file it was when {package} was registered"
    if match := _BUILD.search(text):
        return f"{match[1]} failed to build: {_last_build_line(output)}"
    if match := _PYTHON.search(text):
        return f"{match[1]} {match[2]} needs Python {match[3].rstrip(',')}, this worker has {python}"
    if match := _OTHER_PYTHON.search(text):
        return f"{package} needs Python {match[1].rstrip(',')}, this worker has {python}"
    if match := _MISSING.search(text):
        return _not_found(match[1], package)
    if match := _NO_VERSION.search(text):
        return _no_version(match[1], match[2], package)
    if match := _NO_WHEEL.search(text):
        return f"{match[1]} {match[2]} has no build for this platform and Python {python}"
    if _DENIED.search(text):
        return "the package index refused the worker's credentials"
    return None


def _not_found(name: str, package: str) -> str:
    if package.partition("==")[0] == name:
        return f"there is no package named {name} in the package index"
    return f"{package} needs {name}, which is not in the package index"


def _no_version(name: str, version: str, package: str) -> str:
    wanted = version.removeprefix("==").rstrip(",")
    if package == f"{name}{version}":
        return f"there is no version {wanted} of {name} in the package index"
    return f"{package} needs {name}{version.rstrip(',')}, which is not in the package index"


def _last_build_line(output: str) -> str:
    """The build's own last word, which stands at the end of its stderr."""
    build = output.rpartition("[stderr]")[2] if "[stderr]" in output else output
    build = re.split(r"\n\s*hint:", build)[0]
    lines = [line.strip() for line in build.splitlines() if line.strip()]
    return lines[-1] if lines else "the build backend gave no reason"


def _causes(output: str) -> list[str]:
    """The causes that uv names, the nearest first."""
    lines = [line.strip() for line in output.splitlines() if line.strip() and not line.startswith("hint")]
    causes = [line.removeprefix("cause:").strip() for line in lines if line.startswith("cause:")]
    errors = [line.removeprefix("error:").strip() for line in lines if line.startswith("error:")]
    return causes or errors or lines or ["uv gave no reason"]
