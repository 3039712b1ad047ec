"""`kirby notifier` as a process, on a real Postgres, a real broker and a real receiver."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx2
import pytest
from kirby.dev.parts import free_port
from kirby_common import assertions, topics
from kirby_common.kafka import KafkaBus, KafkaTopicAdmin
from kirby_common.messages import (
    ConfigEntity,
    ConfigEntityV1,
    MarkMissed,
    MarkMissedV1,
    RunChanged,
    RunChangedV1,
    encode,
)
from kirby_common.settings import KafkaSettings
from starlette.responses import Response

from tests.eventually import eventually
from tests.service_process import ServiceProcess, query, run_to_end, running
from tests.webhook_receiver import Got, Receiver, receiving

SECRET_KEY = "0123456789abcdef"


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as receiver:
        yield receiver


@pytest.fixture
def env(database: str, kafka_bootstrap: str) -> dict[str, str]:
    return {
        "SQLALCHEMY_DATABASE_URI": database,
        "SECRET_KEY": SECRET_KEY,
        "KAFKA_BOOTSTRAP_SERVERS": kafka_bootstrap,
        "KIRBY_PUBLIC_URL": "https://kirby.example/k",
        "KIRBY_NOTIFIER_ALLOW_PRIVATE": "true",
        "KIRBY_NOTIFIER_TIMEOUT": "2s",
        "KIRBY_NOTIFIER_BACKOFF": "50ms 50ms",
    }


class World:
    """The rest of the suite, as the notifier sees it: configuration and run events on Kafka."""

    def __init__(self, bus: KafkaBus) -> None:
        self._bus = bus
        self.context_id = uuid4()

    async def configure(self, *webhooks: str, emails: tuple[str, ...] = (), **notification: bool) -> None:
        group_id = uuid4()
        group = {"name": "ops", "emails": list(emails), "webhooks": list(webhooks), "suite_alerts": True}
        await self._tell("notification-group", group_id, group)
        rule = {"context_id": str(self.context_id), "group_id": str(group_id), **notification}
        await self._tell("notification", uuid4(), rule)

    async def change(self, run_id: UUID, status: str = "FAILED", *, rev: int = 5, previous: str = "RUNNING") -> None:
        run = RunChanged(
            run_id=run_id, rev=rev, status=status, previous=previous, kind="schedule", job="load", env="prod",
            namespace="etl", context_id=self.context_id, attempt=1, exit_code=3, reason="exit code 3",
        )  # fmt: skip
        message = RunChangedV1(source="api", subject=str(run_id), data=run)
        await self.raw(topics.RUN_EVENTS, str(run_id), encode(message))

    async def no_leader(self) -> None:
        """A missed mark that belongs to no job."""
        mark = MarkMissed(alert_id=uuid4(), kind="no_leader", subject="suite/leader", reason="no scheduler leads")
        await self.raw(topics.ALERTS, mark.subject, encode(MarkMissedV1(source="ledger", data=mark)))

    async def raw(self, topic: str, key: str, value: bytes | None) -> None:
        await self._bus.send(topic, key=key.encode(), value=value)

    async def _tell(self, kind: str, id_: UUID, value: dict[str, Any]) -> None:
        entity = ConfigEntity(kind=kind, id=str(id_), value={"id": str(id_), **value})
        await self.raw(topics.CONFIG, f"{kind}/{id_}", encode(ConfigEntityV1(source="api", data=entity)))


@pytest.fixture
async def world(kafka_settings: KafkaSettings) -> AsyncIterator[World]:
    await KafkaTopicAdmin(kafka_settings).ensure(topics.registry())
    async with KafkaBus(kafka_settings) as bus:
        yield World(bus)


def user(role: str = "admin") -> dict[str, str]:
    token = assertions.issue({"sub": "ada", "role": role}, key=SECRET_KEY, audience=assertions.USER, ttl_s=60)
    return {"Authorization": f"Bearer {token}"}


async def deliveries(notifier: ServiceProcess, role: str = "admin", **asked: str) -> list[dict[str, Any]]:
    async with httpx2.AsyncClient(base_url=notifier.url, headers=user(role)) as client:
        answer = await client.get("/v1/deliveries", params=asked)
        items: list[dict[str, Any]] = answer.json()["items"]
        return items


async def test_a_failed_run_is_one_signed_message_tried_until_it_is_taken(
    env: dict[str, str], tmp_path: Path, world: World, receiver: Receiver
) -> None:
    async def fail_once(_: Got) -> Response:
        return Response("busy", status_code=503 if len(receiver.got) == 1 else 200)

    receiver.answer = fail_once
    run_id = uuid4()
    with running("notifier", env=env, folder=tmp_path) as notifier:
        await notifier.ready()
        # The rule counts for a run that fails right after it was made.
        await world.configure(receiver.url, on_failure=True)
        await world.change(run_id)
        await world.change(run_id)

        async def delivered() -> list[dict[str, Any]]:
            return await deliveries(notifier, state="delivered")

        (delivery,) = await eventually(delivered)
        assert [(e["attempt"], e["status"], e["error"]) for e in delivery["log"]] == [
            (1, 503, "answered 503"),
            (2, 200, None),
        ]
        assert delivery["log"][0]["response"] == "busy"
        async with httpx2.AsyncClient(base_url=notifier.url, headers=user()) as client:
            secret = (await client.get("/v1/webhooks/secret", params={"url": receiver.url})).json()["secret"]
        assert {got.id for got in receiver.got} == {delivery["webhook_id"]}
        assert all(got.is_signed_with(secret) for got in receiver.got)
        body = receiver.got[0].json
        assert body["type"] == "run.failed"
        assert body["data"]["run_id"] == str(run_id)
        assert body["data"]["url"] == f"https://kirby.example/k/runs/{run_id}"
        assert (body["data"]["job"], body["data"]["env"], body["data"]["exit_code"]) == ("load", "prod", 3)
        assert len(await deliveries(notifier)) == 1
        await world.no_leader()

        async def told() -> list[dict[str, Any]]:
            return [d for d in await deliveries(notifier, state="delivered") if d["type"] == "mark.missed"]

        (mark,) = await eventually(told)
        assert (mark["run_id"], mark["job"], mark["group"]) == (None, None, "ops")
        assert receiver.got[-1].json["data"]["reason"] == "no scheduler leads"
        assert await notifier.terminate() == 0


async def test_killed_between_the_post_and_the_commit_it_sends_the_same_id_at_most_twice(
    env: dict[str, str], tmp_path: Path, world: World, receiver: Receiver
) -> None:
    env = env | {"KIRBY_NOTIFIER_TIMEOUT": "1s"}
    started: list[ServiceProcess] = []

    async def kill_first(_: Got) -> Response:
        if len(receiver.got) == 1:
            os.kill(started[0].process.pid, signal.SIGKILL)
        return Response()

    receiver.answer = kill_first
    with running("notifier", env=env, folder=tmp_path) as first:
        started.append(first)
        await first.ready()
        await world.configure(receiver.url, on_failure=True)
        await world.change(uuid4())
        await eventually(lambda: first.process.poll() is not None)
    with running("notifier", env=env, folder=tmp_path) as second:

        async def delivered() -> list[dict[str, Any]]:
            return await deliveries(second, state="delivered")

        (delivery,) = await eventually(delivered)
        # What became of the first attempt nobody knows, and the log says so by saying nothing.
        assert [(e["attempt"], e["status"], e["duration_ms"] is None) for e in delivery["log"]] == [
            (1, None, True),
            (2, 200, False),
        ]
    assert [got.id for got in receiver.got] == [delivery["webhook_id"]] * 2
    assert receiver.got[0].body == receiver.got[1].body


async def test_messages_that_can_not_be_read_do_not_stop_it(
    env: dict[str, str], tmp_path: Path, world: World, receiver: Receiver
) -> None:
    run_id = str(uuid4())
    with running("notifier", env=env, folder=tmp_path) as notifier:
        await notifier.ready()
        await world.raw(topics.CONFIG, "notification/nonsense", b"not JSON")
        await world.raw(topics.CONFIG, "notification/1", b'{"type":"config.entity.v9"}')
        nul = {"name": "o\0ps", "emails": [], "webhooks": []}
        entity = ConfigEntity(kind="notification-group", id=str(uuid4()), value=nul)
        await world.raw(topics.CONFIG, "notification-group/x", encode(ConfigEntityV1(source="api", data=entity)))
        for value in (b"\xff", b'{"type":"run.changed.v9"}', None):
            await world.raw(topics.RUN_EVENTS, run_id, value)
        await world.configure(receiver.url, on_retry=True, on_failure=False)
        await world.change(UUID(run_id), "FAILED", rev=5)
        await world.change(UUID(run_id), "RETRYING", rev=6, previous="FAILED")
        await eventually(lambda: receiver.got)
        assert [got.json["type"] for got in receiver.got] == ["run.retrying"]
        assert notifier.log.count('"event": "message.refused"') == 6


async def test_a_private_target_is_refused_and_told_in_the_log(
    env: dict[str, str], tmp_path: Path, world: World, receiver: Receiver
) -> None:
    del env["KIRBY_NOTIFIER_ALLOW_PRIVATE"]
    with running("notifier", env=env, folder=tmp_path) as notifier:
        await notifier.ready()
        await world.configure(receiver.url, on_failure=True)
        await world.change(uuid4())

        async def failed() -> list[dict[str, Any]]:
            return await deliveries(notifier, "viewer", state="failed")

        (delivery,) = await eventually(failed)
        assert "private address 127.0.0.1" in delivery["log"][0]["error"]
        assert len(delivery["log"]) == 1
        assert delivery["target"] == receiver.url.removesuffix("hook") + "…"
        assert receiver.got == []
        async with httpx2.AsyncClient(base_url=notifier.url, headers=user("viewer")) as client:
            assert (await client.get("/v1/webhooks/secret", params={"url": receiver.url})).status_code == 403
            assert (await client.get("/v1/deliveries?state=odd")).status_code == 422
        async with httpx2.AsyncClient(base_url=notifier.url) as client:
            assert (await client.get("/v1/deliveries")).status_code == 401


async def test_it_gives_up_after_the_last_pause(
    env: dict[str, str], tmp_path: Path, world: World, receiver: Receiver
) -> None:
    async def fail(_: Got) -> Response:
        return Response(status_code=500)

    receiver.answer = fail
    with running("notifier", env=env, folder=tmp_path) as notifier:
        await notifier.ready()
        await world.configure(receiver.url, on_failure=True)
        await world.change(uuid4(), "LOST")

        async def failed() -> list[dict[str, Any]]:
            return await deliveries(notifier, state="failed")

        (delivery,) = await eventually(failed)
        assert delivery["attempts"] == len(receiver.got) == 3


async def test_e_mail_goes_to_the_smtp_server(env: dict[str, str], tmp_path: Path, world: World) -> None:
    mails: list[str] = []

    async def smtp(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 test\r\n")
        while line := await reader.readline():
            word = line.split()[0].upper()
            if word == b"DATA":
                writer.write(b"354 go on\r\n")
                mails.append((await reader.readuntil(b"\r\n.\r\n")).decode())
            writer.write(b"221 bye\r\n" if word == b"QUIT" else b"250 ok\r\n")
        writer.close()

    server = await asyncio.start_server(smtp, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    env = env | {"KIRBY_SMTP_URL": f"smtp://127.0.0.1:{port}", "KIRBY_SMTP_FROM": "kirby@kirby.example"}
    async with server:
        with running("notifier", env=env, folder=tmp_path) as notifier:
            await notifier.ready()
            await world.configure(emails=("ops@kirby.example",), on_failure=True)
            await world.change(uuid4())
            await eventually(lambda: mails)
            await notifier.terminate()
    assert "To: ops@kirby.example\r\n" in mails[0]
    assert "Subject: [Kirby] load in prod failed\r\n" in mails[0]
    assert "https://kirby.example/k/runs/" in mails[0]


async def test_what_is_noted_is_delivered_without_a_broker_and_it_waits_for_stores(
    env: dict[str, str], tmp_path: Path, receiver: Receiver
) -> None:
    env = env | {"KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{free_port()}"}
    with running("notifier", env=env, folder=tmp_path) as notifier:

        async def waits_for_kafka_only() -> bool:
            return list((await notifier.health("readyz")).json()["problems"]) == ["kafka"]

        await eventually(waits_for_kafka_only)
        await query(
            env["SQLALCHEMY_DATABASE_URI"],
            """INSERT INTO notifier.deliveries (id, type, source_id, rev, job, env, kind, target, group_name, body)
            VALUES (gen_random_uuid(), 'run.failed', gen_random_uuid(), 1, 'j', 'e', 'webhook', :url, 'ops', '{}')""",
            url=receiver.url,
        )
        await eventually(lambda: receiver.got)
        assert await notifier.terminate() == 0
    away = env | {"SQLALCHEMY_DATABASE_URI": f"postgresql://u:hidden@127.0.0.1:{free_port()}/kirby"}
    with running("notifier", env=away, folder=tmp_path) as notifier:
        await eventually(lambda: "database.waiting" in notifier.log)
        assert (await notifier.health()).status_code == 200
        assert await notifier.terminate() == 0
        assert "hidden" not in notifier.log


@pytest.mark.parametrize(
    ("changed", "code", "sentence"),
    [
        ({}, 0, "ok"),
        ({"SQLALCHEMY_DATABASE_URI": "sqlite:///x"}, 2, "Kirby needs PostgreSQL; `make dev` starts one"),
        ({"KIRBY_NOTIFIER_BACKOFF": "1s soon"}, 2, "KIRBY_NOTIFIER_BACKOFF: 'soon' is not a duration"),
        ({"KIRBY_SMTP_URL": "http://user:PLANTED@x"}, 2, "KIRBY_SMTP_URL: write smtp://"),
    ],
)
def test_settings_are_checked_in_one_sentence(changed: dict[str, str], code: int, sentence: str) -> None:
    good = {"SQLALCHEMY_DATABASE_URI": "postgresql://kirby@db/kirby", "SECRET_KEY": SECRET_KEY}
    checked = run_to_end("notifier", "--check", env=good | changed)
    told = checked.stdout + checked.stderr
    assert checked.returncode == code
    assert told.startswith(sentence) or sentence in told
    assert told.count("\n") == 1
    assert "PLANTED" not in told
