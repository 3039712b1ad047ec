"""The script database, secrets and accounts by command."""

import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest

from tests.integration.cli.conftest import Command
from tests.stores.suites import RunningSuite


def test_an_environment_from_add_to_remove(kirby: Command, unique_name: Callable[[str], str]) -> None:
    name = unique_name("env")
    assert kirby("envs", "add", name).out == f"Added environment {name}\n"
    assert kirby("envs", "add", name, code=5).err == f"environment '{name}' exists\n"
    kirby("envs", "set", name, "--paused", "--reason", "upgrade")
    found = kirby.json("envs", "show", name)
    assert (found["topic_prefix"], found["paused"], found["pause_reason"]) == (f"{name}.", True, "upgrade")
    assert "upgrade" in kirby("envs").out
    kirby("envs", "set", name, "--resumed")
    assert [change["rev"] for change in kirby.json("envs", "history", name)] == [3, 2, 1]
    assert kirby("envs", "remove", name).out == f"Removed {name}\n"
    kirby("envs", "show", name, code=4)
    assert "begins with a letter" in kirby("envs", "add", "a b", code=1).err


def test_a_job_with_labels_and_policies(kirby: Command, unique_name: Callable[[str], str]) -> None:
    name = unique_name("job")
    kirby("jobs", "add", name, "--namespace", "a.b", "--label", "x=1", "--attempts", "3", "--policy", "retry.delay=5s")
    kirby("jobs", "set", name, "--label", "y=2", "--timeout", "90s", "--description", "does it")
    job = kirby.json("jobs", "show", name)
    assert (job["labels"], job["description"]) == ({"x": "1", "y": "2"}, "does it")
    assert job["policies"]["retry"]["attempts"] == 3
    assert "timeout" in job["policies"]
    assert name in kirby("jobs", "--namespace", "a.b").out
    limit, follower = unique_name("limit"), unique_name("follower")
    kirby("limits", "add", limit, "--places", "2", "--key", "labels.x")
    kirby("jobs", "set", name, "--policy", f"limits={limit}", "--policy", "worker_labels.gpu=yes")
    kirby("jobs", "add", follower, "--after", f"{name}:done")
    assert kirby.json("jobs", "show", name)["policies"]["worker_labels"] == {"gpu": "yes"}
    assert kirby.json("jobs", "show", name)["successors"] == [f"{follower}:done"]
    assert "0 of 2" in kirby("limits").out
    assert f"{name} names it" in kirby("limits", "remove", limit, code=5).err
    kirby("jobs", "set", follower, "--after-nothing")
    kirby("jobs", "remove", follower)
    assert "only a daemon has a group" in kirby("jobs", "set", name, "--group", "g", code=1).err
    assert "Nothing to change" in kirby("jobs", "set", name, code=2).err
    kirby("jobs", "remove", name)
    kirby("limits", "remove", limit)


def test_schedules_of_every_kind(kirby: Command, unique_name: Callable[[str], str]) -> None:
    cron, every, at = (unique_name(kind) for kind in ("cron", "every", "at"))
    kirby("schedules", "add", cron, "30 2 * * *", "--tz", "Europe/Brussels")
    kirby("schedules", "add", every, "--every", "90s")
    kirby("schedules", "add", at, "--at", "2099-01-01T00:00:00Z")
    listed = {s["name"]: s["kind"] for s in kirby.json("schedules")}
    assert [listed[name] for name in (cron, every, at)] == ["cron", "every", "at"]
    kirby("schedules", "set", cron, "--every", "5m")
    assert kirby.json("schedules", "show", cron)["every"] == "5m"
    for name in (cron, every, at):
        kirby("schedules", "remove", name)


