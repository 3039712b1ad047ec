"""Lineage in the browser: from the graph to a topic, to a message, to what came of it; on a phone, and under axe."""

from collections.abc import Callable

import kirby
import pytest
from kirby import transport
from kirby._confluent import Confluent
from playwright.sync_api import expect

from tests.e2e.ui_browser import Ui, sideways, violations


def test_a_message_is_followed_from_the_graph(signed_in_ui: Ui, unique_name: Callable[[str], str]) -> None:
    ui, raw, day, job = signed_in_ui, unique_name("ui-raw"), unique_name("ui-day"), unique_name("ui-summary")
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"JOB": job, "VERSION": "2.1", "ENV": "prod"}.items():
            patch.setenv(f"KIRBY_{name}", value)
        with (
            transport.using(Confluent(ui.suite.env["KAFKA_BOOTSTRAP_SERVERS"])),
            kirby.Topic(raw, create=True, partitions=1, group=unique_name("g")) as measured,
            kirby.Topic(day, create=True, partitions=1) as daily,
        ):
            measured.send({"celsius": 11.4}, key="Seattle")
            message = measured.next(timeout=60)
            assert message is not None
            daily.send({"mean": 11.4}, key="Seattle")
    page = ui.open("lineage")
    page.get_by_role("link", name=day).click()
    card = page.get_by_role("region", name=day, exact=True)
    expect(card.get_by_role("link", name=job)).to_be_visible()
    card.get_by_role("link", name="0:0").click()
    expect(page.get_by_role("heading", name=f"{day} 0:0")).to_be_visible()
    expect(page.get_by_text(f"{job}@2.1 in prod")).to_have_count(2)
    for phone, dark in ((False, False), (True, True)):
        for path in (f"lineage?node=topic:{raw}", f"lineage?topic={raw}&message=0:0"):
            page = ui.open(path, phone=phone, dark=dark)
            expect(page.locator(".skeleton")).to_have_count(0)
            expect(page.get_by_text(raw).first).to_be_visible()
            assert (sideways(page), violations(page)) == (0, []), path
    expect(page.get_by_text(f"topic {day} 0:0")).to_be_visible()
