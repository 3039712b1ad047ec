"""Envelope encryption: every version of a secret has a key of its own, wrapped by the vault's key.

AES-256-GCM for both. The associated data is `path|version`, so a ciphertext that was copied to another row
does not decrypt.
"""

import base64
import binascii
import hashlib
import hmac
import json
import os
from dataclasses import dataclass
from typing import NoReturn

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from kirby_vault.domain.plaintext import SecretData
from kirby_vault.errors import Tampered, WrongKey

_NONCE = 12
_CHECK = b"kirby vault key check"


class MasterKey:
    """The key that wraps the data keys. Never printed; `id` names it without giving it away."""

    __slots__ = ("_aead", "id")

    def __init__(self, raw: bytes) -> None:
        if len(raw) != 32:
            raise WrongKey(f"a vault key has 32 bytes, this one has {len(raw)}")
        self._aead = AESGCM(raw)
        self.id = hmac.new(raw, b"kirby vault key id", hashlib.sha256).hexdigest()[:16]

    @classmethod
    def from_text(cls, text: str) -> "MasterKey":
        """From the key file's text: 32 bytes in base64. Raises `WrongKey`, without the text."""
        try:
            raw = base64.b64decode(text.strip(), validate=True)
        except (binascii.Error, ValueError):
            raise WrongKey("the vault key is not base64 of 32 bytes") from None
        return cls(raw)

    def wrap(self, plain: bytes, *, about: bytes) -> bytes:
        return _encrypt(self._aead, plain, about=about)

    def unwrap(self, wrapped: bytes, *, about: bytes) -> bytes:
        """Raises `InvalidTag`."""
        return _decrypt(self._aead, wrapped, about=about)

    def __repr__(self) -> str:
        return f"MasterKey(id={self.id!r})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a key is not pickled")


@dataclass(frozen=True)
class Sealed:
    """What is stored of one version: nothing in it can be read without the key named `key_id`."""

    key_id: str
    wrapped_key: bytes
    ciphertext: bytes


def seal(data: SecretData, *, key: MasterKey, path: str, version: int) -> Sealed:
    """Encrypts the fields under a fresh data key."""
    about = _about(path, version)
    data_key = AESGCM.generate_key(bit_length=256)
    plain = json.dumps(data.reveal(), sort_keys=True).encode()
    return Sealed(
        key_id=key.id,
        wrapped_key=key.wrap(data_key, about=about),
        ciphertext=_encrypt(AESGCM(data_key), plain, about=about),
    )


def unseal(sealed: Sealed, *, key: MasterKey, path: str, version: int) -> SecretData:
    """The fields again. Raises `Tampered` when anything about the stored bytes or their place has changed."""
    about = _about(path, version)
    try:
        data_key = key.unwrap(sealed.wrapped_key, about=about)
        plain = _decrypt(AESGCM(data_key), sealed.ciphertext, about=about)
    except InvalidTag:
        raise Tampered(
            f"version {version} of {path} does not decrypt: its row was changed, or written with another key;"
            " restore it from a backup or put the secret again"
        ) from None
    return SecretData(json.loads(plain))


def make_check(key: MasterKey) -> bytes:
    """A value to be kept in the database, by which the key can be known again."""
    return key.wrap(_CHECK, about=_CHECK)


def check_matches(stored: bytes, *, key: MasterKey) -> bool:
    try:
        return key.unwrap(stored, about=_CHECK) == _CHECK
    except InvalidTag:
        return False


def _about(path: str, version: int) -> bytes:
    return f"{path}|{version}".encode()


def _encrypt(aead: AESGCM, plain: bytes, *, about: bytes) -> bytes:
    nonce = os.urandom(_NONCE)
    return nonce + aead.encrypt(nonce, plain, about)


def _decrypt(aead: AESGCM, stored: bytes, *, about: bytes) -> bytes:
    if len(stored) < _NONCE:
        raise InvalidTag
    return aead.decrypt(stored[:_NONCE], stored[_NONCE:], about)
