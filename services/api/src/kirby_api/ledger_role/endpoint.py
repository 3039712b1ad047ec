"""The worker endpoint's routes: authentication, one transaction per request, and nothing else."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any, TypeVar
from uuid import UUID

import structlog
from kirby_common import failpoints
from kirby_common.ledger import locks, outbox
from kirby_common.ledger.outbox import OutboxRelay
from kirby_common.ledger.runs import StaleRevision
from kirby_common.ledger.waiting import Doorkeeper
from kirby_common.worker_protocol import (
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
    LockWork,
    NameInUse,
    ReportAnswer,
    ReportRequest,
    Wire,
)
from pydantic import ValidationError
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route

from kirby_api.ledger_role import beats, claims, launches, reports, workers
from kirby_api.ledger_role.workers import Caller, Gone

log = structlog.get_logger()
W = TypeVar("W", bound=Wire)
_FREE_PLACES = ("/launches", "/reports")
"""After these a run that waits may be let go."""

_UNKNOWN = "unknown worker token: `kirby supervisors add NAME` makes one"
Handler = Callable[[AsyncConnection, Caller, Any], Awaitable[Wire | None]]


class WorkerEndpoint:
    """Speaks `kirby_common.worker_protocol` over the ledger."""

    def __init__(
        self,
        engine: AsyncEngine,
        relay: OutboxRelay,
        doorkeeper: Doorkeeper,
        *,
        secret_key: str,
        lease: timedelta,
        offers_prefix: str,
    ) -> None:
        self._engine = engine
        self._relay = relay
        self._doorkeeper = doorkeeper
        self._secret_key = secret_key
        self._lease = lease
        self._offers_prefix = offers_prefix

    def routes(self) -> Mount:
        """All routes, to be mounted at the root."""
        table: dict[str, tuple[type[Wire], Handler]] = {
            "/claims": (ClaimRequest, self._claims),
            "/launches": (LaunchRequest, self._launches),
            "/reports": (ReportRequest, self._reports),
            "/beats": (BeatRequest, self._beats),
            "/locks/claim": (LockClaimRequest, self._lock_claim),
            "/locks/result": (LockResult, self._lock_result),
            "/bye": (Bye, self._bye),
        }
        routes = [
            Route(path, self._route(path, model, handler), methods=["POST"]) for path, (model, handler) in table.items()
        ]
        return Mount("/worker/v1", routes=[Route("/hello", self._hello, methods=["POST"]), *routes])

    def _route(self, path: str, model: type[Wire], handler: Handler) -> Callable[[Request], Awaitable[Response]]:
        async def endpoint(request: Request) -> Response:
            try:
                body = model.model_validate_json(await request.body())
                async with self._engine.begin() as tx:
                    answer = await handler(tx, await self._caller(tx, request), body)
                    to_tell = outbox.was_put(tx)
            except ClientDisconnect:
                return _problem(400, "the request did not arrive whole")
            except ValidationError as error:
                return _problem(422, f"not a request this version knows: {error.errors()[0]['msg']}")
            except PermissionError as error:
                return _problem(401, str(error))
            except Gone as error:
                return _problem(410, str(error))
            except StaleRevision as error:
                return _problem(503, f"{error}; try again")
            except (DBAPIError, OSError, TimeoutError) as error:
                log.warning("endpoint.ledger_unavailable", path=request.url.path, reason=str(error).split("\n")[0])
                return _problem(503, "the ledger can't be reached now; try again")
            if to_tell:
                self._relay.wake()
            if path in _FREE_PLACES:
                self._doorkeeper.wake()
            await failpoints.hit("endpoint.answer." + request.url.path.rsplit("/", 1)[-1])
            return _json(answer)

        return endpoint

    async def _hello(self, request: Request) -> Response:
        try:
            body = Hello.model_validate_json(await request.body())
            async with self._engine.begin() as tx:
                if await self._name(tx, request) != body.name:
                    return _problem(403, f"this token is not one of a worker called {body.name!r}")
                answer = await workers.hello(tx, body, lease=self._lease)
        except ValidationError as error:
            return _problem(422, f"not a hello this version knows: {error.errors()[0]['msg']}")
        except PermissionError as error:
            return _problem(401, str(error))
        except (DBAPIError, OSError, TimeoutError):
            return _problem(503, "the ledger can't be reached now; try again")
        if isinstance(answer, NameInUse):
            return Response(answer.model_dump_json(), status_code=409, media_type="application/json")
        log.info("worker.hello", worker=body.name, host=body.host, inherited=len(answer.attempts))
        return _json(answer)

    async def _name(self, tx: AsyncConnection, request: Request) -> str:
        name = await workers.name_of(tx, token) if (token := _token(request)) else None
        if name is None:
            raise PermissionError(_UNKNOWN)
        return name

    async def _caller(self, tx: AsyncConnection, request: Request) -> Caller:
        try:
            incarnation = UUID(request.headers.get("x-kirby-incarnation", ""))
        except ValueError:
            raise PermissionError("the X-Kirby-Incarnation header is missing") from None
        caller = await workers.caller_of(tx, token, incarnation) if (token := _token(request)) else None
        if caller is None:
            raise PermissionError(_UNKNOWN)
        return caller

    async def _claims(self, tx: AsyncConnection, caller: Caller, body: ClaimRequest) -> Wire:
        worker = await workers.current(tx, caller)
        grants = await claims.claim(tx, worker, body, secret_key=self._secret_key)
        return ClaimAnswer(grants=grants, locks=await locks.wait(tx))

    async def _launches(self, tx: AsyncConnection, caller: Caller, body: LaunchRequest) -> Wire:
        worker = await workers.current(tx, caller)
        decisions = await launches.launch(tx, worker, body.runs, offers_prefix=self._offers_prefix)
        return LaunchAnswer(decisions=decisions)

    async def _reports(self, tx: AsyncConnection, caller: Caller, body: ReportRequest) -> Wire:
        worker = await workers.current(tx, caller)
        return ReportAnswer(outcomes=await reports.take(tx, worker, body.reports, offers_prefix=self._offers_prefix))

    async def _beats(self, tx: AsyncConnection, caller: Caller, body: BeatRequest) -> Wire:
        return await beats.beat(tx, caller, body)

    async def _lock_claim(self, tx: AsyncConnection, caller: Caller, body: LockClaimRequest) -> Wire:
        await workers.current(tx, caller)
        row = await locks.claim(tx, worker=caller.name)
        if row is None:
            return LockClaimAnswer()
        lease_ms = locks.CLAIM_LEASE.total_seconds() * 1000
        work = LockWork(
            lock_id=row.id, package_name=row.package_name, package_version=row.package_version, lease_ms=lease_ms
        )
        return LockClaimAnswer(work=work)

    async def _lock_result(self, tx: AsyncConnection, caller: Caller, body: LockResult) -> None:
        await workers.current(tx, caller)
        await locks.resolved(
            tx, body.lock_id, lock_text=body.text, requires_python=body.requires_python, error=body.error,
            transient=body.transient,
        )  # fmt: skip

    async def _bye(self, tx: AsyncConnection, caller: Caller, body: Bye) -> None:
        await workers.bye(tx, caller)


def _token(request: Request) -> str:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token if scheme.lower() == "bearer" else ""


def _json(answer: Wire | None) -> Response:
    return Response("{}" if answer is None else answer.model_dump_json(), media_type="application/json")


def _problem(status: int, detail: str) -> Response:
    return JSONResponse({"status": status, "detail": detail}, status, media_type="application/problem+json")
