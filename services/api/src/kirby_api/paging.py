"""Pages: `{"items": […], "next": cursor}`. A cursor is where the page ended, opaque to the client."""

import base64
import binascii
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Generic, TypeVar
from uuid import UUID

import orjson
from fastapi import Query
from pydantic import BaseModel
from sqlalchemy import Select, tuple_
from sqlalchemy.orm import InstrumentedAttribute
from sqlalchemy.sql.elements import ColumnElement

from kirby_api.problems import Invalid

Item = TypeVar("Item")
Kind = TypeVar("Kind")
Selected = TypeVar("Selected")
Column = InstrumentedAttribute[Kind] | ColumnElement[Kind]
MAX_LIMIT = 1000

Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT, description="how many at most")]
Cursor = Annotated[str | None, Query(description="`next` of the page before", max_length=2000)]


class Page(BaseModel, Generic[Item]):
    """`next` is null on the last page."""

    items: list[Item]
    next: str | None = None


def encode_cursor(*values: Any) -> str:
    return base64.urlsafe_b64encode(orjson.dumps(values)).decode().rstrip("=")


def decode_cursor(cursor: str, *, size: int) -> list[Any]:
    """The values of a cursor. Raises `Invalid`."""
    try:
        values = orjson.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (ValueError, binascii.Error) as error:
        raise Invalid("the cursor is not one of ours; start without one") from error
    if not isinstance(values, list) or len(values) != size:
        raise Invalid("the cursor is not one of this list; start without one")
    return values


def cut(rows: Sequence[Item], limit: int) -> tuple[Sequence[Item], bool]:
    """The page, and whether there is more; `rows` were asked for with limit + 1."""
    return rows[:limit], len(rows) > limit


def newest_first(
    query: Select[Selected], at: Column[datetime], key: Column[UUID], *, limit: int, cursor: str | None
) -> Select[Selected]:
    """The query by time and id, from where the cursor ended, with the one row more that `cut` needs. Raises `Invalid`.

    The page's own cursor is `encode_cursor(moment.isoformat(), str(id))` of its last row.
    """
    if cursor:
        moment, last = decode_cursor(cursor, size=2)
        try:
            bound = (datetime.fromisoformat(moment), UUID(last))
        except (ValueError, TypeError, AttributeError) as error:
            raise Invalid("the cursor is not one of this list; start without one") from error
        query = query.where(tuple_(at, key) < bound)
    return query.order_by(at.desc(), key.desc()).limit(limit + 1)
