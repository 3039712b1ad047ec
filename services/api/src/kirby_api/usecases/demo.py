"""`kirby demo`: a document into an empty database, and the demo's packages on their way to the index."""

import asyncio
import json
import tempfile
from pathlib import Path
from typing import Any
from uuid import UUID

from kirby_common.ledger.schema import prepare

from kirby_api.access.permissions import Caller, grants_of
from kirby_api.changes import Change, change
from kirby_api.demo.wheels import build_wheels, document
from kirby_api.main import open_resources
from kirby_api.packages.distribution import Distribution, read_distribution
from kirby_api.packages.pending import keep
from kirby_api.problems import Problem, Unavailable
from kirby_api.resources import Resources
from kirby_api.settings import ApiSettings
from kirby_api.usecases.document import Document, parse
from kirby_api.usecases.importing import import_document, what_is_there

INSERTED = "demo data inserted in the database"
_CALLER = Caller(UUID(int=0), "kirby demo", "admin", grants_of("admin"))


class CantImport(Exception):
    """One sentence: why nothing was changed."""


def import_demo(settings: ApiSettings, *, file: Path | None) -> tuple[str, list[str]]:
    """The guide's sentence, and the files that wait for the index. Raises `CantImport`; then nothing was changed."""
    parsed = _read(file or document("demo.json"))
    try:
        return INSERTED, asyncio.run(_import(settings, parsed))
    except Problem as problem:
        raise CantImport(problem.detail) from problem


def _read(file: Path) -> Document:
    try:
        value: Any = json.loads(file.read_bytes())
    except OSError as error:
        raise CantImport(f"{file} can't be read: {error.strerror}") from error
    except ValueError as error:
        raise CantImport(f"{file} is not JSON: {error}") from error
    try:
        return parse(value)
    except Problem as problem:
        raise CantImport(f"{file}: {problem.detail}") from problem


async def _import(settings: ApiSettings, parsed: Document) -> list[str]:
    async with open_resources(settings) as parts:
        await prepare(parts.engine)
        await _rehearse(parts, parsed)
        waiting = await _upload(parts, _packages_of(parsed))
        async with change(parts, _CALLER, rules_too=True) as made:
            await _require_empty(made)
            for dist in waiting:
                await keep(made.session, dist)
            await import_document(made, parsed)
    return [dist.filename for dist in waiting]


async def _rehearse(parts: Resources, parsed: Document) -> None:
    """Finds every fault before a package is uploaded."""
    async with parts.sessions() as db:
        rehearsal = Change(db, _CALLER)
        await _require_empty(rehearsal)
        await import_document(rehearsal, parsed)
        await db.rollback()


async def _require_empty(made: Change) -> None:
    there = await what_is_there(made.session)
    if there:
        raise CantImport(f"the database is not empty: it has {', '.join(there)}; nothing was changed")


def _packages_of(parsed: Document) -> list[Distribution]:
    """The demo's packages that the document names."""
    wanted = {(script.package_name, script.package_version) for script in parsed.scripts}
    with tempfile.TemporaryDirectory(prefix="kirby-demo-") as folder:
        made = [read_distribution(wheel.name, wheel.read_bytes()) for wheel in build_wheels(Path(folder))]
    return [dist for dist in made if (dist.normal_name, dist.version) in wanted]


async def _upload(parts: Resources, dists: list[Distribution]) -> list[Distribution]:
    """Uploads what can be uploaded now; returns the rest."""
    for index, dist in enumerate(dists):
        try:
            await parts.index.upload(dist)
        except Unavailable:
            return dists[index:]
    return []
