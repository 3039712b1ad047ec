"""All kinds, in the order in which an import makes them."""

from typing import Any

from kirby_api.kinds.config_keys import ConfigKeys
from kirby_api.kinds.contexts import Contexts
from kirby_api.kinds.environments import Environments
from kirby_api.kinds.exceptions import Exceptions
from kirby_api.kinds.jobs import Jobs
from kirby_api.kinds.kind import Kind
from kirby_api.kinds.limits import Limits
from kirby_api.kinds.notifications import NotificationGroups, Notifications
from kirby_api.kinds.schedules import Schedules
from kirby_api.kinds.scripts import Scripts
from kirby_api.kinds.topics import Topics

KINDS: tuple[Kind[Any], ...] = (
    Environments(),
    Schedules(),
    Topics(),
    Scripts(),
    NotificationGroups(),
    Limits(),
    Jobs(),
    Contexts(),
    ConfigKeys(),
    Notifications(),
    Exceptions(),
)
