"""W1, W4, W5: a run in the browser, from the dropped wheel to the last line of its log."""

import os
import signal
from pathlib import Path

from kirby.cli.script_wheel import wheel_of_script
from playwright.sync_api import Page, expect

from tests.e2e.ui_browser import Ui

TALKER = """
import sys, time
for n in range(1, 11):
    print(f"talking {n}", flush=True)
    time.sleep(0.2)
print("WARNING that was all", file=sys.stderr)
"""
COUNTER = """
import time
for n in range(1, 301):
    print(f"count {n} {'.' * 30}", flush=True)
    time.sleep(0.02)
"""
BIG = """
import sys
for n in range(1, 60_001):
    sys.stdout.write("the needle\\n" if n == 54_000 else f"INFO row {n} of a big table\\n")
"""
BUSY = """
import sys, time
for part in range(25):
    sys.stdout.write("".join(f"busy {part * 500 + n}\\n" for n in range(1, 501)))
    sys.stdout.flush()
    time.sleep(0.1)
"""
_FRAMES = """() => new Promise(done => {
    let frames = 0
    const begin = performance.now()
    const next = now => {
        frames += 1
        if (now - begin > 2000) done(frames / 2)
        else requestAnimationFrame(next)
    }
    requestAnimationFrame(next)
})"""


_NUMBERED = "rows => rows.map(row => [Number(row.dataset.n), row.querySelector('.log-text').textContent])"


def _status(page: Page, status: str) -> None:
    expect(page.locator(".page-head .status")).to_have_attribute("data-status", status)


def test_w1_a_dropped_wheel_runs_and_its_log_is_followed(ui: Ui, tmp_path: Path) -> None:
    built = wheel_of_script(TALKER.encode(), filename="ui_talker.py")
    (tmp_path / built.filename).write_bytes(built.content)
    page = ui.open("deploy")
    page.get_by_label("Script, wheel or source distribution").set_input_files(tmp_path / built.filename)
    expect(page.get_by_role("textbox", name="Package")).to_have_value("ui-talker")
    expect(page.get_by_role("combobox", name="Job")).to_have_value("ui-talker")
    page.get_by_label("Run it on schedule").uncheck()
    page.get_by_role("button", name="Deploy", exact=True).click()

    page.wait_for_url("**/runs/*")
    expect(page.get_by_text("talking 3", exact=True)).to_be_visible()
    _status(page, "RUNNING")
    expect(page.get_by_text("WARNING that was all")).to_be_visible()
    _status(page, "SUCCEEDED")
    expect(page.get_by_text("11 lines")).to_be_visible()

    page.get_by_label("Level").select_option("WARNING")
    expect(page.locator(".log-row")).to_have_count(1)


def test_w1_a_dropped_script_is_made_a_package(ui: Ui, tmp_path: Path) -> None:
    (tmp_path / "ui_script.py").write_text("print('from a single file')\n")
    (tmp_path / "ui_wrong.py").write_text("print(\n")
    page = ui.open("deploy")
    drop = page.get_by_label("Script, wheel or source distribution")
    drop.set_input_files(tmp_path / "ui_wrong.py")
    expect(page.get_by_role("alert")).to_contain_text("ui_wrong.py")
    drop.set_input_files(tmp_path / "ui_script.py")
    expect(page.get_by_role("textbox", name="Package")).to_have_value("ui-script")
    page.get_by_label("Interval").fill("1h")
    page.get_by_role("button", name="Deploy", exact=True).click()
    page.wait_for_url("**/runs/*")
    expect(page.get_by_text("from a single file")).to_be_visible()


def test_w4_a_busy_run_is_followed_smoothly(ui: Ui) -> None:
    ui.deploy("ui-busy", BUSY)
    page = ui.open(f"runs/{ui.run('ui-busy')}")
    expect(page.get_by_text("busy 1000", exact=True).or_(page.locator(".log-row").nth(20))).to_be_visible()
    assert page.evaluate(_FRAMES) > 4  # frames a second, on a machine that runs the whole suite beside the browser
    expect(page.get_by_text("12,500 lines")).to_be_visible()
    expect(page.get_by_text("busy 12500", exact=True)).to_be_visible()


def test_w4_search_finds_a_line_far_down_and_shows_it_among_its_neighbours(ui: Ui) -> None:
    ui.deploy("ui-big", BIG)
    page = ui.open(f"runs/{ui.run('ui-big', wait=60)}")
    expect(page.get_by_text("60,000 lines")).to_be_visible()
    page.get_by_label("Search the log").fill("NEEDLE")
    page.locator("mark").first.wait_for()
    page.get_by_role("button", name="54000").click()
    expect(page.locator(".log-row.marked")).to_contain_text("the needle")
    expect(page.get_by_text("INFO row 53999 of a big table")).to_be_visible()
    page.locator(".log-list").evaluate("list => { list.scrollTop = 0 }")
    expect(page.get_by_text("INFO row 1 of a big table", exact=True)).to_be_visible()


def test_w5_a_restart_of_the_api_is_told_and_healed(ui: Ui) -> None:
    ui.deploy("ui-counter", COUNTER)
    page = ui.open(f"runs/{ui.run('ui-counter')}")
    expect(page.locator(".log-row").nth(10)).to_be_visible()
    old = ui.suite.part("api")["pid"]
    os.kill(old, signal.SIGKILL)
    expect(page.get_by_text("The connection to the api is lost. Reconnecting…")).to_be_visible()
    expect(page.get_by_text("Reconnected: the log goes on where it stopped.")).to_be_visible()
    _status(page, "SUCCEEDED")
    expect(page.get_by_text("300 lines")).to_be_visible()
    assert _all_lines(page) == {n: f"count {n} {'.' * 30}" for n in range(1, 301)}


def _all_lines(page: Page) -> dict[int, str]:
    """Every line that the list shows from its top to its end, by the number beside it."""
    seen: dict[int, str] = {}
    page.get_by_role("button", name="Following").click()
    for first in range(1, 301, 15):
        page.locator(".log-list").evaluate("(list, top) => { list.scrollTop = top }", (first - 1) * 20)
        expect(page.locator(f".log-row[data-n='{first}'] .log-text")).not_to_be_empty()
        for number, text in page.locator(".log-row").evaluate_all(_NUMBERED):
            assert seen.setdefault(number, text) == text
    return seen
