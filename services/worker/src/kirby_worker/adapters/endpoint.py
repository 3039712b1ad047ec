"""The worker endpoint over HTTP, as `kirby_common.worker_protocol` has it."""

from dataclasses import dataclass
from typing import TypeVar
from uuid import UUID

import httpx2
from kirby_common.worker_protocol import (
    BeatAnswer,
    BeatRequest,
    Bye,
    ClaimAnswer,
    ClaimRequest,
    Hello,
    LaunchAnswer,
    LaunchRequest,
    LockClaimAnswer,
    LockClaimRequest,
    LockResult,
    NameInUse,
    ReportAnswer,
    ReportRequest,
    Welcome,
    Wire,
)
from pydantic import ValidationError

_Answer = TypeVar("_Answer", bound=Wire)


class Unavailable(ConnectionError):
    """The endpoint did not answer, or said to try again."""


class Gone(RuntimeError):
    """Another incarnation holds this worker's name: stop at once."""


class Refused(RuntimeError):
    """The endpoint does not accept this worker; the text says why."""


class NameTaken(Refused):
    """Another machine holds the name."""

    def __init__(self, taken: NameInUse) -> None:
        since = taken.since.isoformat(timespec="seconds").replace("+00:00", "Z")
        super().__init__(f"supervisor name '{taken.name}' is in use by {taken.host} since {since}")


@dataclass(frozen=True)
class Credentials:
    """Who the worker is, on every request."""

    token: str
    incarnation: UUID

    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.token}", "X-Kirby-Incarnation": str(self.incarnation)}


class HttpEndpoint:
    """Implements the port `Endpoint`."""

    def __init__(self, client: httpx2.AsyncClient, *, ledger_url: str, credentials: Credentials) -> None:
        self._client = client
        self._base = f"{ledger_url.rstrip('/')}/worker/v1"
        self._headers = credentials.headers() | {"Content-Type": "application/json"}

    async def hello(self, hello: Hello) -> Welcome:
        return await self._post("/hello", hello, Welcome)

    async def claim(self, request: ClaimRequest) -> ClaimAnswer:
        return await self._post("/claims", request, ClaimAnswer)

    async def launch(self, request: LaunchRequest) -> LaunchAnswer:
        return await self._post("/launches", request, LaunchAnswer)

    async def report(self, request: ReportRequest) -> ReportAnswer:
        return await self._post("/reports", request, ReportAnswer)

    async def claim_lock(self, request: LockClaimRequest) -> LockClaimAnswer:
        return await self._post("/locks/claim", request, LockClaimAnswer)

    async def lock_result(self, result: LockResult) -> None:
        await self._post("/locks/result", result, Wire)

    async def bye(self, bye: Bye) -> None:
        await self._post("/bye", bye, Wire)

    async def _post(self, path: str, body: Wire, answer: type[_Answer]) -> _Answer:
        try:
            response = await self._client.post(
                f"{self._base}{path}", content=body.model_dump_json(), headers=self._headers
            )
        except httpx2.TransportError as error:
            raise Unavailable(f"{path}: {error or type(error).__name__}") from error
        return read_answer(response, answer)


def read_answer(response: httpx2.Response, answer: type[_Answer]) -> _Answer:
    """The typed answer. Raises `Unavailable`, `Gone`, `NameTaken`, `Refused`."""
    if response.status_code == 200:
        try:
            return answer.model_validate_json(response.content)
        except ValidationError as error:
            raise Unavailable(f"{response.url.path}: not an answer of a ledger: {error.errors()[0]['msg']}") from error
    if response.status_code == 409 and (taken := _name_in_use(response)) is not None:
        raise NameTaken(taken)
    if response.status_code == 410:
        raise Gone(_detail(response))
    if response.status_code in (401, 403, 422):
        raise Refused(_detail(response))
    raise Unavailable(f"{response.url.path}: HTTP {response.status_code}: {_detail(response)}")


def _name_in_use(response: httpx2.Response) -> NameInUse | None:
    try:
        return NameInUse.model_validate_json(response.content)
    except ValidationError:
        return None


def _detail(response: httpx2.Response) -> str:
    try:
        body = response.json()
    except ValueError:
        return response.text[:200]
    return str(body.get("detail", body)) if isinstance(body, dict) else str(body)[:200]


class BeatClient:
    """Beats over a connection of its own, from the beat thread."""

    def __init__(self, *, ledger_url: str, credentials: Credentials, timeout_s: float) -> None:
        self._url = f"{ledger_url.rstrip('/')}/worker/v1/beats"
        self._client = httpx2.Client(
            headers=credentials.headers() | {"Content-Type": "application/json"}, timeout=timeout_s, trust_env=False
        )

    def beat(self, request: BeatRequest) -> BeatAnswer:
        """Raises `Unavailable`, `Gone`, `Refused`."""
        try:
            response = self._client.post(self._url, content=request.model_dump_json())
        except httpx2.TransportError as error:
            raise Unavailable(f"/beats: {error or type(error).__name__}") from error
        return read_answer(response, BeatAnswer)

    def close(self) -> None:
        self._client.close()
