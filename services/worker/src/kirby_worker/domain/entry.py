"""Which command starts a package: the script's entry, else its console script, else its module."""

import re
from collections.abc import Mapping
from dataclasses import dataclass

_CALL = (
    "import sys, functools, importlib; sys.argv[0] = {name!r}; "
    "target = functools.reduce(getattr, {attributes!r}.split('.'), importlib.import_module({module!r})); "
    "sys.exit(target())"
)


class NoEntry(ValueError):
    """There is nothing to start; the text says what was looked for."""


@dataclass(frozen=True)
class Installed:
    """What of a distribution matters to start it: console scripts (name → module:function) and its files."""

    name: str
    console_scripts: Mapping[str, str]
    files: frozenset[str]

    def has_module(self, module: str) -> bool:
        """Whether `python -m module` finds something to run."""
        path = module.replace(".", "/")
        return f"{path}.py" in self.files or f"{path}/__main__.py" in self.files

    def source_of(self, module: str) -> str | None:
        """The file that holds the module, relative to site-packages."""
        path = module.replace(".", "/")
        known = (f"{path}.py", f"{path}/__init__.py")
        return next((file for file in known if file in self.files), None)


@dataclass(frozen=True)
class Command:
    """Arguments for the venv's python; `script` names a file of the venv's bin folder to put first."""

    arguments: tuple[str, ...]
    script: str | None = None
    module: str | None = None


def command_for(installed: Installed, *, entry: str | None) -> Command:
    """Raises `NoEntry` with a sentence for the user."""
    if entry is None:
        return _default(installed)
    if entry in installed.console_scripts:
        return _console(installed, entry)
    module, colon, attributes = entry.partition(":")
    if colon:
        if not module or not attributes:
            raise NoEntry(f"the entry {entry!r} is not of the form module:function")
        code = _CALL.format(name=entry, attributes=attributes, module=module)
        return Command(("-c", code), module=module)
    if "/" in module or module.startswith("-"):
        raise NoEntry(f"the entry {entry!r} is neither a module nor a console script")
    return Command(("-m", module), module=module)


def _default(installed: Installed) -> Command:
    wanted = _normal(installed.name)
    for name in installed.console_scripts:
        if _normal(name) == wanted:
            return _console(installed, name)
    module = _import_name(installed)
    if module is not None and installed.has_module(module):
        return Command(("-m", module), module=module)
    raise NoEntry(
        f"{installed.name} has nothing to start: no console script named {installed.name} and no module "
        f"{module or wanted.replace('-', '_')} to run with `python -m`; name one as the script's entry"
    )


def _console(installed: Installed, name: str) -> Command:
    module = installed.console_scripts[name].partition(":")[0].strip()
    return Command((), script=name, module=module)


def _import_name(installed: Installed) -> str | None:
    """The module named like the distribution, else its only one."""
    tops = {file.partition("/")[0].removesuffix(".py") for file in installed.files if file.endswith(".py")}
    named = [top for top in tops if _normal(top) == _normal(installed.name)]
    if named:
        return named[0]
    return next(iter(tops)) if len(tops) == 1 else None


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
