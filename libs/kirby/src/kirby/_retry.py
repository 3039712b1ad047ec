"""When a call to something outside is worth another try. Pure, but for the settings it is made from."""

import os
from dataclasses import dataclass

from kirby._kafka import seconds
from kirby.errors import BadVariable

_SAFE = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})
_LONGEST_WAIT_S = 60.0


@dataclass(frozen=True)
class Retries:
    """So many tries in all, and the seconds between two.

    >>> Retries(tries=3, wait=0.4).next_wait("GET", attempt=1, status=503)
    0.4
    >>> Retries(tries=3, wait=0.4).next_wait("GET", attempt=1, status=404) is None
    True
    """

    tries: int = 3
    wait: float = 0.4

    def next_wait(
        self, method: str, *, attempt: int, status: int | None, arrived: bool = True, told: str | None = None
    ) -> float | None:
        """How many seconds to wait before the next try; None when there is to be none.

        `status` is the answer's, None when there was no answer; `arrived` says whether the request may have reached
        the service, which a POST or PATCH must not do twice; `told` is the answer's Retry-After.
        """
        if attempt >= self.tries:
            return None
        if status in (429, 503):
            return max(self.wait, min(float(told), _LONGEST_WAIT_S)) if told and told.isdigit() else self.wait
        again = status is None or status >= 500
        return self.wait if again and (method.upper() in _SAFE or (status is None and not arrived)) else None


def from_environment() -> Retries:
    """`EXT_RETRIES` (3) and `EXT_WAIT_BETWEEN_RETRIES` (0.4 s), or their older names. Raises BadVariable."""
    name = "EXT_RETRIES" if os.environ.get("EXT_RETRIES") else "KIRBY_NB_RETRIES_EXT_CO"
    try:
        tries = int(os.environ.get(name) or 3)
    except ValueError:
        raise BadVariable(name, "whole number") from None
    wait = seconds("EXT_WAIT_BETWEEN_RETRIES", seconds("KIRBY_WAIT_BETWEEN_RETRIES_EXT_CO", 0.4))
    return Retries(tries=max(1, tries), wait=wait)
