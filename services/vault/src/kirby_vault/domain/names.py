"""How secrets, their fields and grants are named; everything else is refused with a sentence."""

import re

from kirby_vault.domain.plaintext import SecretData
from kirby_vault.errors import BadName

MAX_PATH = 200
MAX_FIELDS = 100
MAX_BYTES = 256 * 1024
_SEGMENT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")
_FIELD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")


def check_path(path: str) -> str:
    """The path, if it is one. Raises `BadName`."""
    if not path:
        raise BadName("a secret needs a path, for example db/main")
    if len(path) > MAX_PATH:
        raise BadName(f"the secret path has {len(path)} characters, at most {MAX_PATH} are allowed")
    for segment in path.split("/"):
        if not _SEGMENT.fullmatch(segment):
            raise BadName(
                f"{path!r} is not a secret path: write names of letters, digits, '_', '-' and '.'"
                " with '/' between them, for example db/main"
            )
    return path


def check_pattern(pattern: str) -> str:
    """What a grant names: a path, or a path followed by `/*` for everything below it. Raises `BadName`."""
    if "*" in pattern.removesuffix("/*"):
        raise BadName(f"{pattern!r} is not a grant: only a whole last part may be '*', for example db/*")
    check_path(pattern.removesuffix("/*"))
    return pattern


def covers(pattern: str, *, path: str) -> bool:
    """Whether a grant of `pattern` allows to read `path`. `db/*` covers db/main and db/a/b, not db itself."""
    if pattern.endswith("/*"):
        return path.startswith(pattern[:-1]) and len(path) > len(pattern) - 1
    return path == pattern


def check_data(data: SecretData) -> SecretData:
    """The fields, if all of them can be kept. Raises `BadName`; its text never holds a value."""
    values = data.reveal()
    if not values:
        raise BadName("a secret needs at least one field, for example password")
    if len(values) > MAX_FIELDS:
        raise BadName(f"the secret has {len(values)} fields, at most {MAX_FIELDS} are allowed")
    for field, value in values.items():
        if not _FIELD.fullmatch(field):
            raise BadName(f"{field[:100]!r} is not a field name: use up to 100 letters, digits, '_', '-' and '.'")
        if "\0" in value:
            raise BadName(f"the value of {field} contains a NUL character, which no environment variable can hold")
    size = sum(len(value.encode("utf-8", "surrogatepass")) for value in values.values())
    if size > MAX_BYTES:
        raise BadName(f"the secret has {size} bytes, at most {MAX_BYTES} are allowed")
    return data