def test_n1_the_preview_of_an_hour_that_comes_twice(kirby: Command) -> None:
    words = ["schedules", "preview", "30 2 * * *", "--tz", "Europe/Brussels", "--from", "2026-10-24", "-n", "3"]
    due = kirby.json(*words)["due"]
    assert due == ["2026-10-24T00:30:00Z", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]
    assert kirby(*words).out.count("2026-10-25") == 1
    assert [datetime.fromisoformat(d) for d in kirby.json("schedules", "preview", "--every", "10s", "-n", "2")["due"]]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["x * * * *"], "is not a cron expression"),
        (["0 0 30 2 *"], "never fires"),
        (["* * * * *", "--tz", "Mars/Base"], "is not a time zone"),
        (["* * * * *", "--from", "yesterday"], "is not an instant"),
        (["--every", "soon"], "soon"),
    ],
)
def test_a_schedule_that_is_none_is_told(kirby: Command, words: list[str], told: str) -> None:
    done = kirby("schedules", "preview", *words, code=None)
    assert done.code in (1, 2)
    assert told in done.err


def test_config_keys_in_three_scopes(
    kirby: Command, unique_name: Callable[[str], str], script: Callable[[str], Path]
) -> None:
    job, name = unique_name("job"), unique_name("KEY").replace("-", "_")
    kirby("deploy", str(script(f"import os; print(os.environ['{name}'])")), "--job", job, "--env", "prod")
    where: tuple[list[str], ...] = ([], ["--job", job], ["--job", job, "--env", "prod"])
    for number, scope in enumerate(where):
        kirby("config-keys", "add", name, f"value-{number}", *scope)
        assert kirby("trigger", job, "--env", "prod", "--follow").out == f"value-{number}\n"
    kirby("config-keys", "set", name, "-changed", "--job", job, "--env", "prod")
    assert kirby("trigger", job, "--env", "prod", "--follow").out == "-changed\n"
    assert len(kirby.json("config-keys", "--job", job, "--name", name)) == 2
    assert "can't hold =" in kirby("config-keys", "add", "A=B", "x", code=1).err
    assert "exists" in kirby("config-keys", "add", name, "x", code=5).err
    assert "There is no config key" in kirby("config-keys", "set", "NO_SUCH_KEY", "x", code=4).err


def test_a_script_is_registered_with_its_topics(kirby: Command, unique_name: Callable[[str], str]) -> None:
    package, topic = unique_name("pkg"), unique_name("topic")
    assert "is not a version" in kirby("scripts", "add", package, "==1.0", code=1).err
    kirby("topics", "add", topic, "--description", "numbers")
    kirby("scripts", "add", package, "1.0", "--destination", topic)
    assert kirby.json("scripts", "show", f"{package}@1.0")["destinations"] == [topic]
    kirby("scripts", "set", f"{package}@1.0", "--source", topic)
    assert kirby.json("scripts", "--package", package)[0]["sources"] == [topic]
    kirby("scripts", "remove", f"{package}@1.0")
    kirby("topics", "remove", topic)


def test_an_exception_says_who_and_why(kirby: Command, unique_name: Callable[[str], str]) -> None:
    job = unique_name("job")
    kirby("jobs", "add", job)
    options = ["--job", job, "--every-nth", "5", "--until", "2099-01-01", "--reason", "source is slow"]
    made = kirby("exceptions", "add", *options, "-o", "json").json
    assert (made["effect"], made["every_nth"], made["author"]) == ("slow", 5, "admin")
    assert "source is slow" in kirby("exceptions").out
    foreseen = kirby("exceptions", "preview", *options[:-2])
    assert "Nothing that is enabled is due" in foreseen.err
    kirby("exceptions", "set", made["id"][:8], "--recurring", "0 2 * * *", "--lasts", "2h", "--tz", "Europe/Brussels")
    assert "'0 2 * * *' (Europe/Brussels) for 2h" in kirby("exceptions").out
    kirby("exceptions", "set", made["id"], "--reason", "mended soon")
    kirby("exceptions", "remove", made["id"])
    assert "Say what it is on" in kirby("exceptions", "add", "--reason", "x", code=2).err
    assert "there is no job" in kirby("exceptions", "add", "--job", "nope", "--reason", "x", code=1).err


