"""The policies of a job, overridable per context. Defaults are the careful ones."""

from datetime import timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from kirby_common.durations import Duration, parse_duration


def _listed(value: Any) -> Any:
    """A list as it comes from a command line: `a,b`."""
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


Numbers = Annotated[tuple[int, ...], BeforeValidator(_listed)]
Names = Annotated[tuple[str, ...], BeforeValidator(_listed)]


class Retry(BaseModel):
    """When an exit was *seen*: how often to try in all, and how long to wait in between."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    attempts: int = Field(default=1, ge=1, le=1000, description="tries in all, the first included")
    kind: Literal["constant", "exponential", "random"] = "constant"
    delay: Duration = Field(default=parse_duration("0s"), ge=timedelta(0))
    cap: Duration = Field(default=parse_duration("1h"), ge=timedelta(0), description="longest wait when it grows")
    duration: Duration | None = Field(default=None, description="no new attempt later than this after the first start")
    exit_codes: Numbers | None = Field(default=None, description="only after these; unset: any but 0")
    on_lost: bool = Field(default=False, description="needs delivery at_least_once, which means it")


class Restart(BaseModel):
    """When a daemon that has ended is started again, and what counts as a crash loop."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    when: Literal["always", "on_failure", "never"] = "always"
    delay: Duration = Field(default=parse_duration("1s"), gt=timedelta(0), description="first wait; it doubles")
    cap: Duration = Field(default=parse_duration("1m"), gt=timedelta(0), description="longest wait when it grows")
    steady: Duration = Field(default=parse_duration("1m"), gt=timedelta(0), description="an end before it is quick")
    crash_loop_after: int = Field(default=5, ge=2, le=1000, description="quick exits in a row")
    crash_loop_delay: Duration = Field(
        default=parse_duration("5m"), gt=timedelta(0), description="wait between tries in a crash loop"
    )
    settle: Duration = Field(
        default=parse_duration("5s"), ge=timedelta(0), description="a new version is up so long before the old drains"
    )


class Policies(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    misfire: Literal["skip", "fire_once", "fire_all"] = "fire_once"
    max_fires: int = Field(default=100, ge=1, le=1000, description="with fire_all: at most so many late ones")
    catchup_window: Duration = Field(default=parse_duration("1h"), ge=timedelta(0))
    start_deadline: Duration = Field(default=parse_duration("5m"), gt=timedelta(0))
    overlap: Literal["skip", "queue_one", "allow", "cancel_previous"] = "skip"
    concurrency: int | None = Field(
        default=None, ge=1, le=10_000, description="with overlap allow: at most so many at once; others wait"
    )
    limits: Names = Field(default=(), max_length=20, description="names of limits; a run needs a place in each")
    jitter: Duration = Field(default=parse_duration("0s"), ge=timedelta(0))
    timeout: Duration | None = Field(default=None, gt=timedelta(0))
    grace: Duration | None = Field(default=None, ge=timedelta(0), description="TERM to KILL; 10s, daemons 30s")
    retry: Retry = Retry()
    delivery: Literal["at_most_once", "at_least_once"] = "at_most_once"
    priority: int = Field(default=0, ge=-1000, le=1000)
    worker_labels: dict[str, str] = {}
    max_duration: Duration | None = Field(default=None, description="a run longer than this is a missed mark")
    restart: Restart = Restart()
    stalled_after: Duration | None = Field(
        default=parse_duration("5m"), description="a daemon that reads nothing for so long though messages wait"
    )

    @model_validator(mode="after")
    def _lost_needs_at_least_once(self) -> Self:
        if self.retry.on_lost and self.delivery == "at_most_once":
            raise ValueError(
                "retry.on_lost needs delivery at_least_once: after LOST nobody knows whether the script ran"
            )
        return self

    @model_validator(mode="after")
    def _concurrency_needs_allow(self) -> Self:
        if self.concurrency is not None and self.overlap != "allow":
            raise ValueError(f"concurrency needs overlap allow: with {self.overlap} one runs at a time anyway")
        return self


def merged(job: dict[str, Any], context: dict[str, Any]) -> Policies:
    """The policies that hold for a context: its own keys over the job's. Raises pydantic's ValidationError."""
    return Policies.model_validate({**job, **context})
