"""`kirby dev` with its demo, and what a newcomer follows on it: the README's tour, the tutorial, the how-tos."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from confluent_kafka.admin import AdminClient
from redis import Redis

from tests.e2e.documents import follow
from tests.eventually import eventually_sync
from tests.stores.session import Stores
from tests.stores.suites import RunningSuite, clean_environment, new_home

ROOT = Path(__file__).parents[2]
PAGES = [
    "README.md",
    "docs/tutorial/first-steps.md",
    "docs/howto/trigger-from-ci.md",
    "docs/howto/publish-packages.md",
    "docs/howto/backfill.md",
    "docs/howto/rewind.md",
    "docs/howto/replay.md",
    "docs/howto/stop-cancel-rerun.md",
    "docs/howto/roles.md",
    "docs/howto/secrets.md",
    "docs/howto/notifications.md",
    "docs/howto/daemons.md",
    "docs/howto/limits.md",
    "docs/howto/exceptions.md",
    "docs/howto/successors.md",
    "docs/howto/state.md",
    "docs/howto/lineage.md",
]


@pytest.fixture(scope="module")
def theirs() -> Iterator[Stores]:
    """Stores that somebody runs already, and that nobody else uses meanwhile."""
    stores = Stores()
    stores.start(["kafka", "postgres", "redis"])
    yield stores
    stores.stop()


@pytest.fixture(scope="module")
def demo_suite(theirs: Stores) -> Iterator[RunningSuite]:
    """The demo on stores of somebody's own, with two supervisors."""
    named = {
        "KAFKA_BOOTSTRAP_SERVERS": theirs.kafka.bootstrap,
        "SQLALCHEMY_DATABASE_URI": theirs.postgres.uri(),
        "REDIS_URL": theirs.redis.url,
    }
    with new_home() as running:
        running.start("--supervisors", "2", env=named)
        yield running


def test_stores_that_the_environment_names_are_used_instead(demo_suite: RunningSuite, theirs: Stores) -> None:
    parts = {part["name"] for part in demo_suite.json("dev", "status")["parts"]}
    assert parts & {"kafka", "postgres", "redis"} == set()
    topics = AdminClient({"bootstrap.servers": theirs.kafka.bootstrap}).list_topics(timeout=30).topics
    assert ".kirby.job-offers.scheduled" in topics
    assert theirs.postgres.sql("SELECT count(*) FROM environments").strip() != "0"
    with Redis.from_url(theirs.redis.url) as redis:
        assert redis.exists("kirby:leader")


def test_two_supervisors_share_the_work_and_one_leads(demo_suite: RunningSuite) -> None:
    both = eventually_sync(lambda: _alive(demo_suite, 2), timeout=30, what="two supervisors")
    assert sum(one["leader"] for one in both) == 1


