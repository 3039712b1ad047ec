"""The worker's settings, read once at its start."""

import os
from pathlib import Path
from typing import Self

from kirby_common.durations import Duration, parse_duration
from kirby_common.settings import ServiceSettings, api_base
from pydantic import Field, SecretStr, field_validator, model_validator


def default_home(name: str) -> Path:
    """Where a worker keeps its venvs and running attempts when KIRBY_WORKER_HOME is not set."""
    if os.geteuid() == 0:
        return Path("/var/lib/kirby/workers") / name
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(data) / "kirby" / "workers" / name


def labels_of(text: str) -> dict[str, str]:
    """`gpu=yes,site=lab` as a dict. Raises ValueError."""
    labels = {}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, equals, value = part.partition("=")
        if not equals or not name.strip() or name.startswith("kirby."):
            raise ValueError(f"label {part!r}: write it as NAME=VALUE; names that begin with kirby. are Kirby's own")
        labels[name.strip()] = value.strip()
    return labels


class WorkerSettings(ServiceSettings):
    """How to reach the suite and the package index, and how much this machine takes."""

    kirby_health_port: int = Field(default=8085, description="port of /healthz and /readyz; 0 picks a free one")
    kirby_url: str | None = Field(default=None, description="the api's base URL")
    kirby_schedule_endpoint: str | None = Field(default=None, description="the api's /schedule, of old")
    kirby_ledger_url: str | None = Field(default=None, description="the worker endpoint, if not the api's word")
    kirby_vault_url: str | None = Field(default=None, description="the vault, if not the api's word")
    kirby_worker_token: SecretStr | None = Field(default=None, description="from `kirby supervisors add NAME`")
    kirby_worker_home: Path | None = Field(default=None, description="folder of venvs and running attempts")
    kirby_package_index_url: str | None = Field(default=None, description="the private index, …/simple/")
    kirby_package_index_username: str | None = None
    kirby_package_index_password: SecretStr | None = None
    kirby_public_index_url: str | None = Field(
        default=None, description="the second index; `none`: only the private one"
    )
    kirby_objects_url: str | None = Field(
        default=None, description="where scripts keep large values of States: a folder that all share, or s3://…"
    )
    kirby_supervisor_group_id: str = Field(default="default", description="the pool of workers that share offers")
    kirby_worker_labels: str = Field(default="", description="what this worker has, as gpu=yes,site=lab")
    kirby_places: int = Field(default=64, ge=1, le=1000, description="how many runs may wait here for their time")
    kirby_max_running: int = Field(
        default_factory=lambda: 4 * (os.cpu_count() or 1),
        ge=1,
        description="how many scheduled scripts may run at once; default 4 × cores",
    )
    kirby_run_as: str | None = Field(default=None, description="the user scripts run as; needs root")
    kirby_script_nice: int = Field(default=5, ge=0, le=19, description="how far scripts yield the CPU to services")
    kirby_spool_limit: int = Field(default=2**31, ge=2**20, description="bytes of unsent log an attempt may keep")
    kirby_venv_keep: Duration = Field(default=parse_duration("7d"), description="how long an unused venv is kept")
    kirby_lifeline_fd: int | None = Field(default=None, description="set by `kirby dev`: its end ends everything")
    kirby_armed: int = Field(
        default=64, ge=0, le=1000, description="how many interpreters may wait for a run, as far as memory goes"
    )
    kirby_warm_interpreters: int = Field(
        default=4, ge=0, le=100, description="how many of them may wait for runs that nobody has asked for yet"
    )
    kirby_warm_shims: int = Field(default=2, ge=0, le=32, description="idle shims kept ready")

    @model_validator(mode="after")
    def _knows_the_suite(self) -> Self:
        if self.base_url is None and self.kirby_ledger_url is None:
            raise ValueError("set KIRBY_URL to the api's base URL, for example http://127.0.0.1:8080")
        return self

    @field_validator("kirby_worker_labels")
    @classmethod
    def _are_labels(cls, text: str) -> str:
        labels_of(text)
        return text

    @property
    def labels(self) -> dict[str, str]:
        return labels_of(self.kirby_worker_labels)

    @property
    def base_url(self) -> str | None:
        return api_base(self.kirby_url, self.kirby_schedule_endpoint)

    def home(self, name: str) -> Path:
        return self.kirby_worker_home or default_home(name)
