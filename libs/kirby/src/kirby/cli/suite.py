"""Which suite a command talks to: a home's, or the one that KIRBY_URL and KIRBY_TOKEN name."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kirby.cli.errors import Unreachable, UsageError


@dataclass(frozen=True)
class Suite:
    """Where the api is, and the token that proves who asks.

    The others say where both were said, for what is told when they are wrong.
    """

    url: str
    token: str
    if_absent: str = "start one with `make dev` or `kirby dev`, or set KIRBY_URL and KIRBY_TOKEN"
    named_by: str = "KIRBY_URL"
    proved_by: str = "KIRBY_TOKEN (or the home)"


def default_home() -> Path:
    """`KIRBY_HOME`, else `/var/lib/kirby` for root, else `kirby` below the user's data folder."""
    if named := os.environ.get("KIRBY_HOME"):
        return Path(named)
    if os.geteuid() == 0:
        return Path("/var/lib/kirby")
    data = os.environ.get("XDG_DATA_HOME")
    return (Path(data) if data else Path.home() / ".local" / "share") / "kirby"


def find(home: Path | None) -> Suite:
    """The suite of `--home`, else of KIRBY_URL, else of the default home.

    Raises UsageError for half a pair or a broken file, Unreachable when no home is there.
    """
    if home is None and (url := _url_of_environment()):
        return Suite(url, _token_for(url))
    return _of_home(home or default_home())


def recorded(home: Path | None) -> dict[str, Any]:
    """What the home has recorded about its suite; empty when the environment names another, or there is none."""
    if home is None and _url_of_environment():
        return {}
    return _read((home or default_home()) / "kirby.json") or {}


def _url_of_environment() -> str | None:
    if url := os.environ.get("KIRBY_URL"):
        return url.rstrip("/")
    endpoint = os.environ.get("KIRBY_SCHEDULE_ENDPOINT", "").rstrip("/")
    return endpoint.removesuffix("/schedule") or None


def _token_for(url: str) -> str:
    """KIRBY_TOKEN, else the one recorded by the default home, if that is the same suite."""
    if token := os.environ.get("KIRBY_TOKEN"):
        return token
    recorded = _read(default_home() / "kirby.json")
    if recorded is not None and str(recorded.get("url", "")).rstrip("/") == url and recorded.get("token"):
        return str(recorded["token"])
    raise UsageError(f"KIRBY_TOKEN is not set for {url}: `kirby tokens add` on the suite's machine makes one")


def _of_home(home: Path) -> Suite:
    recorded = _read(home / "kirby.json")
    if recorded is None:
        raise Unreachable(
            f"No Kirby in {home}: start one with `make dev` or `kirby dev`, name its folder with --home,"
            " or set KIRBY_URL and KIRBY_TOKEN"
        )
    url, token = recorded.get("url"), recorded.get("token")
    if not url or not token:
        raise Unreachable(f"The Kirby in {home} has not come up yet: `kirby dev status --home {home}` tells more")
    return Suite(str(url).rstrip("/"), str(token))


def _read(path: Path) -> dict[str, Any] | None:
    try:
        recorded = json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} can't be read: {error}") from error
    if not isinstance(recorded, dict):
        raise UsageError(f"{path} is not the record of a Kirby home")
    return recorded
