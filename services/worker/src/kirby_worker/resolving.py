"""The work item `a version → its lock`: resolve it, and see that it can be installed and started here."""

import ast

from kirby_common.worker_protocol import LockResult, LockWork

from kirby_worker.adapters.uv import Uv
from kirby_worker.adapters.venvs import Venv, Venvs
from kirby_worker.domain.entry import NoEntry, command_for
from kirby_worker.domain.package_errors import PackageError


async def resolve(work: LockWork, *, uv: Uv, venvs: Venvs) -> LockResult:
    """Never raises for a package that can't be had: that is an answer, too."""
    requirement = f"{work.package_name}=={work.package_version}"
    try:
        text = await uv.resolve(requirement)
        venv = await venvs.provide(text, package=requirement, lock_id=work.lock_id)
        _check_syntax(venv, work.package_name)
        requires = venv.requires_python(work.package_name)
    except PackageError as error:
        return LockResult(lock_id=work.lock_id, error=str(error), transient=error.transient)
    return LockResult(lock_id=work.lock_id, text=text, requires_python=requires)


def _check_syntax(venv: Venv, package: str) -> None:
    """The module that a run of the package begins with must at least be Python."""
    installed = venv.installed(package)
    try:
        command = command_for(installed, entry=None)
    except NoEntry:
        return  # The script may name an entry; a run without one says so.
    source = installed.source_of(command.module or "") or installed.source_of(f"{command.module}.__main__")
    if source is None:
        return
    try:
        ast.parse((venv.site / source).read_bytes(), filename=source)
    except SyntaxError as error:
        raise PackageError(f"{package}: {source}, line {error.lineno}: {error.msg}") from error
