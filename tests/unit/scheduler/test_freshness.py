"""When a topic is stale, and when the offsets of a daemon count as moved."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from kirby_common.ports import GroupPosition
from kirby_scheduler.loops.progress import WatchedTopic, moved_at

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)


@pytest.mark.parametrize(
    ("newest", "reason"),
    [
        (NOON - HOUR, None),
        (NOON + HOUR, None),
        (NOON - 61 * MINUTE, "no message within 1h: the newest is of 2026-11-25 10:59:00 UTC"),
        (None, "no message within 1h: none has come yet"),
    ],
)
def test_a_topic_is_stale_when_its_newest_message_is_too_old(newest: datetime | None, reason: str | None) -> None:
    found = WatchedTopic("raw", "prod", HOUR, known_since=NOON - 2 * HOUR, newest=newest).stale(NOON)
    assert (found and found.reason) == reason
    if found is not None:
        assert (found.subject, found.env) == ("topic/raw@prod", "prod")
        assert found.since == (newest or NOON - 2 * HOUR) + HOUR


def test_a_new_topic_has_its_time() -> None:
    assert WatchedTopic("raw", "prod", HOUR, known_since=NOON - MINUTE, newest=None).stale(NOON) is None


@pytest.mark.parametrize(
    ("before", "offset", "lag", "expected"),
    [
        (None, 5, 3, NOON),
        (5, 5, 3, NOON - HOUR),
        (5, 6, 3, NOON),
        (5, 5, 0, NOON),
    ],
    ids=["first look", "still", "moved", "nothing waits"],
)
def test_when_offsets_moved(before: int | None, offset: int, lag: int, expected: datetime) -> None:
    row: Any = None if before is None else SimpleNamespace(offsets={"raw:0": before}, moved_at=NOON - HOUR)
    assert moved_at(row, GroupPosition({"raw:0": offset}, lag), NOON) == expected
