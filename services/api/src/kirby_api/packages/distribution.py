"""A wheel, sdist or script as it was handed in: its name and version, read from its own metadata."""

import re
import tarfile
import zipfile
import zlib
from dataclasses import dataclass
from email.parser import HeaderParser
from hashlib import md5, sha256
from io import BytesIO
from pathlib import PurePosixPath

from kirby.cli.errors import UsageError
from kirby.cli.script_wheel import wheel_of_script

from kirby_api.problems import Invalid

_FILENAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+!-]*")
_MAX_METADATA = 5_000_000


@dataclass(frozen=True)
class Distribution:
    filename: str
    name: str
    version: str
    metadata_version: str
    content: bytes

    @property
    def normal_name(self) -> str:
        return re.sub(r"[-_.]+", "-", self.name).lower()

    @property
    def sha256(self) -> str:
        return sha256(self.content).hexdigest()

    @property
    def is_wheel(self) -> bool:
        return self.filename.endswith(".whl")

    def form(self) -> dict[str, str]:
        """The fields of an upload, as twine sends them."""
        return {
            ":action": "file_upload",
            "protocol_version": "1",
            "name": self.name,
            "version": self.version,
            "metadata_version": self.metadata_version,
            "filetype": "bdist_wheel" if self.is_wheel else "sdist",
            "pyversion": "py3" if self.is_wheel else "source",
            "sha256_digest": self.sha256,
            "md5_digest": md5(self.content, usedforsecurity=False).hexdigest(),
        }


def read_distribution(filename: str, content: bytes) -> Distribution:
    """The package in a file; of a single script, the wheel that `kirby deploy` would make of it, which runs nothing.

    Raises `Invalid` with a sentence for what is not a package, or not what its name says.
    """
    if not _FILENAME.fullmatch(filename):
        raise Invalid(f"'{filename}' is not the name of a package file")
    if filename.endswith(".py"):
        return _of_script(filename, content)
    if not filename.endswith((".whl", ".tar.gz")):
        raise Invalid(f"{filename} is neither a wheel (.whl), a source distribution (.tar.gz) nor a script (.py)")
    try:
        text = _wheel_metadata(content) if filename.endswith(".whl") else _sdist_metadata(content)
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, EOFError, OSError, RuntimeError) as error:
        raise Invalid(f"{filename} can't be read as a package: {error}") from error
    headers = HeaderParser().parsestr(text)
    name, version = headers.get("Name"), headers.get("Version")
    if not name or not version:
        raise Invalid(f"{filename} does not say its name and version in its metadata")
    made = Distribution(filename, name, version, headers.get("Metadata-Version", "2.1"), content)
    if not _same_name(filename, made):
        raise Invalid(f"{filename} holds {name} {version}: its file name must say the same")
    return made


def _of_script(filename: str, content: bytes) -> Distribution:
    try:
        built = wheel_of_script(content, filename=filename)
    except UsageError as error:
        raise Invalid(str(error)) from error
    return read_distribution(built.filename, built.content)


def _same_name(filename: str, made: Distribution) -> bool:
    stem = filename.removesuffix(".whl").removesuffix(".tar.gz")
    parts = stem.split("-")
    name, version = (parts[0], parts[1]) if made.is_wheel and len(parts) >= 5 else stem.rpartition("-")[::2]
    return re.sub(r"[-_.]+", "-", name).lower() == made.normal_name and version.replace("_", "+") == made.version


def _wheel_metadata(content: bytes) -> str:
    with zipfile.ZipFile(BytesIO(content)) as archive:
        for info in archive.infolist():
            path = PurePosixPath(info.filename)
            if path.name == "METADATA" and path.parent.suffix == ".dist-info" and len(path.parts) == 2:
                with archive.open(info) as file:
                    return file.read(_MAX_METADATA).decode("utf-8", "replace")
    raise zipfile.BadZipFile("it has no .dist-info/METADATA")


def _sdist_metadata(content: bytes) -> str:
    with tarfile.open(fileobj=BytesIO(content), mode="r:gz") as archive:
        for member in archive:
            path = PurePosixPath(member.name)
            if path.name == "PKG-INFO" and len(path.parts) == 2 and member.isfile():
                file = archive.extractfile(member)
                assert file is not None
                return file.read(_MAX_METADATA).decode("utf-8", "replace")
    raise tarfile.TarError("it has no PKG-INFO")
