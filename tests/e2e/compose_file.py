"""deploy/compose.yaml as a test reads it: parsed, with its ${VARIABLES} filled in."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import yaml

DEPLOY = Path(__file__).parents[2] / "deploy"
KIRBY_SERVICES = {
    "api": "kirby_api.settings:ApiSettings",
    "ledger": "kirby_api.settings:ApiSettings",
    "scheduler": "kirby_scheduler.settings:SchedulerSettings",
    "worker": "kirby_worker.settings:WorkerSettings",
    "vault": "kirby_vault.settings:VaultSettings",
    "notifier": "kirby_notifier.settings:NotifierSettings",
}
_VARIABLE = re.compile(r"\$\{(?P<name>[A-Z_]+)(?::(?P<how>[-?])(?P<text>[^}]*))?\}")


class Unset(LookupError):
    """A variable without a default is not set."""


def load_compose(variables: Mapping[str, str]) -> dict[str, Any]:
    return cast(dict[str, Any], yaml.safe_load(_fill_in((DEPLOY / "compose.yaml").read_text(), variables)))


def _fill_in(text: str, variables: Mapping[str, str]) -> str:
    def value(found: re.Match[str]) -> str:
        if found["name"] in variables:
            return variables[found["name"]]
        if found["how"] == "-":
            return found["text"]
        raise Unset(found["name"])

    return _VARIABLE.sub(value, text)
