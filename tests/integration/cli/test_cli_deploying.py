"""deploy, run, publish, trigger: from a file to a run, and every way it can be refused."""

import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.eventually import eventually_sync
from tests.integration.cli.conftest import Command

Script = Callable[[str], Path]

HELLO = '"""Says hello."""\nimport os, sys\nprint("hello", sys.argv[1:], os.environ.get("WHO"))\n'


def test_m11_two_versions_and_each_run_names_its_own(
    kirby: Command, script: Script, unique_name: Callable[[str], str]
) -> None:
    job, file = unique_name("job"), script("print('one')\n")
    kirby("deploy", str(file), "--job", job, "--env", "prod", "--every", "1h")
    first = kirby("trigger", job, "--env", "prod", "--wait", "-o", "json").json
    file.write_text("print('two')\n")
    kirby("deploy", str(file), "--job", job, "--env", "prod")
    second = kirby("trigger", job, "--env", "prod", "--wait", "-o", "json").json
    versions = {s["package_version"] for s in kirby.json("scripts", "--package", first["package_name"])}
    assert versions == {first["package_version"], second["package_version"]}
    assert len(versions) == 2
    assert kirby("logs", first["run_id"]).out == "one\n"
    assert kirby("logs", second["run_id"]).out == "two\n"
    assert kirby.json("contexts", "--job", job)[0]["schedules"] == [f"{job}@prod"]


def test_the_same_file_again_is_the_same_version(
    kirby: Command, script: Script, unique_name: Callable[[str], str]
) -> None:
    job, file = unique_name("job"), str(script(HELLO))
    assert "Published" in kirby("deploy", file, "--job", job, "--env", "prod").err
    assert "was published already" in kirby("deploy", file, "--job", job, "--env", "prod").err
    assert [c["action"] for c in kirby.json("jobs", "history", job)] == ["create"]


def test_what_is_said_reaches_the_script(kirby: Command, script: Script, unique_name: Callable[[str], str]) -> None:
    job = unique_name("job")
    options = ["--var", "WHO=Ada = Lovelace", "--arg", "-v", "--label", "team=a", "--namespace", "tests.cli"]
    answer = kirby("deploy", str(script(HELLO)), "--job", job, "--env", "prod", *options, "-o", "json").json
    assert answer["context"]["state"] == "enabled"
    assert {"job", "script", "context"} <= set(answer["created"])
    done = kirby("trigger", job, "--env", "prod", "--follow")
    assert done.out == "hello ['-v'] Ada = Lovelace\n"
    assert "SUCCEEDED" in done.err
    done = kirby("trigger", job, "--env", "prod", "--follow", "--var", "WHO=Bob", "--", "--day", "1")
    assert done.out == "hello ['--day', '1'] Bob\n"
    found = kirby.json("jobs", "show", job)
    assert (found["labels"], found["namespace"]) == ({"team": "a"}, "tests.cli")


def test_run_prints_the_lines_and_exits_with_the_scripts_code(kirby: Command, script: Script) -> None:
    file = script("import sys\nprint('out')\nprint('err', file=sys.stderr)\nsys.exit(len(sys.argv))\n")
    done = kirby("run", str(file), "--", "a", "b", code=3)
    assert done.out == "out\n"
    assert "err\n" in done.err
    assert f"adhoc/{file.name}@dev FAILED" in done.err
    assert kirby.json("jobs", "show", f"adhoc/{file.name}")["namespace"] == "adhoc"


def test_a_key_makes_one_run_of_two_triggers(kirby: Command, script: Script, unique_name: Callable[[str], str]) -> None:
    job = unique_name("job")
    kirby("deploy", str(script(HELLO)), "--job", job, "--env", "prod")
    one = kirby("trigger", job, "--env", "prod", "--key", "build-7").out
    assert kirby("trigger", job, "--env", "prod", "--key", "build-7").out == one


def test_a_daemon_is_kept_running_until_its_job_goes(
    kirby: Command, script: Script, unique_name: Callable[[str], str]
) -> None:
    job = unique_name("daemon")
    file = script("import signal, sys\nprint('up', flush=True)\nsignal.pause()\n")
    assert "kept running" in kirby("deploy", str(file), "--job", job, "--env", "prod", "--daemon").out
    runs = eventually_sync(lambda: kirby.json("runs", "--job", job, "--status", "RUNNING"), timeout=20)
    kirby("runs", "kill", runs[0]["run_id"], "--reason", "for the test")
    again = eventually_sync(
        lambda: [r for r in kirby.json("runs", "--job", job, "--status", "RUNNING") if r["generation"] > 1], timeout=30
    )
    assert again[0]["slot"] == 0
    kirby("contexts", "set", f"{job}@prod", "--disabled")
    eventually_sync(lambda: not kirby.json("runs", "--job", job, "--status", "RUNNING"), timeout=60)


