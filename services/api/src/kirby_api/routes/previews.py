"""What a schedule or an exception would do, before it is saved."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter
from kirby_common.schedules import preview
from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field

from kirby_api.access.gate import Parts, Reader
from kirby_api.kinds.exceptions import NewException
from kirby_api.kinds.names import Text
from kirby_api.kinds.schedules import Timing, checked
from kirby_api.routes.documents import PROBLEMS
from kirby_api.usecases.foresee import Foresight, foresee

router = APIRouter(responses=PROBLEMS)


def instant(value: object) -> object:
    """A date alone, or a time without a zone, is taken as UTC."""
    if isinstance(value, str):
        text = value if "T" in value or " " in value else f"{value}T00:00:00"
        try:
            parsed = datetime.fromisoformat(text)
        except ValueError:
            return value
        return text if parsed.tzinfo else f"{text}Z"
    return value


From = Annotated[AwareDatetime | None, BeforeValidator(instant), Field(alias="from")]


class Question(Timing):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"cron": "30 2 * * *", "tz": "Europe/Brussels", "from": "2026-10-24", "n": 3}]},
        populate_by_name=True,
    )

    from_: From = None
    n: int = Field(default=5, ge=1, le=1000)


class Due(BaseModel):
    due: list[datetime]


class ExceptionQuestion(NewException):
    model_config = ConfigDict(populate_by_name=True)

    reason: Text = "this exception"
    from_: From = Field(default=None, description="unset: now, or when it opens next")
    n: int = Field(default=50, ge=1, le=500)
    replaces: UUID | None = Field(default=None, description="the exception that it is a change of")


@router.post(
    "/schedules/preview", name="preview_schedule", tags=["schedules"], summary="The next due times of a schedule"
)
async def preview_schedule(form: Question, parts: Parts, caller: Reader) -> Due:
    """Runs of a context with the policy `jitter` start up to so much later than they are due."""
    start = form.from_ or parts.clock.now()
    spec = checked(form.spec(), now=start)
    return Due(due=list(preview(spec, start=start, n=form.n)))


@router.post(
    "/exceptions/preview",
    name="preview_exception",
    tags=["exceptions"],
    summary="The next due times under an exception, and which of them it would skip",
)
async def preview_exception(form: ExceptionQuestion, parts: Parts, caller: Reader) -> Foresight:
    return await foresee(
        parts.sessions, caller, form, replaces=form.replaces, start=form.from_, n=form.n, now=parts.clock.now()
    )
