"""What is told of a missed mark, and when."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

from hypothesis import given
from hypothesis import strategies as st
from kirby_common.ledger.alerts import AlertKind, Condition, Standing, steps

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
GRACE = Condition(AlertKind.NO_LEADER, "suite/leader", "no scheduler leads", grace=MINUTE)


def standing(*, since: datetime = NOON, told: bool = False) -> Standing:
    return Standing(uuid4(), GRACE.kind, GRACE.subject, since, told)


def test_what_is_seen_for_the_first_time_is_written_down() -> None:
    made = steps([], [GRACE], now=NOON)
    assert (made.open, made.tell, made.close, made.forget) == ([GRACE], [], [], [])


def test_it_is_told_once_it_has_lasted() -> None:
    before = standing()
    assert steps([before], [GRACE], now=NOON + MINUTE * 0.9).tell == []
    assert steps([before], [GRACE], now=NOON + MINUTE).tell == [(before, GRACE)]


def test_what_was_told_is_not_told_again_and_ends_with_a_message() -> None:
    told = standing(told=True)
    assert steps([told], [GRACE], now=NOON + 60 * MINUTE).tell == []
    assert steps([told], [], now=NOON + 60 * MINUTE).close == [told]


def test_what_passes_within_the_grace_is_forgotten() -> None:
    before = standing()
    made = steps([before], [], now=NOON + MINUTE * 0.5)
    assert (made.close, made.forget) == ([], [before])


@given(st.lists(st.booleans(), max_size=60), st.integers(0, 5))
def test_tellings_alternate_whatever_comes_and_goes(seen: Sequence[bool], grace: int) -> None:
    """A second per look: each opening is told at most once, each told one ends once, none ends untold."""
    condition = Condition(AlertKind.POOL_EMPTY, "pool/a", "no live worker", grace=timedelta(seconds=grace))
    opened: Standing | None = None
    told: list[str] = []
    lasted = 0
    for n, there in enumerate(seen):
        now = NOON + timedelta(seconds=n)
        made = steps([opened] if opened else [], [condition] if there else [], now=now)
        if made.open:
            opened = Standing(UUID(int=n), condition.kind, condition.subject, now, told=grace == 0)
            told += ["missed"] if grace == 0 else []
            lasted = 0
        elif made.tell:
            assert opened is not None
            assert lasted >= grace
            opened = Standing(opened.id, opened.kind, opened.subject, opened.opened_at, told=True)
            told.append("missed")
        elif made.close or made.forget:
            told += ["recovered"] if made.close else []
            opened = None
        lasted += 1
    assert told == [("missed", "recovered")[n % 2] for n in range(len(told))]
