"""W2, W3: every screen, at 390 px and under axe, light and dark; signing in; the forms."""

from typing import Any

import httpx2
import pytest
from playwright.sync_api import Page, Route, expect

from tests.e2e.ui_browser import Ui, login_link, sideways, violations

HELLO = """
import sys
print("hello \\x1b[32mgreen\\x1b[0m")
print("WARNING careful", file=sys.stderr)
print("ERROR broken", file=sys.stderr)
"""
SCREENS = [
    "", "runs", "logs", "jobs", "job/ui-hello", "deploy", "schedules", "exceptions", "limits", "environments",
    "config-keys", "scripts", "topics", "notifications", "supervisors", "users", "backfills", "deliveries", "secrets",
    "rewinds", "lineage", "states", "states?state=ui-prices", "states?state=ui-prices&key=bread",
]  # fmt: skip


@pytest.fixture(scope="module")
def run_id(signed_in_ui: Ui) -> str:
    """A suite with something of everything; a run of it."""
    ui = signed_in_ui
    ui.deploy("ui-hello", HELLO, schedule={"cron": "0 0 1 1 *"}, labels={"team": "ui"})
    made: list[tuple[str, dict[str, Any]]] = [
        ("config-keys", {"name": "UI_KEY", "value": "secret://db/main#password", "job": "ui-other"}),
        ("topics", {"name": "ui.topic", "description": "rows"}),
        (
            "exceptions",
            {"scope": "job", "target": "ui-hello", "start": "2026-01-01T00:00:00Z", "end": "2026-01-02T00:00:00Z",
             "reason": "an old one"},
        ),
        ("limits", {"name": "ui-limit", "places": 2, "key": "labels.team"}),
        ("notification-groups", {"name": "ui-group", "emails": ["ui@example.org"]}),
        ("notifications", {"job": "ui-hello", "env": "prod", "group": "ui-group"}),
    ]  # fmt: skip
    for euro in (3.2, 3.4):
        ui.api.put("states/ui-prices/value", params={"key": "bread"}, json={"value": {"euro": euro}}).raise_for_status()
    ui.api.post("jobs", json={"name": "ui-other", "type": "scheduled"}).raise_for_status()
    for path, body in made:
        ui.api.post(path, json=body).raise_for_status()
    return ui.run("ui-hello", wait=60)


def _settled(page: Page) -> None:
    page.locator("h1").first.wait_for()
    expect(page.locator(".skeleton")).to_have_count(0)


def test_the_one_time_link_signs_in_once(ui: Ui) -> None:
    link = login_link(ui.suite)
    page = ui.stranger(signed_in=False)
    page.goto(link)
    expect(page.get_by_role("heading", name="Overview")).to_be_visible()
    other = ui.stranger(signed_in=False)
    other.goto(link)
    expect(other.get_by_text("This sign-in link was used already")).to_be_visible()


def test_a_password_signs_in_and_leads_to_the_page_that_was_asked_for(ui: Ui) -> None:
    body = {"name": "ui-viewer", "password": "a long password", "role": "viewer"}
    ui.api.post("users", json=body).raise_for_status()
    page = ui.stranger(signed_in=False)
    page.goto(f"{ui.url}/runs?status=FAILED")
    page.get_by_label("Name").fill("ui-viewer")
    page.get_by_label("Password").fill("wrong")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_text("the name or the password is wrong")).to_be_visible()
    assert violations(page) == []
    page.get_by_label("Password").fill("a long password")
    page.get_by_label("Password").press("Enter")
    page.wait_for_url("**/runs?status=FAILED")
    page.goto(f"{ui.url}/environments")
    expect(page.get_by_role("heading", name="Environments")).to_be_visible()
    expect(page.get_by_role("button", name="New environment")).to_have_count(0)
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/login**")


def test_w2_no_screen_scrolls_sideways_on_a_phone(ui: Ui, run_id: str) -> None:
    page = ui.open(phone=True)
    wide = {}
    for path in [*SCREENS, f"runs/{run_id}"]:
        page.goto(f"{ui.url}/{path}")
        _settled(page)
        if sideways(page) > 0:
            wide[path] = sideways(page)
    assert wide == {}


def test_w3_axe_finds_nothing_on_any_screen_light_or_dark(ui: Ui, run_id: str) -> None:
    page = ui.open()
    found = []
    for path in [*SCREENS, f"runs/{run_id}", f"runs/{run_id}?tab=history"]:
        page.emulate_media(color_scheme="light")
        page.goto(f"{ui.url}/{path}")
        _settled(page)
        found += violations(page)
        page.emulate_media(color_scheme="dark")
        found += violations(page, rules=["color-contrast", "link-in-text-block"])
    assert found == []


