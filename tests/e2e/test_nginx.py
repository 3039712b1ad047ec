"""Kirby behind nginx, as deploy/nginx/kirby.conf says: TLS, a sub-path, live logs passed on as they come."""

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.e2e.composed import BIN, Composed
from tests.e2e.nginx_server import Nginx

LINES = 8
SLOW = f"""
import time
for number in range({LINES}):
    print(number, time.time(), flush=True)
    time.sleep(0.4)
"""


@pytest.fixture
def client(composed: Composed, nginx: Nginx) -> Iterator[httpx2.Client]:
    headers = {"Authorization": f"Bearer {composed.api_token()}"}
    with httpx2.Client(base_url=f"{nginx.url}/", headers=headers, verify=nginx.trust(), timeout=60) as made:
        yield made


def test_rest_answers_below_the_sub_path(client: httpx2.Client) -> None:
    me = client.get("api/v1/me").raise_for_status().json()
    assert (me["name"], me["role"]) == ("admin", "admin")


def test_the_page_knows_where_it_lies(client: httpx2.Client) -> None:
    page = client.get("runs")
    assert page.status_code == 200
    assert '<base href="/kirby/"' in page.text


def test_a_login_sets_a_cookie_for_tls_and_the_sub_path_only(nginx: Nginx, composed: Composed) -> None:
    command = [str(BIN / "kirby"), "adduser", "nina"]
    subprocess.run(command, env=composed.environment("api"), input=b"pw12345678\nn\n", check=True, capture_output=True)
    with httpx2.Client(base_url=f"{nginx.url}/", verify=nginx.trust()) as client:
        answer = client.post("api/v1/login", json={"name": "nina", "password": "pw12345678"}).raise_for_status()
        cookie = answer.headers["set-cookie"].lower()
        assert "secure" in cookie
        assert "httponly" in cookie
        assert "path=/kirby" in cookie
        assert client.get("api/v1/me").json()["name"] == "nina"


def test_live_lines_are_not_held_back(client: httpx2.Client, composed: Composed, nginx: Nginx, tmp_path: Path) -> None:
    """Each line is there before the script prints the next one, though nothing fills a buffer."""
    (tmp_path / "slow.py").write_text(SLOW)
    token = client.headers["Authorization"].removeprefix("Bearer ")
    api = f"http://127.0.0.1:{composed.ports['api']}"
    env = composed.environment("worker") | {"KIRBY_URL": api, "KIRBY_TOKEN": token}
    deploy = [str(BIN / "kirby"), "deploy", str(tmp_path / "slow.py"), "--env", "prod", "--at", "2099-01-01T00:00:00Z"]
    subprocess.run(deploy, env=env, check=True, capture_output=True, timeout=90)
    run = client.post("api/v1/runs", json={"job": "slow", "env": "prod"}).raise_for_status().json()
    delays = []
    with client.stream("GET", f"api/v1/runs/{run['run_id']}/logs/stream") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        for line in printed(answer):
            delays.append(time.time() - float(line["text"].split()[1]))
    assert len(delays) == LINES
    assert max(delays) < 0.4, delays


def printed(answer: httpx2.Response) -> Iterator[dict[str, str]]:
    """The lines of an event stream, to its end."""
    event = ""
    for text in answer.iter_lines():
        if text.startswith("event:"):
            event = text.removeprefix("event:").strip()
        elif text.startswith("data:") and event == "end":
            return
        elif text.startswith("data:") and event in ("line", "lines"):
            data = json.loads(text.removeprefix("data:"))
            yield from data if event == "lines" else [data]
