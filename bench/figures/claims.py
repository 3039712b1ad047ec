"""How many runs a second the worker endpoint gives to a worker that asks for ten at a time."""

import platform
import socket
import sys
import time
import uuid
from typing import Any

import httpx2

from bench.figure import Figure
from bench.suite import Suite

RUNS = 400
AT_ONCE = 10
POOL = "bench-claims"
SCRIPT = "print('never started')\n"


def measure(suite: Suite) -> list[Figure]:
    suite.deploy(SCRIPT, job="bench-claims")
    with suite.client() as client:
        change = {"pool": POOL, "policies": {"overlap": "allow"}}
        client.patch("/contexts/bench-claims@bench", json=change).raise_for_status()
        begin = time.perf_counter()
        for _ in range(RUNS):
            client.post("/runs", json={"job": "bench-claims", "env": "bench"}).raise_for_status()
        triggered = RUNS / (time.perf_counter() - begin)
        token = client.post("/supervisors", json={"name": POOL}).raise_for_status().json()["token"]
        ledger = client.get("/endpoints").json()["ledger"]
    return [
        Figure("claims", _claim_all(ledger, token=token), "claims/s", samples=RUNS, note=f"{AT_ONCE} a request"),
        Figure("triggers by REST, one client", triggered, "triggers/s", samples=RUNS),
    ]


def _claim_all(ledger: str, *, token: str) -> float:
    incarnation = str(uuid.uuid4())
    headers = {"Authorization": f"Bearer {token}", "X-Kirby-Incarnation": incarnation}
    with httpx2.Client(base_url=f"{ledger}/worker/v1", headers=headers, timeout=30) as client:
        client.post("/hello", json=_hello(incarnation)).raise_for_status()
        got = 0
        begin = time.perf_counter()
        while got < RUNS:
            request = {"claim_id": str(uuid.uuid4()), "k": AT_ONCE, "pool": POOL}
            grants = client.post("/claims", json=request).raise_for_status().json()["grants"]
            if not grants:
                raise RuntimeError(f"{got} of {RUNS} runs could be claimed")
            got += len(grants)
        spent = time.perf_counter() - begin
        client.post("/bye", json={"incarnation": incarnation}).raise_for_status()
    return got / spent


def _hello(incarnation: str) -> dict[str, Any]:
    return {
        "name": POOL,
        "incarnation": incarnation,
        "boot_id": str(uuid.uuid4()),
        "home_id": str(uuid.uuid4()),
        "host": socket.gethostname(),
        "pool": POOL,
        "places": 1000,
        "version": "bench",
        "platform": platform.platform(),
        "python": ".".join(map(str, sys.version_info[:3])),
    }