def test_the_form_of_an_exception_shows_what_it_would_skip(ui: Ui, run_id: str) -> None:
    page = ui.open("exceptions")
    expect(page.get_by_text("Over", exact=True)).to_be_visible()
    page.get_by_role("button", name="New exception").click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Which").fill("ui-hello")
    dialog.get_by_label("Effect").select_option("nth")
    dialog.get_by_label("N", exact=True).fill("2")
    foreseen = dialog.get_by_role("region", name="Next due times")
    expect(foreseen.get_by_text("Of the next 50 due times 25 would be skipped.")).to_be_visible()
    expect(foreseen.locator("li[data-outcome=skipped]")).to_have_count(25)
    assert violations(page) == []
    assert sideways(page) <= 0
    dialog.get_by_label("Until").fill("2031-01-01T00:00:00")
    dialog.get_by_label("It recurs").check()
    dialog.get_by_label("Opens at (cron)").fill("0 0 1 * *")
    dialog.get_by_label("Why").fill("to be seen in a test")
    dialog.get_by_role("button", name="Save").click()
    expect(page.get_by_text("to be seen in a test")).to_be_visible()
    (made,) = [e for e in ui.api.get("exceptions").json()["items"] if e["reason"] == "to be seen in a test"]
    assert (made["every_nth"], made["recurrence"], made["lasts"]) == (2, "0 0 1 * *", "1h")
    ui.api.delete(f"exceptions/{made['id']}").raise_for_status()


def test_w3_axe_finds_nothing_in_dialogs_and_the_phone_menu(ui: Ui, run_id: str) -> None:
    page = ui.open("schedules", phone=True)
    page.get_by_role("button", name="Menu").click()
    assert violations(page) == []
    page.keyboard.press("Escape")
    page.get_by_role("button", name="New schedule").click()
    expect(page.get_by_role("dialog")).to_be_visible()
    assert violations(page) == []
    assert sideways(page) <= 0
    page.keyboard.press("Escape")
    page.keyboard.press("Control+k")
    page.get_by_label("Find a page, a job or a run").fill("ui-hello")
    assert violations(page) == []
    page.keyboard.press("Enter")
    page.wait_for_url("**/job/ui-hello")


def test_the_palette_keeps_an_enter_that_came_before_the_list(ui: Ui, run_id: str) -> None:
    page = ui.open("supervisors")
    _settled(page)
    held: list[Route] = []
    page.route("**/api/v1/jobs?*", lambda route: held.append(route))
    page.keyboard.press("Control+k")
    page.get_by_label("Find a page, a job or a run").fill("ui-hello")
    expect(page.get_by_text("Looking…")).to_be_visible()
    page.keyboard.press("Enter")
    for route in held:
        route.continue_()
    page.wait_for_url("**/job/ui-hello")


def test_a_schedule_shows_what_is_due_and_what_is_wrong_as_it_is_typed(ui: Ui) -> None:
    page = ui.open("schedules")
    page.get_by_role("button", name="New schedule").click()
    page.get_by_label("Name").fill("ui-nightly")
    page.get_by_role("radio", name="Cron").check()
    page.get_by_label("Cron expression").fill("99 * * * *")
    expect(page.get_by_role("dialog").locator(".fault")).to_contain_text("99")
    page.get_by_label("Cron expression").fill("30 2 * * *")
    expect(page.get_by_role("dialog").locator(".due-list li")).to_have_count(5)
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("row", name="ui-nightly")).to_contain_text("30 2 * * *")


def test_a_config_key_is_added_changed_and_its_history_told(ui: Ui) -> None:
    page = ui.open("config-keys")
    page.get_by_role("button", name="New config key").click()
    page.get_by_label("Name").fill("UI_URL")
    page.get_by_label("Value").fill("http://one")
    page.get_by_role("button", name="Save").click()
    page.get_by_role("button", name="Edit UI_URL").click()
    page.get_by_label("Value").fill("http://two")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("row", name="UI_URL")).to_contain_text("http://two")
    page.get_by_role("button", name="History of UI_URL").click()
    expect(page.get_by_role("dialog")).to_contain_text("− value: http://one")


def test_a_job_is_paused_with_a_reason_and_resumed(ui: Ui, run_id: str) -> None:
    page = ui.open("job/ui-hello")
    page.get_by_role("button", name="Pause", exact=True).click()
    page.get_by_label("Reason").fill("the source is down")
    page.get_by_role("dialog").get_by_role("button", name="Pause").click()
    expect(page.get_by_text("Paused: the source is down")).to_be_visible()
    page.get_by_role("button", name="Resume", exact=True).click()
    expect(page.get_by_text("Enabled")).to_be_visible()


