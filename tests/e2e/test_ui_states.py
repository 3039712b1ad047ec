"""States in the browser: from the list to a key's versions, what one changed, and back to an old one."""

from collections.abc import Callable

from playwright.sync_api import expect

from tests.e2e.ui_browser import Ui


def test_an_old_version_of_a_key_is_restored(signed_in_ui: Ui, unique_name: Callable[[str], str]) -> None:
    ui, name = signed_in_ui, unique_name("prices")
    for value in ({"euro": 3.2}, {"euro": 3.4}):
        answer = ui.api.put(f"states/{name}/value", params={"key": "bread/1"}, json={"value": value})
        answer.raise_for_status()
    page = ui.open("states")
    page.get_by_role("link", name=name).click()
    expect(page.get_by_role("heading", name=name)).to_be_visible()
    page.get_by_role("link", name="bread/1").click()
    expect(page.get_by_role("heading", name="bread/1")).to_be_visible()
    page.get_by_role("button", name="Diff of version 2").click()
    expect(page.get_by_role("region", name="What version 2 changed").get_by_text("/euro")).to_be_visible()
    page.get_by_role("button", name="Restore version 1").click()
    page.get_by_role("button", name="Restore", exact=True).last.click()
    expect(page.get_by_text("restore of 1")).to_be_visible()
    assert ui.api.get(f"states/{name}/value", params={"key": "bread/1"}).json()["value"] == {"euro": 3.2}
