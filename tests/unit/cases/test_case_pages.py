"""The tutorial and the how-to about cases, as a reader types them; and the example that the tutorial ends with."""

import os
import sys
from pathlib import Path

import pytest

from tests.e2e.documents import File, follow, steps

ROOT = Path(__file__).parents[3]
TUTORIAL = ROOT / "docs/tutorial/tested-scripts.md"


@pytest.mark.parametrize("page", ["docs/tutorial/tested-scripts.md", "docs/howto/test-scripts.md"])
def test_a_page_works_as_typed(page: str, tmp_path: Path) -> None:
    env = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        # The plugins of this repository are not a reader's.
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "PYTEST_ADDOPTS": "-p kirby.pytest_plugin -p no:cacheprovider",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    assert follow(ROOT / page, folder=tmp_path, env=env, timeout_s=300) > 2


def test_the_example_is_what_the_tutorial_makes() -> None:
    files = [step for step in steps(TUTORIAL.read_text()) if isinstance(step, File)]
    assert len(files) == 9
    for file in files:
        assert (ROOT / "examples/weather" / file.name).read_text() == file.text
