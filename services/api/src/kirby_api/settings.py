"""The api's settings, read once in `main`. Both roles read the same class, so one environment serves both."""

from datetime import timedelta

from kirby_common.database import NotPostgres, normalise_uri
from kirby_common.durations import Duration, parse_duration
from kirby_common.settings import DatabaseSettings, RedisSettings, ServiceSettings
from pydantic import Field, SecretStr, field_validator

WEB_PORT = 8080
LEDGER_PORT = 8081


class DatabaseOnlySettings(DatabaseSettings):
    """What a command needs that only writes to the database (`adduser`)."""

    security_password_salt: SecretStr = Field(min_length=8, description="HMAC pepper of the passwords")

    @field_validator("sqlalchemy_database_uri")
    @classmethod
    def _is_postgres(cls, uri: SecretStr) -> SecretStr:
        try:
            normalise_uri(uri.get_secret_value())
        except NotPostgres as error:
            raise ValueError(str(error)) from error
        return uri


class ApiSettings(ServiceSettings, DatabaseOnlySettings, RedisSettings):
    """Everything `kirby api` and `kirby web` read from the environment."""

    secret_key: SecretStr = Field(min_length=16, description="signs run and user assertions and CSRF tokens")
    kirby_public_url: str = Field(
        default=f"http://127.0.0.1:{WEB_PORT}", description="the api as browsers see it; may have a sub-path"
    )
    kirby_ledger_url: str = Field(
        default=f"http://127.0.0.1:{LEDGER_PORT}", description="the worker endpoint as workers reach it"
    )
    kirby_vault_url: str = Field(default="http://127.0.0.1:8082", description="the vault")
    kirby_notifier_url: str = Field(default="http://127.0.0.1:8083", description="the notifier")
    kirby_package_index_url: str | None = Field(default=None, description="the private index, up to /simple/")
    kirby_package_upload_url: str | None = Field(
        default=None, description="where packages are uploaded to; unset: the index without /simple/"
    )
    kirby_package_index_username: str | None = Field(default=None, description="for reading and uploading")
    kirby_package_index_password: SecretStr | None = Field(default=None, description="for reading and uploading")
    kirby_session_lifetime: Duration = Field(default=parse_duration("7d"), description="how long a login lasts")
    kirby_run_retention: Duration = Field(default=parse_duration("90d"), description="how long ended runs are kept")
    kirby_lineage_retention: Duration = Field(
        default=parse_duration("30d"), description="how long it is known what was made from a message"
    )
    kirby_openlineage_url: str | None = Field(
        default=None, description="where OpenLineage events go: http(s)://…/api/v1/lineage, or file:///…"
    )
    kirby_openlineage_token: SecretStr | None = Field(default=None, description="sent along as a bearer token")
    kirby_backfill_max: int = Field(default=100_000, gt=0, description="the most due times that a backfill may have")
    kirby_alert_grace: Duration = Field(
        default=parse_duration("1m"), description="how long something must be missing before an alert is told"
    )
    kirby_max_package_mb: int = Field(default=512, description="the largest package that can be uploaded")

    @field_validator("kirby_openlineage_url")
    @classmethod
    def _is_a_target(cls, address: str | None) -> str | None:
        if address is not None and not address.startswith(("http://", "https://", "file:///")):
            raise ValueError("write http://…, https://… or file:///PATH")
        return address

    @property
    def database_uri(self) -> str:
        return self.sqlalchemy_database_uri.get_secret_value()

    @property
    def upload_url(self) -> str | None:
        """Where the private index takes uploads, or None when there is no private index."""
        if self.kirby_package_upload_url:
            return self.kirby_package_upload_url
        if self.kirby_package_index_url:
            return self.kirby_package_index_url.rstrip("/").removesuffix("/simple") + "/"
        return None

    @property
    def login_link_lifetime(self) -> timedelta:
        return timedelta(hours=1)
