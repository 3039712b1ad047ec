"""Passwords: HMAC with the installation's pepper, then argon2id. The work runs in a thread: it is slow by design."""

import asyncio
import hashlib
import hmac

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

MIN_LENGTH = 8
MAX_LENGTH = 1000


class WeakPassword(ValueError):
    """The password is too short or too long; its text says so."""


def check_strength(password: str) -> str:
    if len(password) < MIN_LENGTH:
        raise WeakPassword(f"the password needs at least {MIN_LENGTH} characters")
    if len(password) > MAX_LENGTH:
        raise WeakPassword(f"the password may have at most {MAX_LENGTH} characters")
    return password


class Passwords:
    def __init__(self, pepper: str, *, hasher: PasswordHasher | None = None) -> None:
        self._pepper = pepper.encode()
        self._hasher = hasher or PasswordHasher()
        self._nobody: str | None = None

    async def hash(self, password: str) -> str:
        """The stored form. Raises `WeakPassword`."""
        return await asyncio.to_thread(self._hasher.hash, self._peppered(check_strength(password)))

    async def verify(self, stored: str | None, password: str) -> bool:
        """Whether the password fits; takes as long for an account that does not exist (`stored` None)."""
        return await asyncio.to_thread(self._verify, stored, password)

    def _verify(self, stored: str | None, password: str) -> bool:
        if self._nobody is None:
            self._nobody = self._hasher.hash("nobody has this password")
        try:
            self._hasher.verify(stored or self._nobody, self._peppered(password[:MAX_LENGTH]))
        except (VerificationError, InvalidHashError):
            return False
        return stored is not None

    def _peppered(self, password: str) -> str:
        return hmac.new(self._pepper, password.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()
