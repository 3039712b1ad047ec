"""What the vault refuses, each with a sentence for the user. All are permanent: asking again changes nothing."""


class VaultError(Exception):
    """The root of the tree."""


class BadName(VaultError):
    """A path, a field or a grant is written in a way the vault does not take."""


class Absent(VaultError):
    """There is no such secret, version or grant."""


class Denied(VaultError):
    """The caller may not do this."""


class WrongKey(VaultError):
    """The key file does not hold the key with which this vault's secrets are encrypted, or no key at all."""


class Tampered(VaultError):
    """A stored secret does not decrypt: it was changed in the database, or moved from another path or version."""
