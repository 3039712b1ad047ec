"""The script database as an import document."""

from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from kirby_api.access.permissions import Caller
from kirby_api.kinds.config_keys import ConfigKeys
from kirby_api.kinds.contexts import Contexts
from kirby_api.kinds.environments import Environments
from kirby_api.kinds.jobs import Jobs
from kirby_api.kinds.kind import Kind
from kirby_api.kinds.limits import Limits
from kirby_api.kinds.notifications import NotificationGroups, Notifications
from kirby_api.kinds.schedules import Schedules
from kirby_api.kinds.scripts import Scripts
from kirby_api.kinds.topics import Topics
from kirby_api.usecases.document import Document, parse

_NOT_IN_FORMS = {"id", "rev", "contexts", "successors", "paused", "pause_reason", "paused_by"}


async def export_document(db: AsyncSession, caller: Caller) -> Document:
    """What an empty installation can import to be configured like what the caller sees of this one.

    Accounts and secrets are not in it.
    """
    keys = await _all(db, caller, ConfigKeys())
    contexts: dict[str, list[dict[str, Any]]] = {}
    told = await _all(db, caller, Notifications())
    for view in await _all(db, caller, Contexts()):
        contexts.setdefault(view["job"], []).append(_context(view, keys, told))
    jobs = [
        {**_form(job), "config_keys": _keys(keys, job=job["name"]), "contexts": contexts.get(job["name"], [])}
        for job in await _all(db, caller, Jobs())
    ]
    return parse(
        {
            "version": 1,
            "environments": [
                _only(e, "name", "topic_prefix", "kafka_bootstrap_servers")
                for e in await _all(db, caller, Environments())
            ],
            "schedules": [_schedule(s) for s in await _all(db, caller, Schedules())],
            "topics": [_form(t) for t in await _all(db, caller, Topics())],
            "scripts": [
                _only(s, "package_name", "package_version", "entry", "sources", "destinations")
                for s in await _all(db, caller, Scripts())
            ],
            "notification_groups": [_form(g) for g in await _all(db, caller, NotificationGroups())],
            "limits": [_only(x, "name", "places", "key", "description") for x in await _all(db, caller, Limits())],
            "config_keys": _keys(keys),
            "jobs": jobs,
        }
    )


async def _all(db: AsyncSession, caller: Caller, kind: Kind[Any]) -> list[dict[str, Any]]:
    rows = (await db.scalars(select(kind.row).where(kind.visible(caller)).order_by(kind.sort))).all()
    return [view.model_dump() for view in await kind.show(db, rows)]


def _form(view: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in view.items() if name not in _NOT_IN_FORMS}


def _only(view: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: view[name] for name in names}


def _schedule(view: dict[str, Any]) -> dict[str, Any]:
    given = {name: view[name] for name in ("expr", "every", "at", "anchor") if view[name] is not None}
    return {"name": view["name"], "tz": view["tz"], "dst": view["dst"], **given}


def _keys(keys: list[dict[str, Any]], *, job: str | None = None, env: str | None = None) -> list[dict[str, Any]]:
    return [{"name": k["name"], "value": k["value"]} for k in keys if k["job"] == job and k["env"] == env]


def _context(view: dict[str, Any], keys: list[dict[str, Any]], told: list[dict[str, Any]]) -> dict[str, Any]:
    script = view["script"]
    return {
        **_only(view, "env", "schedules", "replicas", "per_worker", "pool", "args", "policies"),
        "script": None if script is None else f"{script['package_name']}=={script['package_version']}",
        "entry": None if script is None else script["entry"],
        "enabled": view["state"] != "disabled",
        "config_keys": _keys(keys, job=view["job"], env=view["env"]),
        "notifications": [
            _only(n, "group", "on_failure", "on_retry")
            for n in told
            if n["job"] == view["job"] and n["env"] == view["env"]
        ],
    }
