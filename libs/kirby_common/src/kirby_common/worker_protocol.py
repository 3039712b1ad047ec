"""What a worker and the worker endpoint say to each other: HTTP POST of JSON below `/worker/v1`.

Every request carries `Authorization: Bearer <worker token>`; every request but `hello` also
`X-Kirby-Incarnation`. A request of an incarnation that no longer holds its name gets 410 `gone`:
the worker stops at once. Times are milliseconds relative to the answer, so no two clocks are compared.

| path | request | answer | when |
|---|---|---|---|
| /hello | Hello | Welcome, 409 NameInUse | once at start; again after 410 is not allowed |
| /claims | ClaimRequest | ClaimAnswer | on a wake-up and once a second, with free places |
| /launches | LaunchRequest | LaunchAnswer | at most 300 ms before due, for all that are due |
| /reports | ReportRequest | ReportAnswer | NOT_LAUNCHED, STARTED, ENDED, PREPARATION_FAILED, RELEASED |
| /beats | BeatRequest | BeatAnswer | every 0.15 lease, from its own thread |
| /locks/claim | LockClaimRequest | LockClaimAnswer | with the poll: a version to resolve |
| /locks/result | LockResult | {} | the lock, or why there is none |
| /bye | Bye | {} | after a drain: the name is free at once |
"""

from datetime import datetime
from enum import StrEnum
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field


class Wire(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Hello(Wire):
    name: str = Field(min_length=1, max_length=200)
    incarnation: UUID
    boot_id: str
    home_id: UUID
    host: str
    pool: str = "default"
    labels: dict[str, str] = {}
    places: int = 64
    version: str
    platform: str
    python: str
    lead: bool = False


class HeldAttempt(Wire):
    """An attempt that this name's previous incarnation held and that is now this one's."""

    run_id: UUID
    grant: int
    attempt: int | None
    status: str


class Welcome(Wire):
    worker_id: str
    lease_ms: int
    attempts: list[HeldAttempt] = []


class NameInUse(Wire):
    name: str
    host: str
    since: datetime


class ClaimRequest(Wire):
    claim_id: UUID
    again: bool = Field(default=True, description="whether this claim may have been answered before")
    k: int = Field(ge=0, le=1000)
    pool: str = "default"
    labels: dict[str, str] = {}
    venvs: list[UUID] = Field(default=[], description="lock ids whose environment is ready here")


class RunGrant(Wire):
    """Everything a worker needs to prepare and start one attempt. Holds no secret value."""

    run_id: UUID
    grant: int
    rev: int
    kind: str
    job: str
    job_type: Literal["scheduled", "daemon"]
    env: str
    namespace: str
    labels: dict[str, str] = {}
    due_at: datetime | None
    due_in_ms: float
    deadline_in_ms: float | None
    script_id: UUID | None = None
    package_name: str
    package_version: str
    entry: str | None
    lock_id: UUID
    lock_text: str
    requires_python: str | None = None
    variables: dict[str, str] = {}
    secret_refs: dict[str, str] = {}
    topic_prefix: str = ""
    kafka: Literal["default", "none"] = "default"
    kafka_bootstrap_servers: str | None = None
    timeout_ms: float | None = None
    grace_ms: float = 10_000
    delivery: Literal["at_most_once", "at_least_once"] = "at_most_once"
    fenced: bool = False
    rerun: bool = False
    args: list[str] = []
    slot: int | None = None
    group: str | None = None
    run_token: str
    attempt_next: int


class ClaimAnswer(Wire):
    grants: list[RunGrant] = []
    locks: bool = Field(default=True, description="whether a version may wait to be resolved")


class RunRef(Wire):
    run_id: UUID
    grant: int


class LaunchRequest(Wire):
    runs: list[RunRef]


class LaunchDecision(Wire):
    """`ok`: LAUNCHING is written, start within 2 s of having sent the request.

    Not ok: nothing may be started and the grant is over, unless `retry_at_due`: a predecessor still
    runs, ask once more at the due instant. `lost`: the run was given up meanwhile, and keeps its places until it
    is told as NOT_LAUNCHED.
    """

    run_id: UUID
    grant: int
    ok: bool
    attempt: int | None = None
    reason: str | None = None
    retry_at_due: bool = False
    lost: bool = False


class LaunchAnswer(Wire):
    decisions: list[LaunchDecision]


class ReportKind(StrEnum):
    PREPARATION_FAILED = "preparation_failed"
    RELEASED = "released"
    NOT_LAUNCHED = "not_launched"
    STARTED = "started"
    ENDED = "ended"


class LogSummary(Wire):
    """What the shim counted at the end; completeness can be checked against it."""

    lines: int
    bytes: int
    last_seq: int
    sha256: str


class Report(Wire):
    """A fact about one attempt. Repeating one is a no-op with the first one's answer."""

    kind: ReportKind
    run_id: UUID
    grant: int
    attempt: int | None = None
    reason: str | None = None
    pid: int | None = None
    started_ms_ago: float | None = None
    ended_ms_ago: float | None = None
    exit_code: int | None = None
    signal: int | None = None
    killed_by: Literal["timeout", "user", "fence", "superseded", "drained", "cancel_previous"] | None = None
    log: LogSummary | None = None


class ReportRequest(Wire):
    reports: list[Report]


class ReportOutcome(Wire):
    """`accepted`: written, or was already. Otherwise the attempt is no longer this worker's to tell of."""

    run_id: UUID
    grant: int
    accepted: bool
    status: str | None = None
    reason: str | None = None


class ReportAnswer(Wire):
    outcomes: list[ReportOutcome]


class BeatAttempt(Wire):
    run_id: UUID
    grant: int
    progress: dict[str, Any] | None = None


class BeatRequest(Wire):
    beat: int
    attempts: list[BeatAttempt] = []
    spools: list[RunRef] = []
    usage: dict[str, float] = {}


class Order(Wire):
    """kill: end it (TERM, grace, KILL). forget: the attempt is not yours. drain (no run): take nothing new."""

    kind: Literal["kill", "drain", "forget"]
    run_id: UUID | None = None
    grant: int | None = None
    why: Literal["timeout", "user", "fence", "superseded", "drained", "cancel_previous"] | None = None


class SpoolAck(Wire):
    """The highest log sequence number of the attempt that the recorder has projected (-1: none)."""

    run_id: UUID
    grant: int
    last_seq: int


class BeatAnswer(Wire):
    orders: list[Order] = []
    spools: list[SpoolAck] = []


class LockClaimRequest(Wire):
    platform: str
    python: str


class LockWork(Wire):
    """Resolve `package_name==package_version` to a lock with hashes, within `lease_ms`."""

    lock_id: UUID
    package_name: str
    package_version: str
    lease_ms: float


class LockClaimAnswer(Wire):
    work: LockWork | None = None


class LockResult(Wire):
    """`text` is a requirements file with exact versions and hashes; without it `error` is one sentence.

    `transient`: the index did not answer; ask again later. Otherwise the version can't be had as it is.
    """

    lock_id: UUID
    text: str | None = None
    requires_python: str | None = None
    error: str | None = None
    transient: bool = False


class Bye(Wire):
    incarnation: UUID
