"""What `kirby config` tells of settings."""

from datetime import timedelta

import pytest
from kirby.cli.config import Setting, duration, rows


def _setting(name: str, *, service: str = "api", default: object = None, secret: bool = False) -> Setting:
    return Setting(name, service, default, required=default is None, secret=secret, description="what it is")


def test_a_home_counts_more_than_the_shell_and_the_shell_more_than_the_default() -> None:
    declared = [_setting("A", default="d"), _setting("B", default="d"), _setting("C", default="d"), _setting("D")]
    found = rows(declared, home={"A": "h"}, environment={"A": "e", "B": "e"})
    assert [(row["name"], row["value"], row["source"]) for row in found] == [
        ("A", "h", "home"),
        ("B", "e", "environment"),
        ("C", "d", "default"),
        ("D", None, "not set"),
    ]


def test_no_secret_is_shown() -> None:
    declared = [_setting("SECRET_KEY", secret=True), _setting("REDIS_URL", default="x")]
    environment = {"SECRET_KEY": "planted", "REDIS_URL": "redis://user:planted@host/0"}
    found = rows(declared, home={}, environment=environment)
    assert "planted" not in str(found)
    assert [row["value"] for row in found] == ["redis://user:********@host/0", "********"]


def test_services_that_share_a_setting_are_listed_together() -> None:
    found = rows([_setting("A", service="api"), _setting("A", service="worker")], home={}, environment={})
    assert [row["services"] for row in found] == [["api", "worker"]]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (timedelta(seconds=20), "20s"),
        (timedelta(days=14), "14d"),
        (timedelta(minutes=90), "90m"),
        (timedelta(seconds=0.5), "0.5s"),
        (timedelta(0), "0s"),
    ],
)
def test_durations_are_shown_as_they_are_written(value: timedelta, text: str) -> None:
    assert duration(value) == text
