"""What operators do in the browser: backfills, orders for many runs, secrets, deliveries."""

import pytest
from playwright.sync_api import expect

from tests.e2e.ui_browser import Ui, sideways, violations

SCRIPT = """
import os
print("for", os.environ["KIRBY_DUE_AT"])
"""


@pytest.fixture(scope="module")
def job(signed_in_ui: Ui) -> str:
    signed_in_ui.deploy("ui-past", SCRIPT, schedule={"cron": "0 * * * *"})
    return "ui-past"


def test_a_backfill_is_seen_before_it_starts_and_followed_to_its_end(ui: Ui, job: str) -> None:
    page = ui.open("backfills")
    page.get_by_role("button", name="New backfill").click()
    page.get_by_label("Job", exact=True).select_option(job)
    page.get_by_label("Environment").select_option("prod")
    page.get_by_label("From", exact=True).fill("2026-03-02T00:00")
    page.get_by_label("To", exact=True).fill("2026-03-02T04:00")
    page.get_by_label("At a time").fill("2")
    assert violations(page) == []
    page.get_by_role("dialog").get_by_role("button", name="Preview").click()
    expect(page.get_by_role("dialog").locator(".preview-list li")).to_have_count(4)
    assert violations(page) == []
    page.get_by_role("button", name="Run 4 due times").click()
    card = page.get_by_role("region", name="Backfill of ui-past in prod").first
    expect(card.get_by_text("Done", exact=True)).to_be_visible()
    expect(card.get_by_role("progressbar")).to_have_attribute("aria-valuenow", "4")
    assert violations(page) == []
    card.get_by_role("link", name="4 succeeded").click()
    expect(page.get_by_role("table", name="Runs").get_by_role("row")).to_have_count(5)


def test_a_backfill_is_paused_resumed_and_cancelled(ui: Ui, job: str) -> None:
    body = {"job": job, "env": "prod", "from": "2026-01-01", "to": "2026-02-01"}
    ui.api.post("backfills", json=body).raise_for_status()
    page = ui.open("backfills", phone=True, dark=True)
    card = page.get_by_role("region", name="Backfill of ui-past in prod").first
    card.get_by_role("button", name="Pause").click()
    page.get_by_label("Reason").fill("the source is slow")
    page.get_by_role("dialog").get_by_role("button", name="Pause").click()
    expect(card.get_by_text("paused by admin: the source is slow")).to_be_visible()
    assert sideways(page) <= 0
    assert violations(page) == []
    card.get_by_role("button", name="Resume").click()
    card.get_by_role("button", name="Cancel").click()
    page.get_by_role("dialog").get_by_role("button", name="Cancel the backfill").click()
    expect(card.get_by_text("Cancelled", exact=True)).to_be_visible()


def test_marked_runs_are_run_again_together(ui: Ui, job: str) -> None:
    for _ in range(2):
        ui.run(job, wait=60)
    page = ui.open(f"runs?job={job}&kind=manual")
    page.get_by_role("button", name="Mark all").click()
    assert violations(page) == []
    page.get_by_role("button", name="Run again (2)").click()
    page.get_by_role("dialog").get_by_role("button", name="Run again").click()
    expect(page.get_by_text("2 asked for again.")).to_be_visible()
    page.goto(f"{ui.url}/runs?job={job}&kind=rerun")
    expect(page.get_by_role("table", name="Runs").get_by_role("row")).to_have_count(3)


def test_a_secret_is_put_and_its_value_never_shown(ui: Ui) -> None:
    page = ui.open("secrets")
    page.get_by_role("button", name="New secret").click()
    page.get_by_label("Path").fill("ui/password")
    page.get_by_role("dialog").get_by_role("textbox", name="Value").fill("planted-in-the-browser")
    page.get_by_role("dialog").get_by_role("button", name="Put").click()
    row = page.get_by_role("row", name="ui/password")
    expect(row).to_contain_text("value")
    page.get_by_role("button", name="Put a new value of ui/password").click()
    page.get_by_role("dialog").get_by_role("textbox", name="value").fill("planted-again")
    page.get_by_role("dialog").get_by_role("button", name="Put").click()
    expect(row.get_by_role("cell").nth(2)).to_have_text("2")
    assert "planted" not in page.content()
    assert ui.api.get("secrets/ui/password").json()["data"] == {"value": "planted-again"}
    assert violations(page) == []
