"""Kirby in pytest: folders with a case.toml are tests, and two fixtures are there.

Loaded by pytest itself wherever kirby is installed, so nothing of Kirby is imported before a test needs it.
"""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from kirby.testing import MemoryKafka, Outcome
    from kirby.transport import Transport

_CASE_FILE = "case.toml"


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--kirby-kafka` and `--kirby-update`."""
    group = parser.getgroup("kirby", "tests of Kirby scripts")
    group.addoption(
        "--kirby-kafka",
        action="store_true",
        help="Run cases on KAFKA_BOOTSTRAP_SERVERS, or the broker of a running `kirby dev`.",
    )
    group.addoption("--kirby-update", action="store_true", help="Write what came as what is expected.")


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> "CaseFile | None":
    """A folder with a case.toml is one test."""
    return CaseFile.from_parent(parent, path=file_path) if file_path.name == _CASE_FILE else None


class CaseFailed(Exception):
    """What a case found wrong."""


class CaseFile(pytest.File):
    """The case.toml of a folder."""

    def collect(self) -> "Iterator[CaseItem]":
        """The folder's one test."""
        yield CaseItem.from_parent(self, name=self.path.parent.name)


class CaseItem(pytest.Item):
    """A case: runs its script with its folders, and compares."""

    def runtest(self) -> None:
        """Raises CaseFailed."""
        from kirby.testing import updating
        from kirby.testing.case import read_case
        from kirby.testing.checking import check
        from kirby.testing.comparing import problems

        case = read_case(self.path.parent)
        checked = check(case, cluster=_cluster(self.config))
        found, outcome = checked.problems, checked.outcome
        if outcome is not None:
            self.add_report_section("call", "script", outcome.output)
            if self.config.getoption("--kirby-update") and found and outcome.ended_as(case.expected.exit_code):
                updating.update(case, outcome)
                found = problems(read_case(self.path.parent), outcome)
        if found:
            raise CaseFailed("\n".join(found))

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """What is wrong, without the plugin's own frames."""
        from kirby.errors import KirbyError

        if isinstance(excinfo.value, CaseFailed | KirbyError):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, None, str]:
        """Where it lies."""
        return self.path, None, f"case {self.path.parent.name}"


@pytest.fixture
def run_script(request: pytest.FixtureRequest) -> "Callable[..., Outcome]":
    """`kirby.testing.run_script`, in the folder of the tests, and on a broker with `--kirby-kafka`."""
    from kirby.testing import run_script as run

    return partial(run, root=request.config.rootpath, cluster=_cluster(request.config))


@pytest.fixture
def memory_kafka() -> "Iterator[MemoryKafka]":
    """A cluster in memory, to which every Topic and State goes while the test lasts."""
    from kirby.testing import MemoryKafka

    with MemoryKafka() as kafka:
        yield kafka


def _cluster(config: pytest.Config) -> "Transport | None":
    if not config.getoption("--kirby-kafka"):
        return None
    from kirby.cli.suite import default_home
    from kirby.testing.broker import find_broker

    return find_broker(default_home())
