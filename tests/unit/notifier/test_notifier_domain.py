import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from kirby_common.messages import (
    BadMessage,
    ConfigEntity,
    ConfigEntityV1,
    MarkMissed,
    MarkMissedV1,
    MarkRecovered,
    RunChanged,
    encode,
)
from kirby_common.ports import Record
from kirby_notifier.domain.alerts import alert_for, alert_for_mark, as_mail
from kirby_notifier.domain.attempts import Next, Outcome, after, judge_answer
from kirby_notifier.domain.config import Gone, Group, Notification, read_entity
from kirby_notifier.domain.signing import headers, secret_for, sign
from kirby_notifier.domain.targets import (
    Target,
    TargetRefused,
    choose_address,
    is_public,
    parse_target,
    without_secrets,
)

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def changed(**more: Any) -> RunChanged:
    values: dict[str, Any] = {
        "run_id": uuid4(), "rev": 7, "status": "FAILED", "previous": "RUNNING", "kind": "schedule", "job": "load",
        "env": "prod", "namespace": "", "context_id": uuid4(), "exit_code": 3, "reason": "exit code 3", "attempt": 1,
    }  # fmt: skip
    return RunChanged(**(values | more))


def test_the_signature_is_that_of_standard_webhooks() -> None:
    # The example of the specification's reference libraries.
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    signature = sign(
        secret, message_id="msg_p5jXN8AQM9LWM0D4loKWxJek", timestamp=1614265330, body='{"test": 2432232314}'
    )
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_each_url_has_a_secret_of_its_own() -> None:
    one, two = (secret_for(url, key="k" * 16) for url in ("https://a/x", "https://a/y"))
    assert one != two
    assert one == secret_for("https://a/x", key="k" * 16)
    assert len(base64.b64decode(one.removeprefix("whsec_"))) == 32


def test_headers_hold_what_a_receiver_needs() -> None:
    secret = secret_for("https://a/x", key="k" * 16)
    sent = headers(secret, message_id="msg_1", timestamp=17, body="{}")
    expected = hmac.new(base64.b64decode(secret[6:]), b"msg_1.17.{}", hashlib.sha256).digest()
    assert sent["webhook-signature"] == "v1," + base64.b64encode(expected).decode()
    assert (sent["webhook-id"], sent["webhook-timestamp"]) == ("msg_1", "17")


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("https://hooks.example/x?y=1", Target("hooks.example", 443)),
        ("http://hooks.example", Target("hooks.example", 80)),
        ("http://[::1]:8/", Target("::1", 8)),
    ],
)
def test_a_target_is_http_or_https(url: str, target: Target) -> None:
    assert parse_target(url) == target


@pytest.mark.parametrize(
    "url", ["ftp://a/x", "file:///etc/passwd", "//a", "a", "", "https://", "http://a:x/", "http://["]
)
def test_another_target_is_refused(url: str) -> None:
    with pytest.raises(TargetRefused):
        parse_target(url)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0",
        "224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1%eth0", "fc00::1", "ff02::1", "::ffff:127.0.0.1",
        "::ffff:10.0.0.1", "2002:7f00:1::", "64:ff9b::7f00:1",
    ],
)  # fmt: skip
def test_private_addresses_in_every_disguise(address: str) -> None:
    assert not is_public(address)
    with pytest.raises(TargetRefused, match="private address"):
        choose_address("hooks.example", addresses=["93.184.216.34", address], allow_private=False)
    assert choose_address("hooks.example", addresses=[address], allow_private=True) == address


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:2800:220:1::1", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_public_addresses(address: str) -> None:
    assert is_public(address)


def test_who_may_not_know_a_url_sees_its_host() -> None:
    assert without_secrets("https://u:p@hooks.example:8/T/token?x") == "https://hooks.example:8/…"


DELAYS = (timedelta(seconds=1), timedelta(seconds=5))


@pytest.mark.parametrize(
    ("outcome", "attempt", "expected"),
    [
        (Outcome(delivered=True), 1, Next("delivered")),
        (Outcome(delivered=False), 1, Next("pending", DELAYS[0])),
        (Outcome(delivered=False), 2, Next("pending", DELAYS[1])),
        (Outcome(delivered=False), 3, Next("failed")),
        (Outcome(delivered=False), 9, Next("failed")),
        (Outcome(delivered=False, final=True), 1, Next("failed")),
    ],
)
def test_what_follows_an_attempt(outcome: Outcome, attempt: int, expected: Next) -> None:
    assert after(outcome, attempt=attempt, delays=DELAYS) == expected


@pytest.mark.parametrize(
    ("status", "delivered", "final"),
    [(200, True, False), (204, True, False), (302, False, True), (404, False, False), (410, False, True),
     (429, False, False), (500, False, False)],
)  # fmt: skip
def test_what_an_answer_means(status: int, delivered: bool, final: bool) -> None:
    outcome = judge_answer(status, response="text")
    assert (outcome.delivered, outcome.final, outcome.status) == (delivered, final, status)
    assert bool(outcome.error) is not delivered


