"""The generated reference pages are what the code says now, and the pages' links lead somewhere."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[3]
PAGES = [
    ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "examples/README.md", "deploy/README.md")
]
PAGES += sorted((ROOT / "docs").rglob("*.md"))


def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["settings.md", "topics.md", "database.md", "commands.md"])
def test_a_generated_page_is_current(name: str) -> None:
    made = generator()
    same = (made.REFERENCE / name).read_text() == made.HEAD + made.PAGES[name]()
    assert same, f"docs/reference/{name} is old: python docs/generate.py makes it anew"


def test_every_setting_says_what_it_does() -> None:
    rows = [line.split("|") for line in generator().settings_page().splitlines() if line.startswith("| `")]
    assert [row[1].strip() for row in rows if not row[4].strip()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
    targets = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text)
    absent = [t for t in targets if not t.startswith(("http://", "https://")) and not (page.parent / t).exists()]
    assert absent == []


def test_the_glossary_is_in_order() -> None:
    words = re.findall(r"^\| \*\*(.+?)\*\*", (ROOT / "docs" / "glossary.md").read_text(), flags=re.MULTILINE)
    assert len(words) > 60
    assert words == sorted(words, key=str.lower)
