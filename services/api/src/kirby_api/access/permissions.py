"""Permissions and who has them, on (environment, namespace). Pure."""

from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from kirby_api.problems import Forbidden


class Permission(StrEnum):
    READ = "read"
    TOPICS_READ = "topics:read"
    OPERATE = "operate"
    CONFIGURE = "configure"
    ADMINISTER = "administer"


_MEANING = {
    Permission.READ: "look at this",
    Permission.TOPICS_READ: "read the messages of topics",
    Permission.OPERATE: "start, cancel or kill runs",
    Permission.CONFIGURE: "change the configuration",
    Permission.ADMINISTER: "administer users, tokens, secrets and supervisors",
}
_OF_ROLE = {
    "admin": tuple(Permission),
    "developer": (Permission.READ, Permission.TOPICS_READ, Permission.OPERATE, Permission.CONFIGURE),
    "operator": (Permission.READ, Permission.TOPICS_READ, Permission.OPERATE),
    "viewer": (Permission.READ,),
    "none": (),
}
ROLES = tuple(_OF_ROLE)
"""`none` is for users who have only the roles that are bound to environments and namespaces."""


@dataclass(frozen=True)
class Place:
    """What a permission is checked on; None stands for things that belong to no environment or namespace."""

    env: str | None = None
    namespace: str | None = None


ANYWHERE = Place()


@dataclass(frozen=True)
class Grant:
    """A permission in the environments and namespaces that match; `sales.*` matches all below `sales`.

    What belongs to no environment or namespace belongs to all: anybody may look at it, but only who may do so
    everywhere may change it.
    """

    permission: Permission
    env: str = "*"
    namespace: str = "*"

    def covers(self, permission: Permission, place: Place) -> bool:
        return (
            self.permission is permission
            and _matches(self.env, place.env, shared=permission in _SHARED)
            and _matches(self.namespace, place.namespace, shared=permission in _SHARED)
        )


_SHARED = (Permission.READ, Permission.OPERATE)


def _matches(pattern: str, value: str | None, *, shared: bool) -> bool:
    if pattern == "*":
        return True
    if value is None:
        return shared
    if pattern.endswith(".*"):
        return value == pattern[:-2] or value.startswith(pattern[:-1])
    return value == pattern


def grants_of(role: str, *, env: str = "*", namespace: str = "*") -> tuple[Grant, ...]:
    """What a role may do in the places that match. An unknown role may do nothing."""
    return tuple(Grant(permission, env, namespace) for permission in _OF_ROLE.get(role, ()))


@dataclass(frozen=True)
class Caller:
    """Who asks. `session` is the hashed id of a browser's session, None for an API token.

    `run_id` is set when it is a running script, by its run token; then `user_id` is the run's, too.
    """

    user_id: UUID
    name: str
    role: str
    grants: tuple[Grant, ...]
    session: str | None = None
    csrf: str | None = None
    run_id: UUID | None = None

    def holds(self, permission: Permission) -> bool:
        """Whether it may do so anywhere; to administer, only everywhere counts."""
        if permission is Permission.ADMINISTER:
            return self.may(permission)
        return any(grant.permission is permission for grant in self.grants)

    def may(self, permission: Permission, place: Place = ANYWHERE) -> bool:
        return any(grant.covers(permission, place) for grant in self.grants)

    def require(self, permission: Permission, place: Place = ANYWHERE) -> None:
        """Raises `Forbidden`, naming what is missing and where."""
        if self.may(permission, place):
            return
        where = "".join(
            (
                f" in environment '{place.env}'" if place.env else "",
                f" in namespace '{place.namespace}'" if place.namespace else "",
            )
        )
        raise Forbidden(
            f"{self.name} may not {_MEANING[permission]}{where}; an admin can",
            permission=permission.value,
            environment=place.env,
            namespace=place.namespace,
        )
