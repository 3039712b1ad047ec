"""A wheel from a single script file: the same content gives the same version and the same bytes, anywhere."""

import base64
import hashlib
import io
import re
import sys
import zipfile
from dataclasses import dataclass
from pathlib import PurePath

from kirby.cli.errors import UsageError
from kirby.cli.script_source import ScriptSource, distribution_of, read_script

_MADE_AT = (1980, 1, 1, 0, 0, 0)


@dataclass(frozen=True)
class BuiltWheel:
    """A distribution file, ready for the index."""

    filename: str
    name: str
    version: str
    content: bytes


def wheel_of_script(content: bytes, *, filename: str) -> BuiltWheel:
    """The wheel of a script's source. Raises UsageError with one sentence when it can't be one."""
    return build(read_script(content, filename=filename))


def build(script: ScriptSource) -> BuiltWheel:
    """One module named like the distribution, started by `python -m`; its PEP 723 block becomes metadata."""
    name = distribution_name(script)
    module = name.replace("-", "_")
    version = _version(name, script)
    folder = f"{module}-{version}.dist-info"
    files = {
        f"{module}.py": script.content,
        f"{folder}/METADATA": _metadata(name, version, script).encode(),
        f"{folder}/WHEEL": b"Wheel-Version: 1.0\nGenerator: kirby\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = f"{folder}/RECORD"
    files[record] = ("".join(_record(path, data) for path, data in files.items()) + f"{record},,\n").encode()
    return BuiltWheel(f"{module}-{version}-py3-none-any.whl", name, version, _zipped(files))


def distribution_name(script: ScriptSource) -> str:
    """The file's name, unless that would hide a module which the script itself imports, or Python's own."""
    wanted = script.name or PurePath(script.filename).stem
    name = re.sub(r"[^a-z0-9]+", "-", wanted.lower()).strip("-")
    if not name:
        raise UsageError(f"{script.filename!r} gives no name for a package: use letters and digits in the file's name")
    taken = {"kirby"} | script.imports | sys.stdlib_module_names | {distribution_of(d) for d in script.dependencies}
    return f"{name}-script" if {name, name.replace("-", "_")} & taken else name


def _version(name: str, script: ScriptSource) -> str:
    """Digits of a hash over everything that the wheel is made of."""
    digest = hashlib.sha256(_metadata(name, "", script).encode() + b"\0" + script.content)
    return f"0.{int(digest.hexdigest()[:10], 16)}"


def _metadata(name: str, version: str, script: ScriptSource) -> str:
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    lines += [f"Summary: {script.summary}"] if script.summary else []
    lines += [f"Requires-Python: {script.requires_python}"] if script.requires_python else []
    lines += [f"Requires-Dist: {' '.join(requirement.split())}" for requirement in script.dependencies]
    return "\n".join(lines) + "\n"


def _record(path: str, data: bytes) -> str:
    digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
    return f"{path},sha256={digest},{len(data)}\n"


def _zipped(files: dict[str, bytes]) -> bytes:
    """Stored, not compressed: compressors differ between versions, and the bytes must not."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for path, data in files.items():
            entry = zipfile.ZipInfo(path, date_time=_MADE_AT)
            entry.external_attr = 0o100644 << 16
            entry.create_system = 3
            archive.writestr(entry, data)
    return out.getvalue()
