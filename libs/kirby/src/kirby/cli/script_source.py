"""What a single script file says about itself: its PEP 723 block, its imports, its syntax."""

import ast
import re
import sys
import tomllib
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kirby.cli.errors import UsageError

_BLOCK = re.compile(r"(?m)^# /// (?P<type>[a-zA-Z0-9-]+)$\s(?P<content>(^#(| .*)$\s)+)^# ///$")
_REQUIREMENT = re.compile(r"\s*([A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?)")


@dataclass(frozen=True)
class ScriptSource:
    """A script that is valid Python. `name` is what `[tool.kirby]` calls it, if anything."""

    filename: str
    content: bytes
    imports: frozenset[str]
    summary: str
    requires_python: str | None
    dependencies: tuple[str, ...]
    name: str | None


def read_script(content: bytes, *, filename: str) -> ScriptSource:
    """Raises UsageError, with the line, for what is not Python or not valid metadata."""
    tree = _parsed(content, filename=filename)
    block = _block(content, filename=filename)
    dependencies = block.get("dependencies", [])
    if not isinstance(dependencies, list) or not all(isinstance(d, str) for d in dependencies):
        raise UsageError(f"{filename}: `dependencies` of its `# /// script` block is not a list of strings")
    for text in dependencies:
        if not _REQUIREMENT.match(text):
            raise UsageError(f"{filename}: the dependency {text!r} is not one; write it like 'requests>=2'")
    imports = _imports(tree)
    if "kirby" in imports and "kirby" not in {distribution_of(d) for d in dependencies}:
        dependencies = [*dependencies, "kirby"]
    documentation = (ast.get_docstring(tree) or "").strip().split("\n")[0]
    named = block.get("tool", {}).get("kirby", {}).get("name")
    requires = block.get("requires-python")
    return ScriptSource(filename, content, imports, documentation, requires, tuple(dependencies), named)


def check_syntax(content: bytes, *, filename: str) -> None:
    """Raises UsageError with file, line and reason when it is not Python."""
    _parsed(content, filename=filename)


def distribution_of(requirement: str) -> str:
    """The normalised name of the distribution that a requirement asks for."""
    found = _REQUIREMENT.match(requirement)
    return re.sub(r"[-_.]+", "-", found[1]).lower() if found else ""


def check_neighbours(script: ScriptSource, folder: Path) -> None:
    """Raises UsageError when the script imports a module that lies beside it: only the one file is deployed."""
    known = sys.stdlib_module_names | {distribution_of(d).replace("-", "_") for d in script.dependencies}
    for name in sorted(script.imports - known):
        if name + ".py" != script.filename and (
            (folder / f"{name}.py").is_file() or (folder / name / "__init__.py").is_file()
        ):
            raise UsageError(
                f"{script.filename} imports {name}, which lies beside it and would not be deployed:"
                " make a project of the folder (a pyproject.toml) and deploy that"
            )


def _parsed(content: bytes, *, filename: str) -> ast.Module:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compile(content, filename, "exec", dont_inherit=True)
            return ast.parse(content, filename)
    except SyntaxError as error:
        text = f": {error.text.strip()}" if error.text else ""
        raise UsageError(f"{filename}, line {error.lineno or 1}: {error.msg}{text}") from error
    except ValueError as error:
        raise UsageError(f"{filename} is not Python: {error}") from error


def _block(content: bytes, *, filename: str) -> dict[str, Any]:
    text = content.decode("utf-8", errors="replace").replace("\r\n", "\n")
    found = [match for match in _BLOCK.finditer(text) if match["type"] == "script"]
    if not found:
        return {}
    if len(found) > 1:
        raise UsageError(f"{filename} has {len(found)} `# /// script` blocks: keep one")
    lines = [line[2:] if line.startswith("# ") else line[1:] for line in found[0]["content"].splitlines()]
    try:
        return tomllib.loads("\n".join(lines))
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{filename}: its `# /// script` block is not valid TOML: {error}") from error


def _imports(tree: ast.Module) -> frozenset[str]:
    """The top-level modules that are imported anywhere in the file."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return frozenset(found)