REWIND: dict[str, Any] = {
    "id": "0f1e2d3c-0000-4000-8000-000000000000", "job": "weather-daily", "env": "prod", "namespace": "default",
    "target": "weather.raw", "group": "weather-daily", "from": "2026-03-01T12:00:00Z", "to": None, "rate": 500,
    "state": "running", "wanted": "run", "reason": None, "total": 2000, "done": 500, "parts": [],
    "requested_by": "ann", "changed_by": None, "rev": 3, "created_at": "2026-03-02T12:00:00Z",
    "started_at": "2026-03-02T12:00:05Z", "ended_at": None, "mode": "in-place", "run_id": None, "comparison": None,
}  # fmt: skip
COMPARISON: dict[str, Any] = {
    "at": "2026-03-02T12:10:00Z",
    "topics": [{
        "topic": "weather.daily", "same": 1999, "changed": 1, "only_original": 0, "only_shadow": 0,
        "examples": [{
            "kind": "changed", "key": "Seattle", "original": {"place": "0:7", "value": '{"low": 3}'},
            "shadow": {"place": "0:2", "value": '{"low":2,"stations":"' + "a" * 400 + '"}'},
        }],
    }],
    "states": [{
        "state": "weather-records", "same": 0, "changed": 0, "only_shadow": 1,
        "examples": [{"kind": "only_shadow", "key": "Seattle", "original": None, "shadow": '{"low": 2}'}],
    }],
}  # fmt: skip


def test_a_rewind_in_shadow_is_compared_and_promoted(ui: Ui) -> None:
    """With the api's answers made up, as below."""
    now = dict(REWIND, mode="shadow", state="ready", done=2000, comparison=COMPARISON)
    page = ui.open()

    def promoted(route: Route) -> None:
        now.update(state="promoted")
        route.fulfill(json=now)

    page.route("**/api/v1/rewinds?*", lambda route: route.fulfill(json={"items": [now], "next": None}))
    page.route("**/api/v1/rewinds/*/promote", promoted)
    page.goto(f"{ui.url}/rewinds")
    card = page.get_by_role("region", name="Rewind of weather-daily in prod, 0f1e2d3c")
    expect(card.get_by_text("in shadow")).to_be_visible()
    expect(card.get_by_role("table", name="Comparison").get_by_text("1,999")).to_be_visible()
    expect(card.get_by_role("table", name="Some of what differs").get_by_text('{"low": 3}')).to_be_visible()
    assert violations(page) == []
    assert sideways(page) <= 0
    card.get_by_role("button", name="Promote").click()
    page.get_by_role("dialog").get_by_role("button", name="Promote it").click()
    expect(card.get_by_text("Promoted")).to_be_visible()
    expect(card.get_by_role("button")).to_have_count(0)


def test_a_rewind_shows_how_far_it_is_and_is_paused(ui: Ui) -> None:
    """With the api's answers made up: a real one would be over before it is looked at."""
    now = dict(REWIND)
    page = ui.open()

    def listed(route: Route) -> None:
        route.fulfill(json={"items": [now], "next": None})

    def paused(route: Route) -> None:
        reason = (route.request.post_data_json or {})["reason"]
        now.update(state="draining", wanted="pause", reason=f"paused by ui: {reason}")
        route.fulfill(json=now)

    page.route("**/api/v1/rewinds?*", listed)
    page.route("**/api/v1/rewinds/*/pause", paused)
    page.goto(f"{ui.url}/rewinds")
    card = page.get_by_role("region", name="Rewind of weather-daily in prod, 0f1e2d3c")
    expect(card.get_by_text("500 of 2,000 messages")).to_be_visible()
    assert card.get_by_role("progressbar").get_attribute("aria-valuenow") == "500"
    assert violations(page) == []
    assert sideways(page) <= 0
    card.get_by_role("button", name="Pause").click()
    page.get_by_label("Reason").fill("the disk is full")
    page.get_by_role("dialog").get_by_role("button", name="Pause").click()
    expect(card.get_by_text("paused by ui: the disk is full")).to_be_visible()
    expect(card.get_by_role("button", name="Resume")).to_be_visible()


def test_the_logs_of_all_runs_are_followed_and_paused(ui: Ui, run_id: str) -> None:
    page = ui.open("logs?job=ui-hello")
    ui.run("ui-hello")
    expect(page.locator(".log-row").filter(has_text="WARNING careful").first).to_be_visible()
    page.get_by_role("button", name="Following").click()
    expect(page.get_by_text("Paused")).to_be_visible()
    ui.run("ui-hello")
    page.get_by_role("button", name="new lines").click()
    expect(page.get_by_role("button", name="Following")).to_be_visible()


def test_an_api_token_is_shown_once_and_taken_back(ui: Ui) -> None:
    page = ui.open("users")
    page.get_by_role("button", name="New token").click()
    page.get_by_label("What it is for").fill("ui-token")
    page.get_by_role("button", name="Make").click()
    token = page.get_by_role("dialog").locator("code").inner_text()
    answer = httpx2.get(f"{ui.url}/api/v1/me", headers={"Authorization": f"Bearer {token}"})
    assert answer.json()["name"] == "admin"
    page.get_by_role("button", name="Close").click()
    page.get_by_role("button", name="Take back ui-token").click()
    page.get_by_role("dialog").get_by_role("button", name="Take back").click()
    expect(page.get_by_text("ui-token")).to_have_count(0)
    assert httpx2.get(f"{ui.url}/api/v1/me", headers={"Authorization": f"Bearer {token}"}).status_code == 401
