"""Makes the demo's wheels from the example packages' sources.

The examples are pure Python with a console script each, so a wheel of one is a zip file with three small texts
beside the code. Writing it here needs no build tool and takes milliseconds, and the same sources always give the
same bytes: a second upload is a repeat, not a conflict.
"""

import base64
import hashlib
import tomllib
import zipfile
from pathlib import Path
from typing import Any

PACKAGES = Path(__file__).with_name("packages")
DOCUMENTS = Path(__file__).parent
_FIRST_ZIP_DATE = (1980, 1, 1, 0, 0, 0)


def document(name: str) -> Path:
    """The path of an import document that Kirby brings along: `demo.json` or `short_demo.json`."""
    return DOCUMENTS / name


def build_wheels(into: Path, *, packages: Path = PACKAGES) -> list[Path]:
    """Writes one wheel for each example package into the folder; returns their paths."""
    into.mkdir(parents=True, exist_ok=True)
    return [_build_wheel(project.parent, into=into) for project in sorted(packages.glob("*/pyproject.toml"))]


def _build_wheel(project: Path, *, into: Path) -> Path:
    meta = tomllib.loads((project / "pyproject.toml").read_text())["project"]
    stem = f"{meta['name'].replace('-', '_')}-{meta['version']}"
    files = {
        path.relative_to(project / "src").as_posix(): path.read_bytes()
        for path in sorted((project / "src").rglob("*.py"))
    }
    files |= _dist_info(meta, folder=f"{stem}.dist-info")
    wheel = into / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name, _FIRST_ZIP_DATE)
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, content, zipfile.ZIP_DEFLATED)
        record = f"{stem}.dist-info/RECORD"
        archive.writestr(zipfile.ZipInfo(record, _FIRST_ZIP_DATE), _record(files, own=record))
    return wheel


def _dist_info(meta: dict[str, Any], *, folder: str) -> dict[str, bytes]:
    metadata = [
        "Metadata-Version: 2.1",
        f"Name: {meta['name']}",
        f"Version: {meta['version']}",
        f"Summary: {meta['description']}",
        f"Requires-Python: {meta['requires-python']}",
        *(f"Requires-Dist: {dependency}" for dependency in meta["dependencies"]),
    ]
    scripts = ["[console_scripts]", *(f"{name} = {target}" for name, target in meta["scripts"].items())]
    wheel = ["Wheel-Version: 1.0", "Generator: kirby-demo", "Root-Is-Purelib: true", "Tag: py3-none-any"]
    texts = {"METADATA": metadata, "WHEEL": wheel, "entry_points.txt": scripts}
    return {f"{folder}/{name}": ("\n".join(lines) + "\n").encode() for name, lines in texts.items()}


def _record(files: dict[str, bytes], *, own: str) -> bytes:
    lines = []
    for name, content in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        lines.append(f"{name},sha256={digest},{len(content)}")
    return ("\n".join([*lines, f"{own},,"]) + "\n").encode()
