"""Who asks: the identity that the api states when it passes a user's request on to another service."""

from dataclasses import dataclass

from kirby_common import assertions
from kirby_common.problems import Problem


@dataclass(frozen=True)
class Caller:
    name: str
    role: str

    @property
    def is_admin(self) -> bool:
        return self.role == "admin"


def bearer(authorization: str | None) -> str:
    """The token in an `Authorization` header. Raises `Problem` 401."""
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Problem(401, "send `Authorization: Bearer …`; users go through the api, which adds it")
    return token.strip()


def identify(authorization: str | None, *, key: str) -> Caller:
    """The user for whom the api asks. Raises `Problem` 401."""
    try:
        claims = assertions.verify(bearer(authorization), key=key, audience=assertions.USER)
    except assertions.BadAssertion as error:
        raise Problem(401, f"the user assertion is not good: {error}") from error
    name, role = claims.get("sub"), claims.get("role")
    if not isinstance(name, str) or not isinstance(role, str):
        raise Problem(401, "the user assertion names no user or no role")
    return Caller(name, role)


def require_admin(caller: Caller, *, what: str) -> None:
    """Raises `Problem` 403 unless the caller is an admin; `what` completes "… needs the role admin"."""
    if not caller.is_admin:
        raise Problem(403, f"{what} needs the role admin; {caller.name} has the role {caller.role}")
