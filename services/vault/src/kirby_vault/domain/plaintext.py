"""The plaintext of a secret, in a type that never shows it by accident."""

from collections.abc import Mapping
from typing import NoReturn


class SecretData:
    """Field names and values. Printing, formatting and pickling it never give a value away; `reveal` does."""

    __slots__ = ("_values",)

    def __init__(self, values: Mapping[str, str]) -> None:
        self._values = dict(values)

    @property
    def fields(self) -> tuple[str, ...]:
        return tuple(sorted(self._values))

    def reveal(self) -> dict[str, str]:
        return dict(self._values)

    def __repr__(self) -> str:
        return f"SecretData(fields={list(self.fields)}, values hidden)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not pickled")
