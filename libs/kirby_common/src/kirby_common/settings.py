"""Settings that every service has. Each service adds its own class; it is read once, in its `main`."""

from pathlib import Path
from typing import TypeVar

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from kirby_common.durations import Duration, parse_duration
from kirby_common.topics import DEFAULT_OFFERS_PREFIX

S = TypeVar("S", bound=BaseSettings)


class WrongSettings(ValueError):
    """A setting is missing or wrong: one sentence, for stderr and exit code 2. Never holds the value."""


def load(settings: type[S]) -> S:
    """The settings from the environment. Raises `WrongSettings`, which names the first wrong variable."""
    try:
        return settings()
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        name = str(first["loc"][0]).upper() if first["loc"] else ""
        if first["type"] == "missing":
            described = settings.model_fields[name.lower()].description if name.lower() in settings.model_fields else ""
            raise WrongSettings(f"{name} is not set" + (f" ({described})" if described else "")) from None
        what = str(first["msg"]).removeprefix("Value error, ")
        raise WrongSettings(f"{name}: {what}" if name else what) from None


class KafkaSettings(BaseSettings):
    """How to reach Kafka; the variables are named as in the user guide."""

    model_config = SettingsConfigDict(extra="ignore", frozen=True, env_ignore_empty=True)

    kafka_bootstrap_servers: str = Field(default="127.0.0.1:9092", description="the brokers, separated by commas")
    kafka_use_ssl: bool = Field(default=False, description="whether to speak TLS to the brokers")
    kafka_ssl_cafile: Path | None = Field(default=None, description="the authorities of the brokers' certificates")
    kafka_ssl_certfile: Path | None = Field(default=None, description="our certificate, when the brokers ask for one")
    kafka_ssl_keyfile: Path | None = Field(default=None, description="the key of our certificate")

    @field_validator("kafka_ssl_cafile", "kafka_ssl_certfile", "kafka_ssl_keyfile")
    @classmethod
    def _is_there(cls, file: Path | None, info: ValidationInfo) -> Path | None:
        if file is not None and info.data.get("kafka_use_ssl") and not file.is_file():
            raise ValueError(f"there is no file {file}")
        return file


class ServiceSettings(KafkaSettings):
    """The settings shared by all services."""

    kirby_lease: Duration = Field(default=parse_duration("20s"), description="the lease of a running attempt")
    kirby_topic_job_offers: str = Field(default=DEFAULT_OFFERS_PREFIX, description="prefix of the offer topics")
    kirby_log_retention: Duration = Field(default=parse_duration("14d"), description="how long run logs are kept")
    kirby_health_host: str = Field(default="127.0.0.1", description="address of /healthz and /readyz")
    kirby_health_port: int = Field(default=0, description="port of /healthz and /readyz; 0 picks a free one")
    log_format: str | None = Field(default=None, description="a logging format string; unset: JSON lines")
    kirby_log_level: str = Field(default="INFO", description="what the services log: DEBUG, INFO, WARNING or ERROR")
    testing: bool = Field(default=False, description="allows failpoints and a manual clock")


class RedisSettings(BaseSettings):
    model_config = SettingsConfigDict(extra="ignore", frozen=True, env_ignore_empty=True)

    redis_url: str = Field(default="redis://127.0.0.1:6379", description="where to learn who should try to lead")


class DatabaseSettings(BaseSettings):
    model_config = SettingsConfigDict(extra="ignore", frozen=True, env_ignore_empty=True)

    sqlalchemy_database_uri: SecretStr = Field(
        description="the PostgreSQL database: postgresql://user:password@host/name"
    )
    sqlalchemy_track_modifications: str | None = Field(default=None, description="accepted, has no effect")


def api_base(url: str | None, schedule_endpoint: str | None) -> str | None:
    """The api's base URL: `KIRBY_URL`, else what precedes `/schedule` in `KIRBY_SCHEDULE_ENDPOINT`."""
    if url:
        return url.rstrip("/")
    if schedule_endpoint:
        return schedule_endpoint.rstrip("/").removesuffix("/schedule")
    return None
