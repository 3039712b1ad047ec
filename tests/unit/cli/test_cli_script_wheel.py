"""A wheel from one script file."""

import io
import subprocess
import sys
import zipfile
from email import message_from_bytes
from pathlib import Path

import pytest
from kirby.cli.errors import UsageError
from kirby.cli.script_source import check_neighbours, read_script
from kirby.cli.script_wheel import BuiltWheel, wheel_of_script

HELLO = b'''# /// script
# requires-python = ">=3.11"
# dependencies = ["requests>=2,<3", "pandas; python_version >= '3.8'"]
# ///
"""Says hello."""
import requests

if __name__ == "__main__":
    print("hello")
'''


def metadata(wheel: BuiltWheel) -> dict[str, list[str]]:
    with zipfile.ZipFile(io.BytesIO(wheel.content)) as archive:
        name = next(n for n in archive.namelist() if n.endswith("METADATA"))
        message = message_from_bytes(archive.read(name))
    return {key: message.get_all(key) or [] for key in set(message.keys())}


def test_the_block_becomes_metadata() -> None:
    told = metadata(wheel_of_script(HELLO, filename="hello.py"))
    assert told["Name"] == ["hello"]
    assert told["Summary"] == ["Says hello."]
    assert told["Requires-Python"] == [">=3.11"]
    assert told["Requires-Dist"] == ["requests>=2,<3", "pandas; python_version >= '3.8'"]


def test_the_same_content_gives_the_same_version_and_bytes() -> None:
    one, two = wheel_of_script(HELLO, filename="hello.py"), wheel_of_script(HELLO, filename="hello.py")
    assert one == two
    assert one.filename == f"hello-{one.version}-py3-none-any.whl"


@pytest.mark.parametrize(
    "changed", [HELLO + b"# more\n", HELLO.replace(b">=3.11", b">=3.12"), HELLO.replace(b"requests>=2,<3", b"requests")]
)
def test_other_content_gives_another_version(changed: bytes) -> None:
    assert wheel_of_script(changed, filename="hello.py").version != wheel_of_script(HELLO, filename="hello.py").version


def test_an_installed_wheel_runs_as_a_module(tmp_path: Path) -> None:
    wheel = wheel_of_script(b'if __name__ == "__main__":\n    print("ran", __file__)\n', filename="My Script.py")
    with zipfile.ZipFile(io.BytesIO(wheel.content)) as archive:
        assert archive.testzip() is None
        archive.extractall(tmp_path)
    done = subprocess.run([sys.executable, "-m", "my_script"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert (wheel.name, done.stdout) == ("my-script", f"ran {tmp_path / 'my_script.py'}\n")


@pytest.mark.parametrize(
    ("filename", "content", "name"),
    [
        ("requests.py", HELLO, "requests-script"),
        ("json.py", b"print(1)", "json-script"),
        ("kirby.py", b"print(1)", "kirby-script"),
        ("pandas.py", HELLO, "pandas-script"),
        ("données_2.py", b"print(1)", "donn-es-2"),
    ],
)
def test_a_name_never_hides_what_the_script_imports(filename: str, content: bytes, name: str) -> None:
    assert wheel_of_script(content, filename=filename).name == name


def test_the_block_may_name_the_package() -> None:
    content = b'# /// script\n# [tool.kirby]\n# name = "weather-sensor"\n# ///\n'
    assert wheel_of_script(content, filename="main.py").name == "weather-sensor"


def test_a_script_that_imports_kirby_depends_on_it() -> None:
    assert metadata(wheel_of_script(b"from kirby import Topic\n", filename="a.py"))["Requires-Dist"] == ["kirby"]
    block = b'# /// script\n# dependencies = ["Kirby>=0.1"]\n# ///\nimport kirby\n'
    assert metadata(wheel_of_script(block, filename="a.py"))["Requires-Dist"] == ["Kirby>=0.1"]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"print(1)\nprint(2\n", "x.py, line 2: '(' was never closed: print(2"),
        (b"a = 1\x00", "x.py"),
        (b"# /// script\n# dependencies = [\n# ///\n", "not valid TOML"),
        (b'# /// script\n# dependencies = "requests"\n# ///\n', "not a list of strings"),
        (b'# /// script\n# dependencies = ["==2"]\n# ///\n', "'==2' is not one"),
        (b"# /// script\n#\n# ///\n\n# /// script\n#\n# ///\n", "2 `# /// script` blocks"),
    ],
)
def test_what_is_wrong_is_one_sentence(content: bytes, told: str) -> None:
    with pytest.raises(UsageError) as caught:
        wheel_of_script(content, filename="x.py")
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_module_beside_the_script_is_not_silently_left_behind(tmp_path: Path) -> None:
    (tmp_path / "shared.py").touch()
    with pytest.raises(UsageError, match="imports shared, which lies beside it"):
        check_neighbours(read_script(b"import shared, os, requests\n", filename="main.py"), tmp_path)
    check_neighbours(read_script(b"import os, requests\n", filename="main.py"), tmp_path)
