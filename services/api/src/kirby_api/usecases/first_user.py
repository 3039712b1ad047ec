"""Users added at the command line: straight into the database, which is migrated when it is empty."""

import asyncio
import getpass
import json
import os
import sys
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import TypeVar

from kirby_common.database import connect
from kirby_common.ledger.schema import prepare
from sqlalchemy.ext.asyncio import AsyncSession

from kirby_api.access import accounts
from kirby_api.access.passwords import Passwords, check_strength
from kirby_api.problems import Problem
from kirby_api.settings import DatabaseOnlySettings

T = TypeVar("T")
ADMIN = "admin"
_LINK_LIFETIME = timedelta(hours=1)


class UserExists(Exception):
    """The name is taken; the text is what the guide says."""


def ask() -> tuple[str, bool]:
    """The password and whether the user is an admin: from the terminal, or two lines of a pipe.

    Raises ValueError (`WeakPassword` too) with a sentence.
    """
    if sys.stdin.isatty():
        password = check_strength(getpass.getpass("Password: "))
        answer = input("Give admin rights? [y/N]: ")
    else:
        _prompt("Password: ")
        line = sys.stdin.readline()
        if not line:
            raise ValueError("no password came on the standard input")
        password = check_strength(line.rstrip("\r\n"))
        _prompt("\nGive admin rights? [y/N]: ")
        answer = sys.stdin.readline()
        _prompt("\n")
    return password, answer.strip().lower() in ("y", "yes")


def _prompt(text: str) -> None:
    """Through a pipe the questions go to the standard error, so that the output is the outcome alone."""
    sys.stderr.write(text)
    sys.stderr.flush()


def must_be_new(settings: DatabaseOnlySettings, name: str) -> None:
    """Raises `UserExists`, or ValueError for a name that can't be."""

    async def look(db: AsyncSession) -> bool:
        return await accounts.user_by_name(db, accounts.check_name(name)) is not None

    if _in_database(settings, look):
        raise UserExists(f"User {name} exists")


def add_local_user(settings: DatabaseOnlySettings, *, name: str, password: str, admin: bool) -> str:
    """Adds the user; returns the sentence of the guide. Raises `UserExists`, ValueError."""
    passwords = Passwords(settings.security_password_salt.get_secret_value())

    async def add(db: AsyncSession) -> None:
        if await accounts.user_by_name(db, name) is not None:
            raise UserExists(f"User {name} exists")
        role = "admin" if admin else "viewer"
        await accounts.add_user(db, name=name, password_hash=await passwords.hash(password), role=role)

    _in_database(settings, add)
    return f"User {name} added with admin rights" if admin else f"User {name} added"


def bootstrap(settings: DatabaseOnlySettings, *, fd: int) -> int:
    """Makes sure of an admin without password, and writes `{"token", "login_token"}` to the file descriptor."""

    async def make(db: AsyncSession) -> dict[str, str]:
        user = await accounts.user_by_name(db, ADMIN)
        if user is None:
            user = await accounts.add_user(db, name=ADMIN, password_hash=None, role="admin")
        _, token = await accounts.add_token(db, user, label="kirby dev")
        return {"token": token, "login_token": await accounts.add_login_link(db, user, lifetime=_LINK_LIFETIME)}

    line = json.dumps(_in_database(settings, make)) + "\n"
    with os.fdopen(fd, "w") as out:
        out.write(line)
    return 0


def _in_database(settings: DatabaseOnlySettings, work: Callable[[AsyncSession], Awaitable[T]]) -> T:
    """One transaction in the migrated database. A `Problem` becomes a ValueError with its sentence."""

    async def run() -> T:
        engine = connect(settings.sqlalchemy_database_uri.get_secret_value(), application="kirby-cli", pool_size=2)
        try:
            await prepare(engine)
            async with AsyncSession(engine, expire_on_commit=False) as db, db.begin():
                return await work(db)
        except Problem as problem:
            raise ValueError(problem.detail) from problem
        finally:
            await engine.dispose()

    return asyncio.run(run())
