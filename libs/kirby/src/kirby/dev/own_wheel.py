"""Kirby's own wheel, packed from what is installed, so that scripts on this machine can `import kirby`.

It works for an installed wheel and for a working copy alike, without a build tool: both have the package's files
and its metadata. A working copy that has changed gets a version of its own, because a published file never changes.
"""

import base64
import hashlib
import time
import zipfile
from dataclasses import dataclass
from importlib.metadata import Distribution, distribution
from io import BytesIO
from pathlib import Path

from kirby.dev.folders import write_private

_LONG_AGO = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class Published:
    version: str
    is_new: bool


def publish(packages: Path) -> Published:
    """Puts the wheel into the index's folder unless this very content is there."""
    installed = distribution("kirby")
    files = _package_files()
    digest = hashlib.sha256(b"".join(name.encode() + content for name, content in files.items())).hexdigest()
    record = packages.parent / "own-wheel"
    known = record.read_text().split() if record.exists() else []
    if len(known) == 2 and known[0] == digest and (packages / _filename(known[1])).exists():
        return Published(known[1], is_new=False)
    version = installed.version
    if _is_working_copy(installed):
        version = f"{version}+dev.{int(time.time())}"
    unfinished = packages.parent / ".own-wheel.whl"
    unfinished.write_bytes(pack(files, installed, version=version))
    unfinished.replace(packages / _filename(version))
    write_private(record, f"{digest} {version}")
    return Published(version, is_new=True)


def pack(files: dict[str, bytes], installed: Distribution, *, version: str) -> bytes:
    """A wheel with these files; the same content gives the same bytes."""
    info = f"kirby-{version}.dist-info"
    metadata = (installed.read_text("METADATA") or "").replace(
        f"Version: {installed.version}\n", f"Version: {version}\n"
    )
    wheel = "Wheel-Version: 1.0\nGenerator: kirby\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    content = files | {
        f"{info}/METADATA": metadata.encode(),
        f"{info}/WHEEL": wheel.encode(),
        f"{info}/entry_points.txt": (installed.read_text("entry_points.txt") or "").encode(),
    }
    record = "".join(f"{name},sha256={_hash(data)},{len(data)}\n" for name, data in content.items())
    content[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in content.items():
            archive.writestr(zipfile.ZipInfo(name, _LONG_AGO), data, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def _package_files() -> dict[str, bytes]:
    import kirby

    root = Path(str(kirby.__file__)).parent
    found = (path for path in sorted(root.rglob("*")) if path.is_file() and "__pycache__" not in path.parts)
    return {f"kirby/{path.relative_to(root)}": path.read_bytes() for path in found}


def _is_working_copy(installed: Distribution) -> bool:
    return '"editable": true' in (installed.read_text("direct_url.json") or "").replace('":true', '": true')


def _filename(version: str) -> str:
    return f"kirby-{version}-py3-none-any.whl"


def _hash(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
