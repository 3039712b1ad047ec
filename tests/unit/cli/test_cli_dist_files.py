"""What can be published: wheels, sdists, projects, script files."""

import io
import zipfile
from pathlib import Path

import pytest
from kirby.cli.dist_files import _last_words, build_project, built, read_dist
from kirby.cli.errors import CommandError, UsageError


def wheel(path: Path, **modules: str) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in modules.items():
            archive.writestr(f"{name.replace('__', '/')}.py", text)
    return path


def test_a_wheels_name_says_its_name_and_version(tmp_path: Path) -> None:
    dist = read_dist(wheel(tmp_path / "Weather_Sensor-1.0.1-py3-none-any.whl", weather="x = 1"))
    assert (dist.name, dist.version) == ("weather-sensor", "1.0.1")
    sdist = tmp_path / "weather_sensor-1.0.1.tar.gz"
    sdist.write_bytes(b"")
    assert (read_dist(sdist).name, read_dist(sdist).version) == ("weather-sensor", "1.0.1")


def test_a_module_that_is_not_python_is_named_with_its_line(tmp_path: Path) -> None:
    path = wheel(tmp_path / "w-1-py3-none-any.whl", w="x = (\n")
    with pytest.raises(UsageError, match=r"w-1-py3-none-any.whl: w.py, line 1"):
        read_dist(path)


def test_templates_are_not_modules(tmp_path: Path) -> None:
    path = tmp_path / "w-1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("w/{{name}}.py", "{{ not python")
    assert read_dist(path).name == "w"


@pytest.mark.parametrize(
    ("name", "told"),
    [("notes.txt", "is neither"), ("w-1-py3-none-any.whl", "is not a wheel"), ("missing.py", "does not exist")],
)
def test_what_is_not_a_distribution_is_told(tmp_path: Path, name: str, told: str) -> None:
    if name != "missing.py":
        (tmp_path / name).write_bytes(b"text")
    with pytest.raises(UsageError, match=told):
        built(tmp_path / name)


def test_a_folder_that_is_no_project_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"neither pyproject\.toml nor setup\.py"):
        built(tmp_path)


def test_a_project_whose_pyproject_is_broken_is_told_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[project\n")
    with pytest.raises(CommandError, match="does not build") as caught:
        build_project(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_script_file_is_built(tmp_path: Path) -> None:
    path = tmp_path / "hello.py"
    path.write_text("print('hello')\n")
    dist = built(path)
    assert dist.name == "hello"
    assert zipfile.ZipFile(io.BytesIO(dist.content)).testzip() is None


@pytest.mark.parametrize(
    ("output", "told"),
    [
        (
            "Building wheel...\nTraceback\nRuntimeError: no compiler\nerror: Failed\n  cause: exit 1\n",
            "RuntimeError: no compiler",
        ),
        (
            "error: Failed to build\n  cause: No solution\n  cause: Because x was not found.\n",
            "Because x was not found.",
        ),
        ("gone wrong\n", "gone wrong"),
        ("", "the builder said nothing"),
    ],
)
def test_the_builders_reason_is_found(output: str, told: str) -> None:
    assert _last_words(output) == told
