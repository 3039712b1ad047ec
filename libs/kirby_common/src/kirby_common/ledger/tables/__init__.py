"""The tables. Configuration is mapped to classes; runs, leases and the outbox are used as plain rows.

Who owns what: the api writes configuration; runs change only through `kirby_common.ledger.runs`.
"""

from kirby_common.ledger.tables.accounts import (
    ApiToken,
    IdempotencyKey,
    RoleBinding,
    Session,
    User,
    WorkerToken,
)
from kirby_common.ledger.tables.base import Base
from kirby_common.ledger.tables.configuration import (
    ConfigKey,
    Context,
    ContextSchedule,
    Environment,
    Job,
    JobPredecessor,
    Limit,
    Lock,
    Notification,
    NotificationGroup,
    Revision,
    Schedule,
    ScheduleException,
    Script,
    ScriptTopic,
    Setting,
    Topic,
)
from kirby_common.ledger.tables.lineage import LineageEdge, LineageJoin, LineageProcess, LineageSpan
from kirby_common.ledger.tables.rewinds import Rewind
from kirby_common.ledger.tables.running import (
    Attempt,
    Backfill,
    DaemonSlot,
    Leader,
    LogPointer,
    Outbox,
    RecorderOffset,
    RulesGate,
    Run,
    RunKey,
    Worker,
)
from kirby_common.ledger.tables.states import StateKey, StateLog, StateOffset, StateVersion
from kirby_common.ledger.tables.watching import Alert, DaemonProgress

__all__ = [
    "Alert",
    "ApiToken",
    "Attempt",
    "Backfill",
    "Base",
    "ConfigKey",
    "Context",
    "ContextSchedule",
    "DaemonProgress",
    "DaemonSlot",
    "Environment",
    "IdempotencyKey",
    "Job",
    "JobPredecessor",
    "Leader",
    "Limit",
    "LineageEdge",
    "LineageJoin",
    "LineageProcess",
    "LineageSpan",
    "Lock",
    "LogPointer",
    "Notification",
    "NotificationGroup",
    "Outbox",
    "RecorderOffset",
    "Revision",
    "Rewind",
    "RoleBinding",
    "RulesGate",
    "Run",
    "RunKey",
    "Schedule",
    "ScheduleException",
    "Script",
    "ScriptTopic",
    "Session",
    "Setting",
    "StateKey",
    "StateLog",
    "StateOffset",
    "StateVersion",
    "Topic",
    "User",
    "Worker",
    "WorkerToken",
]
