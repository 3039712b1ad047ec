"""When a run is due on this machine: no two clocks are compared, only the answer's arrival counts."""


def due_on_boot_clock(*, arrived: float, due_in_ms: float, known: float | None = None) -> float:
    """Boot-clock seconds; never earlier than the ledger meant. Of several reckonings the smallest is the nearest."""
    reckoned = arrived + due_in_ms / 1000
    return reckoned if known is None else min(known, reckoned)
