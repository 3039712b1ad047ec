"""Everything an attempt needs before it may wait for its time: venv, secrets, command, environment."""

import os
import pwd
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kirby_common.worker_protocol import RunGrant
from pydantic import BaseModel, ConfigDict

from kirby_worker.adapters.home import Home
from kirby_worker.adapters.vault import NoSecret
from kirby_worker.adapters.venvs import Venv, Venvs
from kirby_worker.domain.arming import Load, load_for
from kirby_worker.domain.attempt import Ref
from kirby_worker.domain.entry import NoEntry, command_for
from kirby_worker.domain.environment import Surroundings, script_environment
from kirby_worker.domain.package_errors import PackageError
from kirby_worker.ports import Secrets


class NotPrepared(Exception):
    """One sentence that says why."""


class Kept(BaseModel):
    """What the next worker must know of an attempt; the shim keeps it in memory, it is never on disk."""

    model_config = ConfigDict(frozen=True)

    run_id: str
    grant: int
    fenced: bool
    daemon: bool
    grace_s: float
    run_token: str
    venv: str


@dataclass(frozen=True)
class RunAs:
    """The user that scripts run as."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str

    @classmethod
    def named(cls, name: str) -> "RunAs":
        """Raises ValueError with a sentence."""
        try:
            user = pwd.getpwnam(name)
        except KeyError:
            raise ValueError(f"KIRBY_RUN_AS: there is no user {name!r} on this machine") from None
        if os.geteuid() != 0:
            raise ValueError("KIRBY_RUN_AS needs a worker that runs as root")
        groups = os.getgrouplist(name, user.pw_gid)
        return cls(user.pw_uid, user.pw_gid, tuple(groups), user.pw_dir)


@dataclass(frozen=True)
class ScriptRules:
    """How this worker runs scripts."""

    around: Surroundings
    nice: int
    spool_limit: int
    lease_s: float
    run_as: RunAs | None = None

    def manner(self) -> dict[str, Any]:
        """What of it the shim needs for any process, whatever its task."""
        user = self.run_as
        whom = user and {"uid": user.uid, "gid": user.gid, "groups": list(user.groups)}
        return {"nice": self.nice, "run_as": whom}


class Preparer:
    def __init__(self, *, home: Home, venvs: Venvs, secrets: Secrets, rules: ScriptRules) -> None:
        self._home = home
        self._venvs = venvs
        self._secrets = secrets
        self._rules = rules

    async def prepare(self, grant: RunGrant) -> tuple[dict[str, Any], Kept, Load | None]:
        """The shim's task, what is kept of the grant, and what to arm it with. Raises `NotPrepared`."""
        package = f"{grant.package_name}=={grant.package_version}"
        try:
            venv = await self._venvs.provide(
                grant.lock_text, package=package, lock_id=grant.lock_id, requires_python=grant.requires_python
            )
            command = self._command(venv, grant)
            secrets = {
                name: await self._secrets.resolve(reference, run_token=grant.run_token)
                for name, reference in grant.secret_refs.items()
            }
        except (PackageError, NoEntry) as error:
            raise NotPrepared(str(error)) from error
        except NoSecret as error:
            raise NotPrepared(f"a secret of its configuration can't be had: {error}") from error
        except OSError as error:
            raise NotPrepared(f"the venv of {package} can't be used: {error.strerror or error}") from error
        kept = _kept(grant, venv)
        task = self._task(grant, venv, command, secrets, kept)
        return task, kept, None if venv.runs_code_early() else load_for(command, task["env"])

    def _command(self, venv: Venv, grant: RunGrant) -> list[str]:
        command = command_for(venv.installed(grant.package_name), entry=grant.entry)
        script = [str(venv.path / "bin" / command.script)] if command.script else []
        return [str(venv.python), *script, *command.arguments]

    def _task(
        self, grant: RunGrant, venv: Venv, command: list[str], secrets: dict[str, str], kept: Kept
    ) -> dict[str, Any]:
        rules = self._rules
        environment = script_environment(grant, around=rules.around, venv=str(venv.path), secrets=secrets)
        user = rules.run_as
        if user is not None:
            environment["HOME"] = grant.variables.get("HOME", user.home)
        owner = None if user is None else user.uid
        folder = self._home.make_run_folder(Ref(grant.run_id, grant.grant), owner=owner)
        return {
            "t": "task",
            "folder": str(folder),
            "argv": [*command, *grant.args],
            "env": environment,
            "timeout_s": None if grant.timeout_ms is None else grant.timeout_ms / 1000,
            "grace_s": grant.grace_ms / 1000,
            "fenced": grant.fenced,
            "lease_s": rules.lease_s,
            "spool_limit": rules.spool_limit,
            "keep": kept.model_dump(),
        } | rules.manner()


def _kept(grant: RunGrant, venv: Venv) -> Kept:
    return Kept(
        run_id=str(grant.run_id),
        grant=grant.grant,
        fenced=grant.fenced,
        daemon=grant.job_type == "daemon",
        grace_s=grant.grace_ms / 1000,
        run_token=grant.run_token,
        venv=str(venv.path),
    )


def path_of(kept: Kept) -> Path:
    return Path(kept.venv)
