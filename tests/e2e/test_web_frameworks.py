"""The examples for web frameworks, on their own servers: a form sends to a topic, the page shows what comes of it."""

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest
from kirby.dev.parts import free_port

from tests.eventually import eventually_sync
from tests.stores.suites import RunningSuite, clean_environment

EXAMPLE = Path(__file__).parents[2] / "examples" / "web-frameworks"
SERVERS: dict[str, Callable[[int], list[str]]] = {
    "Django": lambda port: ["with_django.py", "runserver", f"127.0.0.1:{port}", "--noreload"],
    "Flask": lambda port: ["-m", "flask", "--app", "with_flask", "run", "--port", str(port)],
    "FastAPI": lambda port: ["-m", "uvicorn", "with_fastapi:app", "--port", str(port)],
}


@contextmanager
def running(words: list[str], *, env: dict[str, str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as out:
        process = subprocess.Popen([sys.executable, *words], cwd=EXAMPLE, env=env, stdout=out, stderr=out)
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(20)
            finally:
                process.kill()
                process.wait()


@pytest.fixture(scope="module")
def job(suite: RunningSuite, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A job that has run, for the page to show."""
    script = tmp_path_factory.mktemp("web") / "counted.py"
    script.write_text("print(6 * 7)\n")
    suite.kirby("run", str(script))
    return "adhoc/counted"


@pytest.mark.parametrize("framework", SERVERS)
def test_a_price_that_is_asked_for_is_shown(
    framework: str, suite: RunningSuite, job: str, tmp_path: Path, unique_name: Callable[[str], str]
) -> None:
    env = clean_environment() | {
        "KAFKA_BOOTSTRAP_SERVERS": suite.env["KAFKA_BOOTSTRAP_SERVERS"],
        "KIRBY_TOPIC_PREFIX": f"{unique_name('web')}.",
        "KIRBY_URL": suite.url,
        "KIRBY_TOKEN": suite.token,
    }
    port = free_port()
    log = tmp_path / "server.log"
    with (
        running(["processor.py"], env=env, log=tmp_path / "processor.log"),
        running(SERVERS[framework](port), env=env, log=log) as server,
        httpx2.Client(base_url=f"http://127.0.0.1:{port}", follow_redirects=True, timeout=30) as visitor,
    ):

        def page() -> str:
            assert server.poll() is None, log.read_text()
            try:
                return (visitor.get("/")).raise_for_status().text
            except httpx2.ConnectError:
                return ""

        form = eventually_sync(page, timeout=30, every=0.2, what="the page")
        assert f"Prices, with {framework}" in form
        assert all(word in form for word in (job, "SUCCEEDED"))

        def ask(item: str, net: str) -> httpx2.Response:
            token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', form)
            hidden = {"csrfmiddlewaretoken": token[1]} if token else {}
            return visitor.post("/", data={"item": item, "net": net, **hidden})

        assert "could not convert string to float" in (ask("bread", "cheap")).text
        assert (ask("<b>bread</b>", "10")).status_code == 200

        def shown() -> str:
            text = page()
            return text if text.count("&lt;b&gt;bread&lt;/b&gt;") == 2 and text.count("12.1") == 2 else ""

        assert eventually_sync(shown, timeout=60, every=0.2, what="the price in the State and among the results")
