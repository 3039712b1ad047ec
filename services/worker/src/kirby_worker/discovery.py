"""Where the suite's parts are: asked of the api, unless the settings say so."""

import asyncio
from dataclasses import dataclass

import httpx2
import structlog

from kirby_worker.settings import WorkerSettings

log = structlog.get_logger()

_RETRY_S = 0.5


@dataclass(frozen=True)
class Places:
    ledger: str
    index: str | None
    vault: str | None


async def discover(client: httpx2.AsyncClient, settings: WorkerSettings) -> Places:
    """Waits for the api as long as it takes, and says so once."""
    said: dict[str, str | None] = {}
    if settings.base_url is not None and not _knows_all(settings):
        said = await _ask(client, f"{settings.base_url}/api/v1/endpoints", patient=settings.kirby_ledger_url is None)
    ledger = settings.kirby_ledger_url or said.get("ledger")
    assert ledger is not None
    return Places(
        ledger=ledger,
        index=settings.kirby_package_index_url or said.get("index"),
        vault=settings.kirby_vault_url or said.get("vault"),
    )


def _knows_all(settings: WorkerSettings) -> bool:
    return None not in (settings.kirby_ledger_url, settings.kirby_vault_url, settings.kirby_package_index_url)


async def _ask(client: httpx2.AsyncClient, url: str, *, patient: bool) -> dict[str, str | None]:
    told = False
    while True:
        problem = ""
        try:
            response = await client.get(url)
            if response.status_code == 200:
                found: dict[str, str | None] = response.json()
                if found.get("ledger") or not patient:
                    return found
                problem = "it names no worker endpoint"
            else:
                problem = f"HTTP {response.status_code}"
        except (httpx2.TransportError, ValueError) as error:
            problem = str(error) or type(error).__name__
        if not told:
            log.warning("worker.waiting_for_api", url=url, reason=problem)
            told = True
        if not patient:
            return {}
        await asyncio.sleep(_RETRY_S)
