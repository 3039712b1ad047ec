"""Making and changing configured things inside a larger change, each with its revision and message."""

from dataclasses import dataclass, field
from typing import Any

from kirby_api.changes import Change
from kirby_api.kinds.kind import Form, Kind, View


@dataclass
class Recorded:
    """`created` names the kinds of what there was not before, in order."""

    change: Change
    created: list[str] = field(default_factory=list)

    async def make(self, kind: Kind[Any], form: Form) -> View:
        row = await kind.make(self.change, form)
        self.created.append(kind.name)
        return await self._record(kind, row, "create")

    async def alter(self, kind: Kind[Any], row: Any, form: Form) -> View:
        row.rev = row.rev + 1
        await kind.alter(self.change, row, form)
        return await self._record(kind, row, "update")

    async def _record(self, kind: Kind[Any], row: Any, action: str) -> View:
        view = await kind.one(self.change.session, row)
        value = view.model_dump(mode="json")
        told = kind.told(value)
        await self.change.record(kind.name, view.id, rev=view.rev, action=action, value=value, told=told)
        return view