def test_who_hears_of_what(kirby: Command, unique_name: Callable[[str], str], script: Callable[[str], Path]) -> None:
    job, group = unique_name("job"), unique_name("group")
    kirby("deploy", str(script("print(1)")), "--job", job, "--env", "prod")
    kirby("notification-groups", "add", group, "--email", "a@example.org", "--webhook", "https://example.org/hook")
    kirby("notification-groups", "set", group, "--email", "b@example.org", "--email", "c@example.org")
    assert kirby.json("notification-groups", "show", group)["emails"] == ["b@example.org", "c@example.org"]
    assert "is not an e-mail address" in kirby("notification-groups", "add", "x", "--email", "nobody", code=1).err
    made = kirby("notifications", "add", job, "--env", "prod", "--group", group, "--on-retry", "-o", "json").json
    kirby("notifications", "set", made["id"], "--no-on-retry")
    found = kirby.json("notifications", "--job", job)[0]
    assert (found["group"], found["on_failure"], found["on_retry"]) == (group, True, False)
    kirby("notifications", "remove", made["id"])


def test_a_secret_reaches_only_the_job_that_was_granted_it(
    kirby: Command, unique_name: Callable[[str], str], script: Callable[[str], Path]
) -> None:
    job, path = unique_name("job"), f"{unique_name('db')}/main"
    code = f"import kirby\ntry: print(kirby.secret('{path}', 'password'))\n"
    code += "except kirby.SecretUnavailable as e: print(e.code)\n"
    kirby("deploy", str(script(code)), "--job", job, "--env", "prod")
    assert kirby("secrets", "put", path, "user", "password", stdin="ada\nhunter2\n").out.startswith(f"Put {path}")
    assert kirby("trigger", job, "--env", "prod", "--follow").out == "denied\n"
    kirby("secrets", "grant", path, "--job", job, "--env", "prod")
    assert kirby("trigger", job, "--env", "prod", "--follow").out == "hunter2\n"
    assert f"{job}@prod" in kirby("secrets", "grants").out
    assert kirby("secrets", "get", path, "user").out == "ada\n"
    assert "hunter2" not in kirby("secrets", "list", "-o", "json").out
    kirby("secrets", "put", path, "--json", stdin=json.dumps({"password": "changed"}))
    assert kirby("trigger", job, "--env", "prod", "--follow").out == "changed\n"
    kirby("secrets", "grant", path, "--job", job, "--env", "prod", "--revoke")
    assert kirby("trigger", job, "--env", "prod", "--follow").out == "denied\n"
    kirby("secrets", "remove", path)
    kirby("secrets", "get", path, code=4)
    assert "No value for b on stdin" in kirby("secrets", "put", path, "a", "b", stdin="only one\n", code=2).err
    assert "not a JSON object" in kirby("secrets", "put", path, "--json", stdin="[]", code=2).err


def test_a_viewer_may_look_and_not_touch(
    kirby: Command, suite: RunningSuite, unique_name: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    name = unique_name("vic")
    kirby("users", "add", name, stdin="a long password\n")
    assert kirby("users", "add", name, "--without-password", code=5).err == f"User {name} exists\n"
    token = kirby("tokens", "add", "ci", "--user", name, "--expires", "2099-01-01").out.strip()
    listed = next(t for t in kirby.json("tokens") if t["user"] == name)
    with monkeypatch.context() as viewer:
        viewer.setenv("KIRBY_URL", suite.url)
        viewer.setenv("KIRBY_TOKEN", token)
        kirby("runs")
        assert f"{name} may not change the configuration" in kirby("envs", "add", "x", code=6).err
        kirby("secrets", code=6)
        viewer.setenv("KIRBY_TOKEN", "wrong")
        assert "is KIRBY_TOKEN (or the home) the right one" in kirby("runs", code=6).err
    kirby("tokens", "remove", listed["id"])
    kirby("users", "set", name, "--role", "admin", "--password", stdin="another password\n")
    kirby("users", "remove", name)
    assert name not in kirby("users").out


def test_the_suite_and_its_workers(kirby: Command, unique_name: Callable[[str], str]) -> None:
    assert " is ok" in kirby("status", code=None).out
    worker = kirby.json("supervisors")[0]
    assert {"name", "alive", "max_beat_gap_ms", "lease_ms"} <= set(worker)
    assert worker["name"] in kirby("supervisors").out
    assert kirby("supervisors", "add", unique_name("server")).out.strip()
