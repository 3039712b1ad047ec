"""Two minutes of `make chaos`: real processes and stores, random faults, and a verdict that Kirby has no say in."""

from pathlib import Path

import pytest

from tests.chaos.storm import Outcome, storm, without_kafka

SEED = 21


@pytest.mark.timeout(900)
async def test_two_minutes_of_faults_start_nothing_twice_and_lose_nothing_silently(tmp_path: Path) -> None:
    told: list[str] = []
    outcome = await storm(tmp_path, minutes=2, seed=SEED, say=told.append)
    assert outcome.findings == [], account(outcome, told)
    assert outcome.faults.total() >= 20
    assert outcome.launches >= 20


async def test_m14_runs_go_on_without_kafka_and_no_line_is_missing_when_it_is_back(tmp_path: Path) -> None:
    told: list[str] = []
    outcome = await without_kafka(tmp_path, ended=10, say=told.append)
    assert outcome.findings == [], account(outcome, told)
    assert outcome.launches >= 10


def account(outcome: Outcome, told: list[str]) -> str:
    return "\n".join([*told, *(f"{finding.kind}: {finding.text}" for finding in outcome.findings)])
