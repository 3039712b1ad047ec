"""What the web role's routes work with: made once in `main`, handed to every request."""

from dataclasses import dataclass
from typing import Protocol

import httpx2
from fastapi import Request
from kirby_common.clock import Clock
from kirby_common.ledger.outbox import OutboxRelay
from kirby_common.ports import Bus, Offsets, TopicAdmin
from kirby_common.runtime import Health
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, async_sessionmaker

from kirby_api.access.passwords import Passwords
from kirby_api.access.throttle import LoginThrottle
from kirby_api.logs.hub import Hub
from kirby_api.logs.ports import LogStore
from kirby_api.messages.ports import Groups, Messages
from kirby_api.packages.index import PackageIndex
from kirby_api.rewinds.ports import GroupsOf
from kirby_api.settings import ApiSettings


class TopicOffsets(Offsets, Groups, Protocol):
    """What Kafka knows of who reads and writes."""


@dataclass(frozen=True)
class Resources:
    settings: ApiSettings
    engine: AsyncEngine
    sessions: async_sessionmaker[AsyncSession]
    relay: OutboxRelay
    clock: Clock
    http: httpx2.AsyncClient
    passwords: Passwords
    throttle: LoginThrottle
    index: PackageIndex
    log_store: LogStore
    log_hub: Hub
    event_hub: Hub
    bus: Bus
    topics: TopicAdmin
    groups_of: GroupsOf
    messages: Messages
    offsets: TopicOffsets
    health: Health
    version: str


def resources(request: Request) -> Resources:
    parts: Resources = request.app.state.resources
    return parts