def _alive(suite: RunningSuite, count: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [one for one in suite.json("supervisors", "list") if one["alive"]]
    return found if len(found) == count else []


def runs(suite: RunningSuite, *, least: int = 1, **query: str) -> list[dict[str, Any]]:
    """The runs that a query finds, once there are enough of them."""
    headers = {"Authorization": f"Bearer {suite.token}"}

    def found() -> list[dict[str, Any]]:
        answer = httpx2.get(f"{suite.url}/api/v1/runs", params=query, headers=headers).raise_for_status()
        items: list[dict[str, Any]] = answer.json()["items"]
        return items if len(items) >= least else []

    return eventually_sync(found, timeout=120, every=0.2, what=f"{least} runs with {query}")


@pytest.mark.parametrize("job", ["weather-sensor", "prime-sieve", "flaky-report"])
def test_a_scheduled_script_of_the_demo_succeeds(demo_suite: RunningSuite, job: str) -> None:
    run = runs(demo_suite, job=job, env="prod", status="SUCCEEDED")[0]
    assert demo_suite.kirby("logs", run["run_id"]).stdout.strip()


def test_two_versions_of_the_sensor_are_live(demo_suite: RunningSuite) -> None:
    versions = {
        env: runs(demo_suite, job="weather-sensor", env=env, status="SUCCEEDED")[0]["package_version"]
        for env in ("prod", "test")
    }
    assert versions == {"prod": "1.0.0", "test": "1.1.0"}


@pytest.mark.parametrize(("env", "station"), [("prod", "Seattle"), ("test", "San Francisco")])
def test_the_daemon_makes_daily_figures(demo_suite: RunningSuite, env: str, station: str) -> None:
    def told() -> bool:
        return f"{station} 2010-" in demo_suite.kirby("logs", f"weather-daily@{env}").stdout

    eventually_sync(told, timeout=90, every=0.5, what=f"figures of {station}")
    (run,) = runs(demo_suite, job="weather-daily", env=env, status="RUNNING")
    assert (run["kind"], run["slot"]) == ("daemon", 0)

    def kept() -> bool:
        return demo_suite.kirby("state", "get", "weather-records", station, "--env", env, check=False).returncode == 0

    eventually_sync(kept, timeout=90, every=0.5, what=f"records of {station} in the projection")


def test_s7_what_comes_of_a_rewind_is_flagged_and_what_is_live_is_not(demo_suite: RunningSuite) -> None:
    eventually_sync(lambda: _newest_is_live(demo_suite), timeout=90, every=0.5, what="a live message")
    demo_suite.kirby("rewind", "weather.raw", "--from", "-1h", "--yes")
    newest = demo_suite.json("topics", "peek", "weather.daily", "-n", "50")
    assert any(message.get("rerun") is True for message in newest)
    eventually_sync(lambda: _newest_is_live(demo_suite), timeout=90, every=0.5, what="a live message afterwards")


def test_s7_a_rewind_in_shadow_is_compared_promoted_or_dropped_while_live_goes_on(demo_suite: RunningSuite) -> None:
    eventually_sync(lambda: _newest_is_live(demo_suite), timeout=90, every=0.5, what="a live message")
    daemon = runs(demo_suite, job="weather-daily", env="prod", status="RUNNING")
    first = _in_shadow(demo_suite)
    compared = demo_suite.json("rewinds", "compare", first["id"])
    (daily,) = compared["topics"]
    assert (daily["topic"], daily["changed"], daily["only_shadow"], daily["only_original"]) == (
        "weather.daily",
        0,
        0,
        0,
    )
    assert daily["same"] > 0
    before = _reruns(demo_suite)
    assert demo_suite.json("rewinds", "promote", first["id"], "--yes")["state"] == "promoted"
    assert _reruns(demo_suite) == before + daily["same"]
    second = _in_shadow(demo_suite)
    assert demo_suite.json("rewinds", "drop", second["id"], "--yes")["state"] == "dropped"
    refused = demo_suite.kirby("rewinds", "promote", second["id"], "--yes", check=False)
    assert (refused.returncode, "is dropped: it can't be promoted; nothing was changed" in refused.stderr) == (5, True)
    assert _reruns(demo_suite) == before + daily["same"]
    assert [t for t in _topics(demo_suite) if "shadow" in t] == []
    assert [r for r in runs(demo_suite, job="weather-daily", env="prod", status="RUNNING") if r not in daemon] == []


def _in_shadow(suite: RunningSuite) -> dict[str, Any]:
    (made,) = suite.json("rewind", "weather.raw", "--mode", "shadow", "--from", "-1h", "--yes")["items"]
    assert (made["mode"], made["state"]) == ("shadow", "ready")
    return dict(made)


def _reruns(suite: RunningSuite) -> int:
    return sum(m.get("rerun") is True for m in suite.json("topics", "peek", "weather.daily", "-n", "1000"))


def _topics(suite: RunningSuite) -> list[str]:
    return [topic["name"] for topic in suite.json("topics", "list")]


def test_s9_a_replay_into_prod_is_refused(demo_suite: RunningSuite) -> None:
    done = demo_suite.kirby("replay", "weather.raw", "--to", "prod", check=False)
    assert (done.returncode, "a replay into prod is refused" in done.stderr) == (1, True)


def _newest_is_live(suite: RunningSuite) -> bool:
    found = suite.json("topics", "peek", "weather.daily", "-n", "1")
    return bool(found) and all("rerun" not in message for message in found)


def test_the_report_fails_every_third_time(demo_suite: RunningSuite) -> None:
    run = runs(demo_suite, job="flaky-report", status="FAILED")[0]
    assert run["exit_code"] == 1
    assert "ConnectionError" in demo_suite.kirby("logs", run["run_id"]).stdout


def test_a_second_demo_is_refused_and_changes_nothing(demo_suite: RunningSuite) -> None:
    before = [job["name"] for job in demo_suite.json("jobs")]
    done = demo_suite.kirby("demo", env=demo_suite.env, check=False)
    assert done.returncode == 1
    assert f"{len(before)} jobs" in done.stderr
    assert "Traceback" not in done.stderr
    assert [job["name"] for job in demo_suite.json("jobs")] == before


@pytest.mark.parametrize("page", PAGES)
def test_a_page_works_as_typed(demo_suite: RunningSuite, page: str, tmp_path: Path) -> None:
    env = clean_environment() | {
        "KIRBY_HOME": str(demo_suite.home),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "COLUMNS": "120",
    }
    # The demo's topics are there once its sensor has run.
    runs(demo_suite, job="weather-sensor", env="prod", status="SUCCEEDED")
    follow(ROOT / page, folder=tmp_path, env=env, timeout_s=180)