@pytest.mark.parametrize(
    ("status", "previous", "type_", "occasion"),
    [
        ("FAILED", "RUNNING", "run.failed", "on_failure"),
        ("FAILED", None, "run.failed", "on_failure"),
        ("LOST", "RUNNING", "run.lost", "on_failure"),
        ("RETRYING", "FAILED", "run.retrying", "on_retry"),
    ],
)
def test_what_is_told(status: str, previous: str | None, type_: str, occasion: str) -> None:
    change = changed(status=status, previous=previous)
    alert = alert_for(change, at=AT, public_url="https://kirby.example/sub/")
    assert alert is not None
    assert (alert.type, alert.occasion, alert.run_id, alert.rev) == (type_, occasion, change.run_id, 7)
    body = json.loads(alert.body)
    assert body["type"] == type_
    assert body["timestamp"] == "2026-01-02T03:04:05Z"
    assert body["data"]["url"] == f"https://kirby.example/sub/runs/{change.run_id}"
    assert body["data"]["job"] == "load"
    assert body["data"]["exit_code"] == 3


@pytest.mark.parametrize(
    "more",
    [{"status": "SUCCEEDED"}, {"status": "RUNNING"}, {"previous": "FAILED"}, {"context_id": None}, {"status": "NEW"}],
)
def test_what_is_not_told(more: dict[str, Any]) -> None:
    assert alert_for(changed(**more), at=AT, public_url="https://k") is None


MISSED = MarkMissed(
    alert_id=uuid4(), kind="daemon_short", subject="daemon/agg@prod", reason="1 of 2 replicas live", job="agg",
    env="prod", context_id=uuid4(), opened_at=AT,
)  # fmt: skip
OVER = MarkRecovered(
    alert_id=uuid4(), kind="no_leader", subject="suite/leader", reason="no scheduler leads", opened_at=AT, closed_at=AT
)


def test_a_missed_mark_of_a_job_is_told_as_its_failures_are() -> None:
    alert = alert_for_mark(MISSED, at=AT, public_url="https://k/sub/")
    assert alert is not None
    assert (alert.type, alert.occasion, alert.rev) == ("mark.missed", "on_failure", 1)
    assert (alert.source_id, alert.context_id) == (MISSED.alert_id, MISSED.context_id)
    data = json.loads(alert.body)["data"]
    assert (data["reason"], data["url"]) == ("1 of 2 replicas live", "https://k/sub/")
    assert as_mail(alert.body)[0] == "[Kirby] agg in prod needs attention"


def test_the_end_of_a_missed_mark_of_the_suite() -> None:
    alert = alert_for_mark(OVER, at=AT, public_url="https://k")
    assert alert is not None
    assert (alert.type, alert.occasion, alert.rev) == ("mark.recovered", "suite", 2)
    assert as_mail(alert.body)[0] == "[Kirby] suite/leader is as it should be again"


def test_a_mark_without_an_id_can_not_be_told_once() -> None:
    assert alert_for_mark(MarkMissed(subject="s", reason="r"), at=AT, public_url="https://k") is None


def test_the_mail_says_what_happened_and_where_to_look() -> None:
    alert = alert_for(changed(job="load\r\nBcc: x@y"), at=AT, public_url="https://k")
    assert alert is not None
    subject, text = as_mail(alert.body)
    assert subject == "[Kirby] load Bcc: x@y in prod failed"
    assert text.startswith(f"https://k/runs/{alert.run_id}\n")
    assert "reason: exit code 3" in text


OTHER = MarkMissedV1(source="x", data=MarkMissed(subject="s", reason="r"))


def config(kind: str, id_: object, value: dict[str, Any] | None) -> Record:
    message = ConfigEntityV1(source="api", data=ConfigEntity(kind=kind, id=str(id_), value=value))
    return Record(".kirby.config", 0, 0, f"{kind}/{id_}".encode(), encode(message), 0)


def test_what_is_kept_of_the_configuration() -> None:
    group, notification, context = uuid4(), uuid4(), uuid4()
    value = {"id": str(group), "name": "ops", "emails": ["a@b"], "webhooks": ["https://a"], "rev": 3, "new": {}}
    assert read_entity(config("notification-group", group, value)) == Group(
        id=group, name="ops", emails=["a@b"], webhooks=["https://a"]
    )
    value = {"context_id": str(context), "group_id": str(group), "on_failure": True, "on_retry": True, "job": "x"}
    assert read_entity(config("notification", notification, value)) == Notification(
        id=notification, context_id=context, group_id=group, on_failure=True, on_retry=True
    )
    assert read_entity(config("notification", notification, None)) == Gone("notification", notification)
    assert read_entity(config("schedule", uuid4(), {"x": 1})) is None
    tombstone = Record(".kirby.config", 0, 0, f"notification-group/{group}".encode(), None, 0)
    assert read_entity(tombstone) == Gone("notification-group", group)


@pytest.mark.parametrize(
    "record",
    [
        config("notification", UUID(int=1), {"context_id": "no"}),
        config("notification", "not-a-uuid", None),
        config("notification-group", UUID(int=1), {"name": 5}),
        Record(".kirby.config", 0, 0, b"k", b"not json", 0),
        Record(
            ".kirby.config", 0, 0, b"k", encode(MarkMissedV1(source="x", data=MarkMissed(subject="s", reason="r"))), 0
        ),
    ],
)
def test_what_can_not_be_read_is_a_bad_message(record: Record) -> None:
    with pytest.raises(BadMessage):
        read_entity(record)
