"""Which command starts a package."""

import pytest
from kirby_worker.domain.entry import Command, Installed, NoEntry, command_for


def installed(*files: str, name: str = "my-tool", **scripts: str) -> Installed:
    return Installed(name, {k.replace("_", "-"): v for k, v in scripts.items()}, frozenset(files))


def test_the_console_script_named_like_the_distribution() -> None:
    command = command_for(installed("my_tool/__init__.py", my_tool="my_tool.app:main", other="x:y"), entry=None)
    assert command == Command((), script="my-tool", module="my_tool.app")


def test_else_its_module() -> None:
    assert command_for(installed("my_tool.py", other="x:y"), entry=None).arguments == ("-m", "my_tool")
    package = installed("my_tool/__init__.py", "my_tool/__main__.py")
    assert command_for(package, entry=None).arguments == ("-m", "my_tool")
    only = installed("weather.py", "my_tool-1.0.dist-info/METADATA")
    assert command_for(only, entry=None).arguments == ("-m", "weather")


def test_an_entry_goes_before_all() -> None:
    package = installed("my_tool.py", my_tool="my_tool:main", report="my_tool:report")
    assert command_for(package, entry="report").script == "report"
    assert command_for(package, entry="my_tool.jobs").arguments == ("-m", "my_tool.jobs")
    flag, code = command_for(package, entry="my_tool:jobs.nightly").arguments
    assert flag == "-c"
    compile(code, "entry", "exec")
    assert "'jobs.nightly'.split('.')" in code


@pytest.mark.parametrize("entry", [":main", "my_tool:", "../x", "-c"])
def test_an_entry_that_can_not_be_is_refused(entry: str) -> None:
    with pytest.raises(NoEntry, match="the entry"):
        command_for(installed("my_tool.py"), entry=entry)


def test_a_package_with_nothing_to_start_says_what_was_looked_for() -> None:
    with pytest.raises(NoEntry) as caught:
        command_for(installed("my_tool/__init__.py"), entry=None)
    assert str(caught.value) == (
        "my-tool has nothing to start: no console script named my-tool and no module my_tool to run with "
        "`python -m`; name one as the script's entry"
    )
