"""What the three pages have in common: Kirby seen from a web process, with no framework in it."""

import json
import os
import threading
from collections import deque
from datetime import datetime
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

from kirby import State, Topic

NEWEST = 10


class Board:
    """One per web process: sends what a visitor asks, and has at hand what the page shows.

    Sending is safe from any thread; the results are read by a thread of the board's own.
    """

    def __init__(self) -> None:
        self._asked = Topic("prices.asked", create=True)
        self._told = Topic("prices.told", create=True, start="latest")
        self._prices = State("prices", create=True)
        self._newest: deque[dict[str, Any]] = deque(maxlen=NEWEST)
        self._stopped = threading.Event()
        self._reading = threading.Thread(target=self._read, name="board", daemon=True)

    def start(self) -> "Board":
        self._reading.start()
        return self

    def close(self) -> None:
        self._stopped.set()
        self._reading.join(timeout=10)
        self._asked.close()
        self._prices.close()

    def ask(self, item: str, net: str) -> None:
        """Produces to a topic; returns once Kafka has the message. Raises ValueError for what is no price."""
        item, price = item.strip(), float(net)
        if not item or price < 0:
            raise ValueError("a price has a name, and is not below zero")
        self._asked.send({"item": item, "net": price}, key=item)
        self._asked.flush()

    def page(self) -> dict[str, Any]:
        """All that the template needs."""
        return {"prices": self._prices.items(), "results": list(self._newest), **self._runs()}

    def _read(self) -> None:
        """Consumes what the processor tells, without a group: every web process sees all of it."""
        while not self._stopped.is_set():
            message = self._told.next(timeout=0.5)
            if message is not None:
                self._newest.appendleft(message.value)
        self._told.close()

    def _runs(self) -> dict[str, Any]:
        """The newest runs by REST; a page is shown also when Kirby's api is away."""
        url, token = os.environ.get("KIRBY_URL"), os.environ.get("KIRBY_TOKEN")
        if not url or not token:
            return {"runs": [], "away": "set KIRBY_URL and KIRBY_TOKEN to see runs"}
        request = Request(f"{url}/api/v1/runs?limit={NEWEST}", headers={"Authorization": f"Bearer {token}"})
        try:
            with urlopen(request, timeout=5) as answer:
                items = json.load(answer)["items"]
        except (URLError, TimeoutError) as error:
            return {"runs": [], "away": f"Kirby's api does not answer: {error}"}
        return {"runs": [{**run, "due": _clock(run["due_at"])} for run in items], "away": ""}


def _clock(moment: str | None) -> str:
    return "" if moment is None else datetime.fromisoformat(moment).strftime("%H:%M:%S")
