import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any
from urllib.parse import urlsplit

from kirby_common.ledger.tables import Context, Environment, Job, Notification, NotificationGroup
from pydantic import AfterValidator, ConfigDict
from sqlalchemy import ColumnElement, Select, select
from sqlalchemy.ext.asyncio import AsyncSession

from kirby_api.access.permissions import Caller, Place
from kirby_api.access.visible import readable_context
from kirby_api.changes import Change
from kirby_api.kinds.kind import Form, Kind, View, sent
from kirby_api.kinds.names import EnvironmentName, Name
from kirby_api.kinds.references import context_named, group_named, job_named, place_of_context
from kirby_api.problems import Conflict

_EMAIL = re.compile(r"[^@\s]+@[^@\s]+")


def _email(text: str) -> str:
    if not _EMAIL.fullmatch(text):
        raise ValueError(f"'{text}' is not an e-mail address")
    return text


def _webhook(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"'{text}' is not a webhook: give a URL that begins with https:// or http://")
    return text


Email = Annotated[str, AfterValidator(_email)]
Webhook = Annotated[str, AfterValidator(_webhook)]


class NewGroup(Form):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"name": "ops", "emails": ["ops@example.org"], "webhooks": []}]}
    )

    name: Name
    emails: list[Email] = []
    webhooks: list[Webhook] = []
    suite_alerts: bool = False


class GroupPatch(Form):
    emails: list[Email] | None = None
    webhooks: list[Webhook] | None = None
    suite_alerts: bool | None = None


class GroupView(View):
    """`suite_alerts`: it is told of missed marks that belong to no job, such as "no leader"."""

    name: str
    emails: list[str]
    webhooks: list[str]
    suite_alerts: bool


class NotificationGroups(Kind[NotificationGroup]):
    name, plural, title = "notification-group", "notification-groups", "notification group"
    row = NotificationGroup
    new, patch, view = NewGroup, GroupPatch, GroupView

    async def show(self, db: AsyncSession, rows: Sequence[NotificationGroup]) -> list[View]:
        return [GroupView.model_validate(row, from_attributes=True) for row in rows]

    async def make(self, change: Change, form: Any) -> NotificationGroup:
        if await self.by_name(change.session, form.name) is not None:
            raise Conflict(f"notification group '{form.name}' exists")
        row = NotificationGroup(**form.model_dump())
        change.session.add(row)
        return row

    async def alter(self, change: Change, row: NotificationGroup, form: Any) -> None:
        for name, value in sent(form).items():
            setattr(row, name, bool(value) if name == "suite_alerts" else value or [])

    async def remove(self, change: Change, row: NotificationGroup) -> None:
        used = await change.session.scalar(select(Notification.id).where(Notification.group_id == row.id).limit(1))
        if used is not None:
            raise Conflict(f"notification group '{row.name}' is used by notification {used}; remove that first")
        await change.session.delete(row)


class NewNotification(Form):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"job": "weather", "env": "prod", "group": "ops", "on_failure": True}]}
    )

    job: Name
    env: EnvironmentName
    group: Name
    on_failure: bool = True
    on_retry: bool = False


class NotificationPatch(Form):
    on_failure: bool | None = None
    on_retry: bool | None = None


class NotificationView(View):
    context_id: Any
    group_id: Any
    job: str
    env: str
    group: str
    on_failure: bool
    on_retry: bool


class Notifications(Kind[Notification]):
    name, plural, title = "notification", "notifications", "notification"
    row = Notification
    new, patch, view = NewNotification, NotificationPatch, NotificationView
    filters = ("job", "env")

    @property
    def sort(self) -> ColumnElement[Any]:
        return Notification.id  # type: ignore[return-value]

    def sort_value(self, row: Notification) -> Any:
        return str(row.id)

    def cursor_bounds(self, sort: Any, last: Any) -> tuple[Any, Any]:
        bound = super().cursor_bounds(sort, last)[1]
        return bound, bound

    def label(self, row: Notification) -> str:
        return f"notification {row.id}"

    def narrowed(self, query: Select[Notification], filters: Mapping[str, str]) -> Select[Notification]:
        if "job" in filters or "env" in filters:
            contexts = select(Context.id).join(Job).join(Environment)
            if "job" in filters:
                contexts = contexts.where(Job.name == filters["job"])
            if "env" in filters:
                contexts = contexts.where(Environment.name == filters["env"])
            query = query.where(Notification.context_id.in_(contexts))
        return query

    async def by_name(self, db: AsyncSession, ref: str) -> Notification | None:
        return None

    async def show(self, db: AsyncSession, rows: Sequence[Notification]) -> list[View]:
        query = (
            select(Notification.id, Job.name, Environment.name, NotificationGroup.name)
            .join(Context, Context.id == Notification.context_id)
            .join(Job, Job.id == Context.job_id)
            .join(Environment, Environment.id == Context.environment_id)
            .join(NotificationGroup, NotificationGroup.id == Notification.group_id)
            .where(Notification.id.in_([row.id for row in rows]))
        )
        names = {i: (job, env, group) for i, job, env, group in await db.execute(query)}
        return [
            NotificationView(
                id=row.id, rev=row.rev, context_id=row.context_id, group_id=row.group_id, job=names[row.id][0],
                env=names[row.id][1], group=names[row.id][2], on_failure=row.on_failure, on_retry=row.on_retry,
            )
            for row in rows
        ]  # fmt: skip

    async def make(self, change: Change, form: Any) -> Notification:
        assert isinstance(form, NewNotification)
        db = change.session
        context = await context_named(db, form.job, form.env)
        group = await group_named(db, form.group)
        taken = await db.scalar(
            select(Notification.id).where(Notification.context_id == context.id, Notification.group_id == group.id)
        )
        if taken is not None:
            raise Conflict(f"'{form.group}' is told of {form.job} in {form.env} already; change that notification")
        row = Notification(context_id=context.id, group_id=group.id, on_failure=form.on_failure, on_retry=form.on_retry)
        db.add(row)
        return row

    async def alter(self, change: Change, row: Notification, form: Any) -> None:
        for name, value in sent(form).items():
            if value is not None:
                setattr(row, name, value)

    def visible(self, caller: Caller) -> ColumnElement[bool]:
        return readable_context(caller, Notification.context_id)

    async def place(self, db: AsyncSession, row: Notification) -> Place:
        return await place_of_context(db, row.context_id)

    async def place_of_new(self, db: AsyncSession, form: Any) -> Place:
        return Place(env=form.env, namespace=(await job_named(db, form.job)).namespace)
