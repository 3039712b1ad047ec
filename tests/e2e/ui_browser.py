"""Debian's Chromium, signed in to a suite, and what every page must keep."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import httpx2
from kirby.cli.script_wheel import wheel_of_script
from playwright.sync_api import Browser, BrowserContext, Page, Playwright, expect

from tests.stores.suites import RunningSuite, clean_environment

REPOSITORY = Path(__file__).parents[2]
DESKTOP, PHONE = {"width": 1280, "height": 860}, {"width": 390, "height": 844}
_FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
# What Chromium itself reports while the api is away is not a fault of the page.
_NETWORK = re.compile(r"Failed to load resource|net::ERR_")


def launch(playwright: Playwright) -> Browser:
    chromium = shutil.which("chromium")
    expect.set_options(timeout=30_000)
    assert chromium, "there is no chromium on the PATH; `make test` installs it"
    return playwright.chromium.launch(executable_path=chromium, args=_FLAGS)


def login_link(suite: RunningSuite) -> str:
    """A new one-time link, as `kirby dev` prints it."""
    words = [str(Path(sys.executable).with_name("kirby")), "api", "bootstrap", "--fd", "1"]
    done = subprocess.run(words, env=clean_environment() | suite.env, capture_output=True, text=True, check=True)
    token = json.loads(done.stdout.strip().splitlines()[-1])["login_token"]
    return f"{suite.url}/login-link/{token}"


class Ui:
    """Opens pages of a suite in a browser that has signed in once; remembers what the pages complained of."""

    def __init__(self, suite: RunningSuite, browser: Browser) -> None:
        self.suite = suite
        self.url = suite.url
        self.complaints: list[str] = []
        self._browser = browser
        self._contexts: list[BrowserContext] = []
        self._state: Any = None
        headers = {"Authorization": f"Bearer {suite.token}"}
        self.api = httpx2.Client(base_url=f"{suite.url}/api/v1/", headers=headers, timeout=90)

    def open(self, path: str = "", *, phone: bool = False, dark: bool = False) -> Page:
        """A signed-in page."""
        if self._state is None:
            self._state = self._signed_in()
        page = self.stranger(phone=phone, dark=dark)
        page.goto(f"{self.url}/{path}")
        return page

    def stranger(self, *, phone: bool = False, dark: bool = False, signed_in: bool = True) -> Page:
        context = self._browser.new_context(
            viewport=cast(Any, PHONE if phone else DESKTOP),
            color_scheme="dark" if dark else "light",
            storage_state=self._state if signed_in else None,
            # Colours that are still changing have no contrast to speak of.
            reduced_motion="reduce",
        )
        self._contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(30_000)
        page.on("pageerror", lambda error: self.complaints.append(f"{page.url}: {error}"))
        page.on("console", lambda message: self._note(page, message.type, message.text))
        return page

    def _note(self, page: Page, kind: str, text: str) -> None:
        if kind == "error" and not _NETWORK.search(text):
            self.complaints.append(f"{page.url}: {text}")

    def _signed_in(self) -> Any:
        page = self.stranger(signed_in=False)
        page.goto(login_link(self.suite))
        page.get_by_role("heading", name="Overview").wait_for()
        return page.context.storage_state()

    def close_pages(self) -> None:
        for context in self._contexts:
            context.close()
        self._contexts.clear()

    def deploy(self, name: str, script: str, **more: Any) -> None:
        """A script as a job in `prod`, resolved and enabled."""
        wheel = self.upload(name, script)
        body = {"job": name, "env": "prod", **wheel, **more}
        self.api.post("deployments", params={"wait": 60}, json=body).raise_for_status()

    def upload(self, name: str, script: str) -> dict[str, str]:
        built = wheel_of_script(script.encode(), filename=f"{name}.py")
        answer = self.api.post("packages", files={"content": (built.filename, built.content)}).raise_for_status().json()
        return {"package_name": answer["name"], "package_version": answer["version"]}

    def run(self, job: str, *, wait: int = 0) -> str:
        answer = self.api.post("runs", params={"wait": wait}, json={"job": job, "env": "prod"}).raise_for_status()
        return str(answer.json()["run_id"])


def sideways(page: Page) -> int:
    """How many pixels the page is wider than the window."""
    return int(page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth"))


def violations(page: Page, *, rules: list[str] | None = None) -> list[str]:
    """What axe finds, one sentence each."""
    if not page.evaluate("'axe' in window"):
        page.evaluate((REPOSITORY / "web/node_modules/axe-core/axe.min.js").read_text())
    page.evaluate("() => new Promise(drawn => requestAnimationFrame(() => requestAnimationFrame(drawn)))")
    options = {"runOnly": {"type": "rule", "values": rules}} if rules else {}
    found = page.evaluate("async options => (await axe.run(document, options)).violations", options)
    return [f"{page.url}: {v['id']}: {v['help']}: {[n['target'] for n in v['nodes']][:3]}" for v in found]
