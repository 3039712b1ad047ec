"""What the worker's use cases need from outside. Adapters are in `kirby_worker.adapters`, fakes in the tests."""

from pathlib import Path
from typing import Any, Protocol
from uuid import UUID

from kirby_common.worker_protocol import (
    ClaimAnswer,
    ClaimRequest,
    LaunchAnswer,
    LaunchRequest,
    LockClaimAnswer,
    LockClaimRequest,
    LockResult,
    ReportAnswer,
    ReportRequest,
)


class Endpoint(Protocol):
    """The worker endpoint. Every method raises `Unavailable` (try again), `Gone` (stop) or `Refused`."""

    async def claim(self, request: ClaimRequest) -> ClaimAnswer:
        """Repeat with the same claim id after `Unavailable`: the grants may be made already."""
        ...

    async def launch(self, request: LaunchRequest) -> LaunchAnswer:
        """Only an answer with `ok` allows a start; a repeat gets the same answer."""
        ...

    async def report(self, request: ReportRequest) -> ReportAnswer:
        """Outcomes come in the order of the reports."""
        ...

    async def claim_lock(self, request: LockClaimRequest) -> LockClaimAnswer: ...

    async def lock_result(self, result: LockResult) -> None: ...


class ProvidedVenv(Protocol):
    """A venv that stands."""

    @property
    def path(self) -> Path: ...


class Secrets(Protocol):
    """Reads secrets for a run, with the run's token. Raises `NoSecret`."""

    async def read(self, path: str, field: str | None, *, run_token: str) -> Any: ...

    async def resolve(self, reference: str, *, run_token: str) -> str: ...


class Shim(Protocol):
    """The connection to a shim; see `kirby_worker.shim.run` for what is said."""

    pid: int | None

    def send(self, message: dict[str, Any]) -> None: ...

    def close(self) -> None: ...


class WarmVenvs(Protocol):
    def ready(self) -> list[UUID]:
        """The lock ids whose venv stands here."""
        ...
