"""The vault over HTTP: secrets for a run, asked for with the run's own token."""

import asyncio
import json
from typing import Any
from urllib.parse import quote

import httpx2

_TRIES = 2
_WAIT_S = 0.4
_PATIENCE_S = 3.0
"""A vault that hangs holds up a run's preparation for no longer than this a try; the preparation is tried again."""


class NoSecret(Exception):
    """One sentence, and a code: denied, absent or unavailable."""

    def __init__(self, sentence: str, code: str) -> None:
        super().__init__(sentence)
        self.code = code


class HttpVault:
    """Implements the port `Secrets`."""

    def __init__(self, client: httpx2.AsyncClient, *, url: str | None, patience_s: float = _PATIENCE_S) -> None:
        self._client = client
        self._url = url
        self._patience_s = patience_s

    async def read(self, path: str, field: str | None, *, run_token: str) -> Any:
        """A field's value, or all fields as a dict. Raises `NoSecret`."""
        data = await self._fetch(path, run_token)
        if field is None:
            return data
        if field not in data:
            raise NoSecret(f"the secret {path} has no field {field}", "absent")
        return data[field]

    async def resolve(self, reference: str, *, run_token: str) -> str:
        """The text that a `secret://path#field` stands for. Raises `NoSecret`."""
        path, _, field = reference.removeprefix("secret://").partition("#")
        value = await self.read(path, field or None, run_token=run_token)
        if field == "" and isinstance(value, dict) and len(value) == 1:
            value = next(iter(value.values()))
        return value if isinstance(value, str) else json.dumps(value)

    async def _fetch(self, path: str, run_token: str) -> dict[str, Any]:
        if self._url is None:
            raise NoSecret("this suite has no vault", "unavailable")
        url = f"{self._url.rstrip('/')}/v1/run-secrets/{quote(path)}"
        problem = ""
        for attempt in range(_TRIES):
            if attempt:
                await asyncio.sleep(_WAIT_S)
            try:
                async with asyncio.timeout(self._patience_s):
                    response = await self._client.get(url, headers={"Authorization": f"Bearer {run_token}"})
            except TimeoutError:
                problem = f"no answer within {self._patience_s:g} s, {attempt + 1} times"
                continue
            except httpx2.TransportError as error:
                problem = str(error) or type(error).__name__
                continue
            if response.status_code == 200:
                found: dict[str, Any] = response.json()["data"]
                return found
            if response.status_code in (401, 403):
                raise NoSecret(_told(response) or f"this job may not read the secret {path}", "denied")
            if response.status_code in (404, 422):
                raise NoSecret(_told(response) or f"there is no secret {path}", "absent")
            problem = f"HTTP {response.status_code}"
        raise NoSecret(f"the vault does not answer ({problem})", "unavailable")


def _told(response: httpx2.Response) -> str | None:
    """The vault's own sentence: it says what to do."""
    try:
        detail = response.json()["detail"]
    except (ValueError, KeyError, TypeError):
        return None
    return detail if isinstance(detail, str) else None
