"""Random bearer values. Only their hash is stored, so a copy of the database opens nothing."""

import hashlib
import hmac
import secrets

API_PREFIX = "kirby_"
WORKER_PREFIX = "kirbyw_"


def new_token(prefix: str = API_PREFIX) -> str:
    return prefix + secrets.token_urlsafe(32)


def hashed(token: str) -> str:
    """What is stored. The values are random, so one round of SHA-256 is enough."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def csrf_of(session_id: str, *, key: str) -> str:
    """The CSRF token of a session: it can be recomputed, so it needs no row."""
    return hmac.new(key.encode(), b"csrf:" + session_id.encode(), hashlib.sha256).hexdigest()


def same(left: str, right: str) -> bool:
    return hmac.compare_digest(left.encode("utf-8", "surrogatepass"), right.encode("utf-8", "surrogatepass"))
