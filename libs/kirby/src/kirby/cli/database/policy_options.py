"""The policies of a job or context, as options."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from cyclopts import Parameter

from kirby.cli.errors import UsageError
from kirby.cli.options import pairs

Timeout = Annotated[str | None, Parameter(help="End a run that takes longer, for example 90s or 1h.")]
Retries = Annotated[int | None, Parameter(help="Tries in all after a failure that was seen, the first included.")]
Policy = Annotated[
    list[str] | None,
    Parameter(negative="", help="Any policy as NAME=VALUE, for example overlap=queue_one or limits=db; repeatable."),
]

_WITH_PARTS = ("retry", "restart", "worker_labels")


@dataclass(frozen=True)
class Chosen:
    """The policies that were said on the command line."""

    timeout: str | None
    attempts: int | None
    policy: Sequence[str] | None

    def body(self) -> dict[str, Any]:
        found: dict[str, Any] = dict(pairs(list(self.policy or []), option="--policy"))
        for name in [name for name in found if "." in name]:
            outer, _, inner = name.partition(".")
            if outer not in _WITH_PARTS:
                parts = f"only {', '.join(_WITH_PARTS)} have parts, as in retry.delay=10s"
                raise UsageError(f"--policy {name!r}: {parts}")
            found.setdefault(outer, {})[inner] = found.pop(name)
        if self.timeout is not None:
            found["timeout"] = self.timeout
        if self.attempts is not None:
            found.setdefault("retry", {})["attempts"] = self.attempts
        return found