@pytest.mark.parametrize(
    ("text", "options", "told"),
    [
        ("def f(:\n", [], "line 1: invalid syntax"),
        ("print(1)\n", ["--schedule", "61 * * * *"], "'61 * * * *' is not a cron expression"),
        ("print(1)\n", ["--schedule", "0 0 30 2 *"], "never fires"),
        ("print(1)\n", ["--schedule", "* * * * *", "--tz", "Mars/Base"], "'Mars/Base' is not a time zone"),
        ("print(1)\n", ["--schedule", "* * * * *", "--every", "1s"], "Say when in one way"),
        ("print(1)\n", ["--at", "2020-01-01T00:00:00Z"], "over"),
        ("print(1)\n", ["--every", "1s", "--daemon"], "A daemon runs all the time"),
        ("print(1)\n", ["--var", "NOVALUE"], "write it as NAME=VALUE"),
        ("print(1)\n", ["--policy", "overlop=skip"], "overlop"),
        ("# /// script\n# dependencies = ['no-such-package-xyzzy']\n# ///\n", [], "no-such-package-xyzzy"),
        ("# /// script\n# requires-python = '>=3.99'\n# ///\n", [], "needs Python >=3.99"),
    ],
)
def test_m13_a_refused_deployment_is_one_sentence_and_leaves_nothing(
    kirby: Command, script: Script, unique_name: Callable[[str], str], text: str, options: list[str], told: str
) -> None:
    job = unique_name("bad")
    done = kirby("deploy", str(script(text)), "--job", job, "--env", "prod", *options, code=None)
    assert done.code in (1, 2)
    assert told in done.err.splitlines()[-1]
    assert kirby("jobs", "show", job, code=4).err == f"there is no job '{job}'\n"


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("no-such-package-xyzzy==1.0", "no-such-package-xyzzy"),
        ("kirby==99.0", "99.0"),
        ("nowhere.py", "nowhere.py does not exist"),
    ],
)
def test_m13_what_is_not_there_is_told(
    kirby: Command, unique_name: Callable[[str], str], source: str, told: str
) -> None:
    job = unique_name("bad")
    done = kirby("deploy", source, "--job", job, "--env", "prod", code=None)
    assert done.code in (1, 2)
    assert told in done.err
    kirby("jobs", "show", job, code=4)


def test_a_project_is_built_and_deployed(kirby: Command, tmp_path: Path, unique_name: Callable[[str], str]) -> None:
    name = unique_name("proj")
    module = name.replace("-", "_")
    project = tmp_path / name
    (project / module).mkdir(parents=True)
    (project / "pyproject.toml").write_text(
        f'[build-system]\nrequires = ["hatchling"]\nbuild-backend = "hatchling.build"\n'
        f'[project]\nname = "{name}"\nversion = "1.0"\nscripts = {{ {name} = "{module}:main" }}\n'
    )
    (project / module / "__init__.py").write_text("def main() -> None:\n    print('from a project')\n")
    kirby("deploy", str(project), "--env", "prod")
    assert kirby("trigger", name, "--env", "prod", "--follow").out == "from a project\n"
    (project / module / "__init__.py").write_text("def main() -> None:\n    print('changed')\n")
    done = kirby("deploy", str(project), "--env", "prod", code=5)
    assert "is published already, with other content: raise the version" in done.err


def test_publish_takes_all_or_nothing(kirby: Command, tmp_path: Path, unique_name: Callable[[str], str]) -> None:
    name = unique_name("pub").replace("-", "_")
    good, bad = tmp_path / f"{name}-1.0-py3-none-any.whl", tmp_path / f"{name}-1.1-py3-none-any.whl"
    for path, text in ((good, "x = 1\n"), (bad, "x = (\n")):
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(f"{name}.py", text)
            archive.writestr(
                f"{name}-1.{path is bad:d}.dist-info/METADATA",
                f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.{path is bad:d}\n",
            )
            archive.writestr(f"{name}-1.{path is bad:d}.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\n")
    assert "line 1" in kirby("publish", str(good), str(bad), code=2).err
    assert "Published" in kirby("publish", str(good)).err
    assert "was published already" in kirby("publish", str(good)).err
    with zipfile.ZipFile(good, "a") as archive:
        archive.writestr("more.py", "")
    assert "with other content" in kirby("publish", str(good), code=5).err
