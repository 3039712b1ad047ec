"""The same build below a sub-path, behind nginx."""

import subprocess

from playwright.sync_api import Browser, expect

from tests.e2e.composed import BIN, Composed
from tests.e2e.nginx_server import Nginx


def test_the_pages_work_below_a_sub_path(browser: Browser, nginx: Nginx, composed: Composed) -> None:
    command = [str(BIN / "kirby"), "adduser", "ursula"]
    subprocess.run(command, env=composed.environment("api"), input=b"pw12345678\nn\n", check=True, capture_output=True)
    context = browser.new_context(ignore_https_errors=True)
    page = context.new_page()
    page.goto(f"{nginx.url}/runs?status=FAILED")
    page.wait_for_url("**/kirby/login?**")
    page.get_by_label("Name").fill("ursula")
    page.get_by_label("Password").fill("pw12345678")
    page.get_by_label("Password").press("Enter")
    page.wait_for_url("**/kirby/runs?status=FAILED")
    page.get_by_role("link", name="Supervisors").click()
    page.wait_for_url("**/kirby/supervisors")
    page.reload()
    expect(page.get_by_role("heading", name="Supervisors")).to_be_visible()
    expect(page.get_by_text("Live", exact=True)).to_be_visible()
    context.close()
