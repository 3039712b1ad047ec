"""Kirby's own commands as `kirby dev` uses them: an administrator, a login link, the demo."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from kirby.cli.client import Client
from kirby.cli.errors import CommandError
from kirby.cli.suite import Suite
from kirby.dev.parts import PartFailed


@dataclass(frozen=True)
class Entrance:
    """The administrator's API token for the commands of this home, and a link that opens the page once."""

    token: str
    link: str


async def known_entrance(url: str, token: str) -> Entrance | None:
    """A new link for the token of an earlier start; None when the suite doesn't know it any more."""
    try:
        answer = await asyncio.to_thread(Client(Suite(url, token)).post, "/login-links")
    except CommandError:
        return None
    return Entrance(token, str(answer["url"]))


async def first_entrance(url: str, *, env: Mapping[str, str]) -> Entrance:
    """Makes the administrator if there is none, and a token; needs the database only. Raises `PartFailed`."""
    read, write = os.pipe()
    code, told = await _command(("api", "bootstrap", "--fd", str(write)), env=env, pass_fds=(write,))
    os.close(write)
    with os.fdopen(read) as answer:
        line = answer.readline()
    if code != 0 or not line:
        raise PartFailed(f"api: the first administrator can't be made: {told}")
    tokens = json.loads(line)
    return Entrance(str(tokens["token"]), f"{url}/login-link/{tokens['login_token']}")


async def load_demo(*, env: Mapping[str, str]) -> str | None:
    """None when the demo is in, else the sentence why not: the suite holds something already."""
    code, told = await _command(("demo",), env=env)
    return None if code == 0 else told


async def _command(
    words: tuple[str, ...], *, env: Mapping[str, str], pass_fds: tuple[int, ...] = ()
) -> tuple[int, str]:
    """Runs a `kirby` command; its exit code and the last line it printed."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "kirby.cli.main", *words),
        env=dict(env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        pass_fds=pass_fds,
    )
    output, _ = await process.communicate()
    lines = output.decode(errors="replace").strip().splitlines()
    return process.returncode or 0, lines[-1] if lines else ""
