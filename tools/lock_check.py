"""Fails when a package asks for something that requirements.lock does not pin, or pins otherwise. Needs no network."""

import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]


def pins(lock: str) -> dict[str, set[str]]:
    """Name → pinned versions; a package may be pinned once per platform."""
    found: dict[str, set[str]] = {}
    for name, version in re.findall(r"^([\w.-]+)==([\w.!+]+)", lock, flags=re.MULTILINE):
        found.setdefault(canonicalize_name(name), set()).add(version)
    return found


def asked(pyproject: dict[str, dict[str, object]]) -> Iterator[Requirement]:
    project = pyproject["project"]
    groups = [project.get("dependencies", [])]
    groups += list(_tables(project.get("optional-dependencies", {})))
    groups += list(_tables(pyproject.get("dependency-groups", {})))
    for group in groups:
        assert isinstance(group, list)
        yield from (Requirement(line) for line in group)


def _tables(table: object) -> Iterator[object]:
    assert isinstance(table, dict)
    yield from table.values()


def problems() -> Iterator[str]:
    pinned = pins((ROOT / "requirements.lock").read_text())
    files = sorted(ROOT.glob("*/*/pyproject.toml"))
    members = [path for path in files if path.parts[-3] in ("libs", "services")]
    documents = {path: tomllib.loads(path.read_text()) for path in [*members, ROOT / "pyproject.toml"]}
    ours = {canonicalize_name(document["project"]["name"]) for document in documents.values()}
    for path, document in documents.items():
        for wanted in asked(document):
            versions = pinned.get(canonicalize_name(wanted.name), set())
            if canonicalize_name(wanted.name) not in ours and not any(v in wanted.specifier for v in versions):
                yield f"{path.relative_to(ROOT)} asks for {wanted}; the lock has {', '.join(versions) or 'nothing'}"


def main() -> int:
    found = list(problems())
    for line in found:
        print(line, file=sys.stderr)
    if found:
        print("Pin them: make lock", file=sys.stderr)
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
