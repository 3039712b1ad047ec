"""What every kind of configured thing has in common."""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from typing import Any, ClassVar, Generic, TypeVar
from uuid import UUID

from kirby_common.ledger.tables import Base
from pydantic import BaseModel, ConfigDict
from sqlalchemy import ColumnElement, Select, inspect, select, true, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from kirby_api.access.permissions import ANYWHERE, Caller, Place
from kirby_api.access.visible import readable_names, reads_all
from kirby_api.changes import Change
from kirby_api.paging import cut, decode_cursor, encode_cursor
from kirby_api.problems import NotFound

Row = TypeVar("Row", bound=Base)


class Form(BaseModel):
    """A request's body: an unknown field is refused, so that a typing error is not silently ignored."""

    model_config = ConfigDict(extra="forbid")


class View(BaseModel):
    """An answer's body."""

    id: UUID
    rev: int


class Kind(ABC, Generic[Row]):
    """One kind. Methods take a session inside the caller's transaction, and raise `Problem`s with a sentence."""

    name: ClassVar[str]
    plural: ClassVar[str]
    title: ClassVar[str]
    row: type[Row]
    new: ClassVar[type[Form]]
    patch: ClassVar[type[Form]]
    view: ClassVar[type[View]]
    filters: ClassVar[tuple[str, ...]] = ()
    rules_too: ClassVar[bool] = False
    creatable: ClassVar[bool] = True

    @property
    def all_filters(self) -> tuple[str, ...]:
        return ("q", *self.filters) if hasattr(self.row, "name") else self.filters

    @property
    def sort(self) -> ColumnElement[Any]:
        return self.row.name  # type: ignore[attr-defined, no-any-return]

    def sort_value(self, row: Row) -> Any:
        return row.name  # type: ignore[attr-defined]

    def label(self, row: Row) -> str:
        """How a sentence names the thing."""
        return f"{self.title} '{row.name}'"  # type: ignore[attr-defined]

    async def find(self, db: AsyncSession, ref: str) -> Row:
        """The row by id or name. Raises `NotFound`."""
        found = await self.by_id(db, ref) or await self.by_name(db, ref)
        if found is None:
            raise NotFound(f"there is no {self.title} '{ref}'")
        return found

    async def by_id(self, db: AsyncSession, ref: str) -> Row | None:
        try:
            return await db.get(self.row, UUID(ref))
        except ValueError:
            return None

    async def by_name(self, db: AsyncSession, ref: str) -> Row | None:
        return (await db.scalars(select(self.row).where(self.sort == ref))).one_or_none()

    def narrowed(self, query: Select[Row], filters: Mapping[str, str]) -> Select[Row]:
        """The query with the filters of the request's query string."""
        return query

    def visible(self, caller: Caller) -> ColumnElement[bool]:
        """Which rows the caller may read; the counterpart of `place` in lists."""
        return true()

    async def page(
        self, db: AsyncSession, caller: Caller, *, limit: int, cursor: str | None, filters: Mapping[str, str]
    ) -> tuple[list[View], str | None]:
        key = inspect(self.row).primary_key[0]
        query = self.narrowed(select(self.row), filters).where(self.visible(caller))
        query = query.order_by(self.sort, key).limit(limit + 1)
        if "q" in filters:
            query = query.where(self.row.name.icontains(filters["q"], autoescape=True))  # type: ignore[attr-defined]
        if cursor:
            sort, last = decode_cursor(cursor, size=2)
            query = query.where(tuple_(self.sort, key) > tuple_(*self.cursor_bounds(sort, last)))
        found: Sequence[Row] = (await db.scalars(query)).all()
        rows, more = cut(found, limit)
        following = encode_cursor(self.sort_value(rows[-1]), str(_identity(rows[-1]))) if more else None
        return await self.show(db, rows), following

    def cursor_bounds(self, sort: Any, last: Any) -> tuple[Any, Any]:
        try:
            return sort, UUID(last)
        except (ValueError, AttributeError, TypeError):
            return sort, UUID(int=0)

    async def one(self, db: AsyncSession, row: Row) -> View:
        """The row as it is now, also after a flush."""
        await db.flush()
        await db.refresh(row)
        return (await self.show(db, [row]))[0]

    @abstractmethod
    async def show(self, db: AsyncSession, rows: Sequence[Row]) -> list[View]:
        """The REST forms, in the order of the rows."""

    @abstractmethod
    async def make(self, change: Change, form: Any) -> Row:
        """Adds a row. Raises `Conflict` for a name in use, `Invalid` for a value that can't be."""

    @abstractmethod
    async def alter(self, change: Change, row: Row, form: Any) -> None:
        """Changes the fields that were sent; `rev` is raised by the caller."""

    async def remove(self, change: Change, row: Row) -> None:
        await change.session.delete(row)

    async def place(self, db: AsyncSession, row: Row) -> Place:
        """Where the permission to change the thing is checked."""
        return ANYWHERE

    async def place_of_new(self, db: AsyncSession, form: Any) -> Place:
        return ANYWHERE

    def told(self, value: dict[str, Any]) -> dict[str, Any]:
        """What the other services get of it on `.kirby.config`."""
        return value


async def pruned(db: AsyncSession, views: Sequence[View], caller: Caller) -> list[View]:
    """The views without the contexts in them that the caller may not read."""
    if not any(getattr(view, "contexts", None) for view in views) or reads_all(caller):
        return list(views)
    seen = await readable_names(db, caller)
    return [view.model_copy(update=_seen_in(view, seen)) for view in views]


def _seen_in(view: View, seen: Collection[str]) -> dict[str, Any]:
    """Its contexts are summaries, or names of the form job@env."""
    inner = getattr(view, "contexts", None)
    if inner is None:
        return {}
    return {"contexts": [c for c in inner if (c if isinstance(c, str) else f"{c.job}@{c.env}") in seen]}


def _identity(row: Base) -> Any:
    return row.id  # type: ignore[attr-defined]


def sent(form: BaseModel) -> dict[str, Any]:
    """The fields that the request had."""
    return {name: getattr(form, name) for name in form.model_fields_set}
