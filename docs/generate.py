"""Writes the reference pages that follow from the code: `python docs/generate.py`.

A test compares the files with what this makes, so they can't grow old.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from importlib.metadata import entry_points
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from kirby.cli.registry import DEV, LOCAL
from kirby.cli.registry import SERVICES as SERVICES_OF
from kirby_common.ledger.tables import Base
from kirby_common.topics import registry
from pydantic import AliasChoices, SecretStr
from pydantic_core import PydanticUndefined
from pydantic_settings import BaseSettings
from sqlalchemy import Column, Table
from sqlalchemy.dialects import postgresql

_COMMAND_TEXT = (
    (r"^#+ Table of Contents\n\n(?:.*- .*\n)+\n", ""),
    (r"^(#+ |```console\n)([a-z-]+)", r"\1kirby \2"),
    (r"\]\(#", "](#kirby-"),
    (r"^\* `--(?:home PATH|output, -o CHOICE)`.*\n", ""),
    (r"\*\*Parameters\*\*:\n\n(?=\n|#|\Z)", ""),
    (r"\n{3,}", "\n\n"),
)
DIALECT = postgresql.asyncpg.dialect()  # type: ignore[no-untyped-call]
REFERENCE = Path(__file__).with_name("reference")
HEAD = "<!-- Made by docs/generate.py; edit the code instead. -->\n"
SERVICES = {
    "api": "kirby_api.settings:ApiSettings",
    "scheduler": "kirby_scheduler.settings:SchedulerSettings",
    "worker": "kirby_worker.settings:WorkerSettings",
    "vault": "kirby_vault.settings:VaultSettings",
    "notifier": "kirby_notifier.settings:NotifierSettings",
}
SCRIPT_DATABASE = [
    "environments",
    "jobs",
    "job_predecessors",
    "contexts",
    "scripts",
    "schedules",
    "context_schedules",
    "schedule_exceptions",
    "limits",
    "config_keys",
    "topics",
    "script_topics",
    "notification_groups",
    "notifications",
    "revisions",
]
# What points at a row without a foreign key, because runs outlive what they were made of and are partitioned.
LOOSE_LINKS = (
    ("contexts", "runs", "is run as"),
    ("run_keys", "runs", "makes unique"),
    ("runs", "attempts", "is tried as"),
    ("attempts", "log_pointers", "has its log at"),
    ("workers", "attempts", "holds"),
    ("runs", "daemon_slots", "is the generation of"),
    ("scripts", "locks", "is resolved to"),
    ("state_logs", "state_offsets", "is folded up to"),
    ("state_logs", "state_keys", "has"),
    ("state_keys", "state_versions", "was"),
)


def settings_page() -> str:
    """Every variable of every service, its default and who reads it."""
    rows: dict[str, tuple[str, str, list[str]]] = {}
    for service, where in SERVICES.items():
        for variable, default, text in _variables(resolve_name(where)):
            known = rows.setdefault(variable, (default, text, []))
            known[2].append(service)
    lines = [
        "# Settings",
        "",
        "Each service reads its settings from environment variables, once, when it starts. `kirby SERVICE --check`",
        "says what is wrong with them; `kirby config` lists those in force. Durations are written `500ms`, `20s`,",
        "`5m`, `1h`, `14d`.",
        "",
        "| variable | default | read by | what it does |",
        "|---|---|---|---|",
    ]
    for variable, (default, text, services) in sorted(rows.items()):
        who = "all" if len(services) == len(SERVICES) else ", ".join(services)
        lines.append(f"| `{variable}` | {default} | {who} | {text} |")
    return "\n".join(lines) + "\n"


def _variables(settings: type[BaseSettings]) -> Iterator[tuple[str, str, str]]:
    for name, field in settings.model_fields.items():
        variable = name.upper()
        if isinstance(field.validation_alias, AliasChoices):
            variable = next(c.upper() for c in field.validation_alias.choices if isinstance(c, str))
        elif isinstance(field.validation_alias, str):
            variable = field.validation_alias.upper()
        default = field.get_default(call_default_factory=True, validated_data={})
        yield variable, _shown(default), (field.description or "").replace("|", "\\|")


def _shown(default: Any) -> str:
    if default is PydanticUndefined:
        return "**required**"
    if default is None:
        return "unset"
    if isinstance(default, timedelta):
        return f"`{_duration(default)}`"
    if isinstance(default, SecretStr):
        return "a secret"
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"


def _duration(value: timedelta) -> str:
    seconds = value.total_seconds()
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:g}{unit}"
    return f"{seconds * 1000:g}ms"


def topics_page() -> str:
    """Every topic of Kirby itself, as the registry creates it."""
    lines = [
        "# Topics",
        "",
        "Kirby's own Kafka topics. The services create them; a broker never creates one by itself. The prefix of the",
        "offers' topics is `KIRBY_TOPIC_JOB_OFFERS`. On three or more brokers each has three replicas, two in sync.",
        "",
        "| topic | key | messages | partitions | kept | written by | read by |",
        "|---|---|---|---|---|---|---|",
    ]
    for topic in registry():
        kept = (
            "compacted" if topic.cleanup == "compact" else _duration(topic.retention) if topic.retention else "for ever"
        )
        cells = (
            f"`{topic.name}`",
            topic.key,
            ", ".join(topic.messages),
            str(topic.partitions),
            "compacted" if topic.cleanup == "compact" else kept,
            ", ".join(topic.producers),
            ", ".join(topic.consumers),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def database_page() -> str:
    """The tables as two entity-relationship diagrams."""
    tables = Base.metadata.tables
    ledger = [name for name in tables if name not in SCRIPT_DATABASE]
    return "\n".join(
        [
            "# Database",
            "",
            "The **script database** says what is to run where and when. The api writes it; every change is a row of",
            "`revisions`.",
            "",
            *_diagram(tables[name] for name in SCRIPT_DATABASE),
            "",
            "The **ledger** says what ran. A launch is one row of `run_keys`; `runs` is partitioned by month.",
            "",
            *_diagram(tables[name] for name in ledger),
            "",
            "The vault and the notifier keep their own tables in schemas of their own (`vault`, `notifier`).",
            "",
        ]
    )


def _diagram(tables: Iterable[Table]) -> list[str]:
    shown = list(tables)
    names = {table.name for table in shown}
    lines = ["```mermaid", "erDiagram"]
    for table in shown:
        lines += [f"    {table.name} {{", *(f"        {_column(c)}" for c in table.columns), "    }"]
    for table in shown:
        for key in sorted(table.foreign_keys, key=lambda k: k.parent.name):
            if key.column.table.name in names:
                some = "|o" if key.parent.nullable else "||"
                lines.append(f'    {key.column.table.name} {some}--o{{ {table.name} : "{key.parent.name}"')
    lines += [f'    {a} ||..o{{ {b} : "{how}"' for a, b, how in LOOSE_LINKS if {a, b} <= names]
    return [*lines, "```"]


def _column(column: Column[Any]) -> str:
    kind = column.type.compile(DIALECT).lower().replace("timestamp with time zone", "timestamptz")
    marks = [mark for mark, so in (("PK", column.primary_key), ("FK", bool(column.foreign_keys))) if so]
    return f"{kind} {column.name}" + (f" {', '.join(marks)}" if marks else "")


def commands_page() -> str:
    """Every command with its options, as `--help` tells them."""
    targets = {name: command.target for name, command in (LOCAL | DEV).items()}
    targets |= {entry.name: entry.value for entry in entry_points(group="kirby.commands") if entry.name in SERVICES_OF}
    parts = [
        "# Commands",
        "",
        "Exit codes: 0 it is done · 1 it failed, and the sentence says why · 2 used wrongly, or a wrong setting ·",
        "3 the suite can't be reached · 4 there is no such thing · 5 it conflicts with what there is · 6 not allowed.",
        "A command that waits for a run exits with the script's own code.",
        "",
        "Commands that ask a suite find it by `--home` (the folder of a `kirby dev`), else by `KIRBY_URL` and",
        "`KIRBY_TOKEN`, else by `KIRBY_HOME` or the default home. All reading commands take `-o json`.",
        "",
    ]
    for name in sorted(targets):
        text = resolve_name(targets[name]).generate_docs(output_format="markdown", heading_level=2)
        for pattern, ours in _COMMAND_TEXT:
            text = re.sub(pattern, ours, text, flags=re.MULTILINE)
        parts.append(text.strip() + "\n")
    return "\n".join(parts)


PAGES: dict[str, Callable[[], str]] = {
    "settings.md": settings_page,
    "topics.md": topics_page,
    "database.md": database_page,
    "commands.md": commands_page,
}


def main() -> None:
    for name, page in PAGES.items():
        (REFERENCE / name).write_text(HEAD + page())


if __name__ == "__main__":
    main()
