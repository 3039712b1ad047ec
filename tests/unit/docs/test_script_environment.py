"""The page about a script's variables names exactly those that a worker sets."""

import re
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from kirby_common.worker_protocol import RunGrant
from kirby_worker.domain.environment import INHERITED, Surroundings, script_environment

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "script-environment.md"
LEADER_ADDS = {"KIRBY_SHADOW"}
SHIM_ADDS = {"KIRBY_ATTEMPT", "KIRBY_SECRET_FD"}
KAFKA = {f"KAFKA_{n}" for n in ("BOOTSTRAP_SERVERS", "USE_SSL", "SSL_CAFILE", "SSL_CERTFILE", "SSL_KEYFILE")}


def test_the_page_names_every_variable_and_no_other() -> None:
    grant = RunGrant(
        run_id=uuid4(),
        grant=1,
        rev=1,
        kind="daemon",
        job="j",
        job_type="daemon",
        env="prod",
        namespace="n",
        due_at=datetime(2026, 3, 1, tzinfo=UTC),
        due_in_ms=0,
        deadline_in_ms=None,
        package_name="p",
        package_version="1",
        entry=None,
        lock_id=uuid4(),
        lock_text="",
        slot=0,
        group="g",
        run_token="t",
        attempt_next=1,
        script_id=uuid4(),
    )
    around = Surroundings(
        url="http://x", kafka=dict.fromkeys(KAFKA, "k"), objects="s3://b", inherited=dict.fromkeys(INHERITED, "i")
    )
    made = set(script_environment(grant, around=around, venv="/v", secrets={}))
    text = PAGE.read_text().partition("## Variables")[2].partition("## In and out")[0]
    named = {word.partition("=")[0] for word in re.findall(r"`([A-Z][A-Z_]+(?:=1)?)`", text)}
    assert named == made | SHIM_ADDS | LEADER_ADDS
