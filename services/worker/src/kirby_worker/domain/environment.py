"""The exact environment of a script; nothing of the service's own gets in."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC

from kirby_common.worker_protocol import RunGrant

INHERITED = ("HOME", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH", "SSL_CERT_FILE", "SSL_CERT_DIR")
_DEFAULT_PATH = "/usr/local/bin:/usr/bin:/bin"


@dataclass(frozen=True)
class Surroundings:
    """What the worker itself contributes."""

    url: str | None
    kafka: Mapping[str, str] = field(default_factory=dict)
    objects: str | None = None
    """Where the large values of States lie."""
    inherited: Mapping[str, str] = field(default_factory=dict)
    path: str = _DEFAULT_PATH


def inherited_from(environ: Mapping[str, str]) -> dict[str, str]:
    """The few variables of the worker's own environment that a program needs."""
    return {name: environ[name] for name in INHERITED if name in environ}


def script_environment(
    grant: RunGrant, *, around: Surroundings, venv: str, secrets: Mapping[str, str]
) -> dict[str, str]:
    """Config keys and secrets over the defaults, Kirby's own names over all.

    KIRBY_ATTEMPT and KIRBY_SECRET_FD are added by the shim, which alone knows them.
    """
    base = {"LANG": "C.UTF-8", **around.inherited, "PYTHONUNBUFFERED": "1", "VIRTUAL_ENV": venv}
    base["PATH"] = f"{venv}/bin:{around.path}"
    if around.objects:
        base["KIRBY_OBJECTS_URL"] = around.objects
    return base | _kafka(grant, around) | dict(grant.variables) | dict(secrets) | _own(grant, around)


def _kafka(grant: RunGrant, around: Surroundings) -> dict[str, str]:
    if grant.kafka == "none":
        return {}
    if grant.kafka_bootstrap_servers:
        return {**around.kafka, "KAFKA_BOOTSTRAP_SERVERS": grant.kafka_bootstrap_servers}
    return dict(around.kafka)


def _own(grant: RunGrant, around: Surroundings) -> dict[str, str]:
    own = {
        "KIRBY_RUN_ID": str(grant.run_id),
        "KIRBY_GRANT": str(grant.grant),
        "KIRBY_JOB": grant.job,
        "KIRBY_ENV": grant.env,
        "KIRBY_RERUN": "1" if grant.rerun else "0",
        "KIRBY_TOPIC_PREFIX": grant.topic_prefix,
        "ENV": grant.env,
        "PACKAGE_NAME": grant.package_name,
        "KIRBY_VERSION": grant.package_version,
    }
    due_at = None if grant.due_at is None else grant.due_at.astimezone(UTC).isoformat().replace("+00:00", "Z")
    optional = {
        "KIRBY_DUE_AT": due_at,
        "KIRBY_URL": around.url,
        "KIRBY_WEB_SERVER": around.url,
        "KIRBY_SLOT": None if grant.slot is None else str(grant.slot),
        "KIRBY_GROUP": grant.group,
        "ID": None if grant.script_id is None else str(grant.script_id),
    }
    return own | {name: value for name, value in optional.items() if value is not None}
