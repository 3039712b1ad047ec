"""A wrong setting is one sentence that names the variable and never its value."""

from pathlib import Path

import pytest
from kirby_common.settings import DatabaseSettings, KafkaSettings, ServiceSettings, WrongSettings, load


def test_a_missing_setting_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SQLALCHEMY_DATABASE_URI", raising=False)
    with pytest.raises(WrongSettings, match=r"^SQLALCHEMY_DATABASE_URI is not set"):
        load(DatabaseSettings)


def test_an_empty_variable_is_an_unset_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SQLALCHEMY_DATABASE_URI", "")
    monkeypatch.setenv("KAFKA_SSL_CAFILE", "")
    with pytest.raises(WrongSettings, match=r"^SQLALCHEMY_DATABASE_URI is not set"):
        load(DatabaseSettings)
    assert load(KafkaSettings).kafka_ssl_cafile is None


def test_a_value_that_does_not_fit_is_told_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KIRBY_HEALTH_PORT", "PLANTED")
    with pytest.raises(WrongSettings, match=r"^KIRBY_HEALTH_PORT: ") as wrong:
        load(ServiceSettings)
    assert "PLANTED" not in str(wrong.value)
    assert wrong.value.__cause__ is None


def test_a_certificate_file_must_be_there_when_it_is_used(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KAFKA_SSL_CAFILE", str(tmp_path / "ca.pem"))
    assert load(KafkaSettings).kafka_use_ssl is False
    monkeypatch.setenv("KAFKA_USE_SSL", "true")
    with pytest.raises(WrongSettings, match=r"^KAFKA_SSL_CAFILE: there is no file .*ca.pem$"):
        load(KafkaSettings)
    (tmp_path / "ca.pem").write_text("")
    assert load(KafkaSettings).kafka_use_ssl is True
