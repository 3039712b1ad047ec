"""The scheduler's settings, read once in `main`."""

from kirby_common.durations import Duration, parse_duration
from kirby_common.settings import DatabaseSettings, RedisSettings, ServiceSettings
from pydantic import Field


class SchedulerSettings(ServiceSettings, DatabaseSettings, RedisSettings):
    kirby_alert_grace: Duration = Field(
        default=parse_duration("1m"), description="how long something must be missing before an alert is told"
    )
    kirby_horizon: Duration = Field(default=parse_duration("30s"), description="how far ahead runs are written down")
    kirby_run_retention: Duration = Field(default=parse_duration("90d"), description="how long ended runs are kept")
    kirby_revision_retention: Duration = Field(
        default=parse_duration("365d"), description="how long it is kept who changed what; the last change always is"
    )
    kirby_tick: Duration = Field(default=parse_duration("1s"), description="how often the leader looks for due times")
