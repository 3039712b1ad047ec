"""Short signed statements between our own services: who runs (run tokens), who asks (user assertions).

JSON Web Tokens by python-jose with one explicit algorithm and our own key, `SECRET_KEY`. Never used for
tokens of others. The audience keeps one kind from being taken for another.
"""

import time
from collections.abc import Mapping
from typing import Any

from jose import JWTError, jwt

RUN = "kirby-run"
USER = "kirby-user"
_ALGORITHM = "HS256"


class BadAssertion(ValueError):
    """The token is not ours, is over, or is for something else."""


def issue(claims: Mapping[str, Any], *, key: str, audience: str, ttl_s: float, now: float | None = None) -> str:
    """A token with `claims`, for `audience` (RUN or USER), good for `ttl_s` seconds."""
    issued = time.time() if now is None else now
    return jwt.encode({**claims, "aud": audience, "iat": int(issued), "exp": int(issued + ttl_s)}, key, _ALGORITHM)


def verify(token: str, *, key: str, audience: str) -> dict[str, Any]:
    """The claims of a token. Raises `BadAssertion`."""
    try:
        return jwt.decode(token, key, algorithms=[_ALGORITHM], audience=audience, options={"require_exp": True})
    except JWTError as error:
        raise BadAssertion(str(error)) from error
