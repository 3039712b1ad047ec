"""A secret reaches the script that holds a grant and nothing else; a failed run reaches its webhook."""

import asyncio
import base64
import json
from collections.abc import Callable
from pathlib import Path

import httpx2

from tests.eventually import eventually
from tests.stores.suites import RunningSuite
from tests.webhook_receiver import receiving

PLANTED = "PLANTED-4c1f9b"

SCRIPT = """
# /// script
# dependencies = ["kirby"]
# ///
import os, sys
import kirby
print("asked for", len(kirby.secret("{path}", "password")), "characters")
print("was given", len(os.environ["DB_PASSWORD"]), "characters")
sys.exit(3)
"""


def the_run(suite: RunningSuite, job: str) -> dict[str, object]:
    """Triggers the job and waits for the end."""
    suite.kirby("trigger", job, "--env", "prod", "--wait", check=False)
    found: dict[str, object] = suite.json("runs", "--job", job)[0]
    return found


async def test_a_secret_reaches_the_script_with_a_grant_and_a_failure_its_webhook(
    suite: RunningSuite, tmp_path: Path, unique_name: Callable[[str], str]
) -> None:
    job, path = unique_name("report"), f"{unique_name('db')}/main"
    script = tmp_path / f"{job.replace('-', '_')}.py"
    script.write_text(SCRIPT.format(path=path))

    def kirby(*arguments: str, given: str | None = None) -> str:
        return suite.kirby(*arguments, check=True, input=given).stdout

    async with (
        receiving() as receiver,
        httpx2.AsyncClient(
            base_url=f"{suite.url}/api/v1", headers={"Authorization": f"Bearer {suite.token}"}, timeout=30
        ) as api,
    ):
        await asyncio.to_thread(kirby, "secrets", "put", path, "password", given=PLANTED + "\n")
        await asyncio.to_thread(kirby, "deploy", str(script), "--job", job, "--env", "prod", "--every", "12h")
        await asyncio.to_thread(kirby, "config-keys", "add", "DB_PASSWORD", f"secret://{path}#password", "--job", job)
        group = {"name": job, "webhooks": [receiver.url]}
        (await api.post("/notification-groups", json=group)).raise_for_status()
        rule = {"job": job, "env": "prod", "group": job, "on_failure": True}
        (await api.post("/notifications", json=rule)).raise_for_status()

        refused = await asyncio.to_thread(the_run, suite, job)
        assert f"kirby secrets grant {path} --job {job} --env prod" in str(refused["reason"])
        await asyncio.to_thread(kirby, "secrets", "grant", path.replace("main", "*"), "--job", job, "--env", "prod")
        failed = await asyncio.to_thread(the_run, suite, job)
        assert failed["exit_code"] == 3
        log = await asyncio.to_thread(kirby, "logs", str(failed["run_id"]))
        assert f"asked for {len(PLANTED)} characters" in log
        assert f"was given {len(PLANTED)} characters" in log

        await eventually(lambda: len(receiver.got) == 2, timeout=20)
        secret = (await api.get("/webhook-secret", params={"url": receiver.url})).json()["secret"]
        assert all(got.is_signed_with(secret) for got in receiver.got)
        assert [got.json["data"]["run_id"] for got in receiver.got] == [refused["run_id"], failed["run_id"]]
        assert receiver.got[1].json["data"]["url"] == f"{suite.url}/runs/{failed['run_id']}"
        deliveries = (await api.get("/deliveries", params={"run_id": str(failed["run_id"])})).json()["items"]
        assert [(d["state"], d["attempts"], d["webhook_id"]) for d in deliveries] == [
            ("delivered", 1, receiver.got[1].id)
        ]
        audit = (await api.get("/secret-audit")).json()["items"]
        mine = [(row["action"], row["outcome"]) for row in audit if row["path"] == path]
        assert ("run-get", "denied") in mine
        assert ("run-get", "allowed") in mine

    assert await asyncio.to_thread(files_holding, suite.home, PLANTED) == []


def files_holding(folder: Path, text: str) -> list[str]:
    """Files in which the text lies open, in base64, or as JSON writes it."""
    forms = [text.encode(), base64.b64encode(text.encode()), json.dumps(text).encode(), text.encode().hex().encode()]
    found = []
    for file in folder.rglob("*"):
        if file.is_file() and not file.is_symlink() and "venvs" not in file.parts:
            try:
                content = file.read_bytes()
            except FileNotFoundError:
                continue
            if any(form in content for form in forms):
                found.append(str(file))
    return found
