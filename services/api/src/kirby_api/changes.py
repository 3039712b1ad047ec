"""One change of the configuration: the edit, its revision and its message on `.kirby.config`, in one transaction."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from kirby_common.ledger import outbox, rules
from kirby_common.ledger.tables import Revision
from kirby_common.messages import ConfigEntity, ConfigEntityV1
from kirby_common.topics import CONFIG
from pydantic import ValidationError
from sqlalchemy.ext.asyncio import AsyncSession

from kirby_api.access.permissions import Caller
from kirby_api.problems import Invalid, sentence
from kirby_api.resources import Resources

SOURCE = "kirby-api"


@dataclass
class Change:
    """`session` is inside the transaction. `too_late` lists, afterwards, the runs that start regardless."""

    session: AsyncSession
    caller: Caller
    too_late: list[str] = field(default_factory=list)

    @property
    def author(self) -> str:
        return self.caller.name

    async def record(
        self,
        kind: str,
        entity_id: object,
        *,
        rev: int,
        action: str,
        value: dict[str, Any] | None,
        told: dict[str, Any] | None = None,
    ) -> None:
        """Writes the revision and tells the services; `told` replaces `value` in what they get."""
        self.session.add(
            Revision(kind=kind, entity_id=str(entity_id), rev=rev, action=action, value=value, author=self.author)
        )
        entity = ConfigEntity(kind=kind, id=str(entity_id), value=value if told is None else told)
        await outbox.put(
            self.session,
            topic=CONFIG,
            key=f"{kind}/{entity_id}",
            message=ConfigEntityV1(source=SOURCE, subject=f"{kind}/{entity_id}", data=entity),
        )


@asynccontextmanager
async def change(parts: Resources, caller: Caller, *, rules_too: bool) -> AsyncIterator[Change]:
    """`rules_too` for edits that move due times: they are judged before and after, under the rules gate."""
    if rules_too:
        prefix = parts.settings.kirby_topic_job_offers
        try:
            async with rules.change_of_rules(parts.engine, author=caller.name, offers_prefix=prefix) as judged:
                made = Change(judged.session, caller)
                yield made
        except ValidationError as error:
            raise Invalid(sentence(list(error.errors()))) from error
        except ValueError as error:
            raise Invalid(str(error)) from error
        made.too_late = [str(run.id) for run in judged.too_late]
    else:
        async with parts.sessions.begin() as session:
            yield Change(session, caller)
    parts.relay.wake()
