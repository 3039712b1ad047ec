"""What runs in a home, asked of the parts themselves."""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kirby.dev import probes
from kirby.dev.home import Home


@dataclass(frozen=True)
class PartStatus:
    name: str
    version: str
    pid: int | None
    port: int
    ready: bool


@dataclass(frozen=True)
class SuiteStatus:
    running: bool
    url: str | None
    parts: tuple[PartStatus, ...]

    @property
    def ready(self) -> bool:
        return self.running and bool(self.parts) and all(part.ready for part in self.parts)


def look(home: Home) -> SuiteStatus:
    state = home.state()
    running = home.holder() is not None
    recorded: dict[str, Any] = state.get("parts", {})
    with ThreadPoolExecutor(max_workers=max(1, len(recorded))) as pool:
        parts = tuple(pool.map(lambda item: _look(*item, running=running), recorded.items()))
    return SuiteStatus(running, state.get("url"), parts)


def as_json(found: SuiteStatus) -> str:
    return json.dumps(
        {"ready": found.ready, "url": found.url, "parts": [asdict(part) for part in found.parts]}, indent=1
    )


def as_text(found: SuiteStatus, *, home: Path) -> str:
    if not found.running:
        return f"nothing runs in {home}; `kirby dev --home {home}` starts it"
    return "\n".join([f"{found.url} in {home}", *map(_line, found.parts)])


def _line(part: PartStatus) -> str:
    state = "ready" if part.ready else "not ready"
    return f"  {part.name:<12} {part.version:<12} {part.pid or '-':<8} {part.port:<6} {state}"


def _look(name: str, recorded: dict[str, Any], *, running: bool) -> PartStatus:
    pid, port = recorded.get("pid"), int(recorded.get("port", 0))
    ready = running and pid is not None and probes.STORES.get(name, probes.service)(port)
    return PartStatus(name, str(recorded.get("version", "")), pid if running else None, port, ready)
