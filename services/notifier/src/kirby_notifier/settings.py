"""The notifier's settings."""

from datetime import timedelta
from urllib.parse import urlsplit

from kirby_common.database import NotPostgres, normalise_uri
from kirby_common.durations import Duration, parse_duration
from kirby_common.settings import DatabaseSettings, ServiceSettings
from pydantic import Field, SecretStr, field_validator

PORT = 8083
BACKOFF = "1s 5s 30s 2m 10m 30m 1h 3h 6h 12h"


class NotifierSettings(ServiceSettings, DatabaseSettings):
    """Everything `kirby notifier` reads from the environment."""

    secret_key: SecretStr = Field(min_length=16, description="signs run and user assertions; webhook secrets")
    kirby_public_url: str = Field(
        default="http://127.0.0.1:8080", description="the api as browsers see it, for the links in messages"
    )
    kirby_notifier_allow_private: bool = Field(
        default=False, description="lets webhooks go to private addresses, such as the loopback"
    )
    kirby_notifier_timeout: Duration = Field(
        default=parse_duration("10s"), description="how long a target may take to answer"
    )
    kirby_notifier_backoff: str = Field(
        default=BACKOFF, description="the pauses after failed attempts; after the last one it is given up"
    )
    kirby_notifier_retention: Duration = Field(
        default=parse_duration("30d"), description="how long the delivery log is kept"
    )
    kirby_smtp_url: SecretStr | None = Field(
        default=None, description="smtp://[user:password@]host[:port] or smtps://…; unset: no e-mail is sent"
    )
    kirby_smtp_from: str | None = Field(default=None, description="the sender of e-mails")

    @property
    def delays(self) -> tuple[timedelta, ...]:
        return tuple(parse_duration(part) for part in self.kirby_notifier_backoff.replace(",", " ").split())

    @field_validator("kirby_notifier_backoff")
    @classmethod
    def _are_durations(cls, text: str) -> str:
        for part in text.replace(",", " ").split():
            parse_duration(part)
        return text

    @field_validator("kirby_smtp_url")
    @classmethod
    def _is_smtp(cls, url: SecretStr | None) -> SecretStr | None:
        if url is not None:
            parts = urlsplit(url.get_secret_value())
            if parts.scheme not in ("smtp", "smtps") or not parts.hostname:
                raise ValueError("write smtp://[user:password@]host[:port] or smtps://…")
        return url

    @field_validator("sqlalchemy_database_uri")
    @classmethod
    def _is_postgres(cls, uri: SecretStr) -> SecretStr:
        try:
            normalise_uri(uri.get_secret_value())
        except NotPostgres as error:
            raise ValueError(str(error)) from error
        return uri
