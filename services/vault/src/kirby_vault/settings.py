"""The vault's settings."""

from pathlib import Path

from kirby_common.database import NotPostgres, normalise_uri
from kirby_common.settings import DatabaseSettings, ServiceSettings, WrongSettings
from pydantic import Field, SecretStr, field_validator

from kirby_vault.domain.envelope import MasterKey
from kirby_vault.errors import WrongKey

PORT = 8082


class VaultSettings(ServiceSettings, DatabaseSettings):
    """Everything `kirby vault` reads from the environment."""

    secret_key: SecretStr = Field(min_length=16, description="signs run and user assertions")
    kirby_vault_key_file: Path = Field(description="a file with the vault's key: 32 random bytes in base64")

    @field_validator("sqlalchemy_database_uri")
    @classmethod
    def _is_postgres(cls, uri: SecretStr) -> SecretStr:
        try:
            normalise_uri(uri.get_secret_value())
        except NotPostgres as error:
            raise ValueError(str(error)) from error
        return uri


def read_key(path: Path) -> MasterKey:
    """The key in the file. Raises `WrongSettings` with a sentence that names the file."""
    try:
        return MasterKey.from_text(path.read_text("ascii"))
    except FileNotFoundError:
        raise WrongSettings(
            f"KIRBY_VAULT_KEY_FILE: there is no file {path}; for a new vault:"
            f" (umask 077; openssl rand -base64 32 > {path})"
        ) from None
    except OSError as error:
        raise WrongSettings(f"KIRBY_VAULT_KEY_FILE: {path} can't be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise WrongSettings(f"KIRBY_VAULT_KEY_FILE: {path} is not base64 of 32 bytes") from None
    except WrongKey as error:
        raise WrongSettings(f"KIRBY_VAULT_KEY_FILE: {path}: {error}") from None
