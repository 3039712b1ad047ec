"""Kirby packs its own wheel; a build tool would need the sources and the network."""

import subprocess
import sys
import zipfile
from importlib.metadata import distribution
from pathlib import Path

import pytest
from kirby.dev import own_wheel


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    folder = tmp_path / "packages"
    folder.mkdir()
    return folder


def test_the_wheel_can_be_installed_and_imported(packages: Path, tmp_path: Path) -> None:
    published = own_wheel.publish(packages)
    target = tmp_path / "installed"
    wheel = next(packages.glob("*.whl"))
    uv = Path(sys.executable).with_name("uv")
    done = subprocess.run(
        [uv, "pip", "install", "--offline", "--no-deps", "--no-cache", "--target", target, wheel],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert (target / "kirby" / "__init__.py").exists()
    assert (target / f"kirby-{published.version}.dist-info" / "METADATA").exists()


def test_the_same_content_is_published_once(packages: Path) -> None:
    first = own_wheel.publish(packages)
    again = own_wheel.publish(packages)
    assert first.is_new
    assert not again.is_new
    assert first.version == again.version
    assert len(list(packages.iterdir())) == 1


def test_the_same_content_gives_the_same_bytes() -> None:
    installed = distribution("kirby")
    files = {"kirby/__init__.py": b"x = 1\n"}
    assert own_wheel.pack(files, installed, version="1.0") == own_wheel.pack(files, installed, version="1.0")


def test_it_says_which_version_it_is(packages: Path) -> None:
    published = own_wheel.publish(packages)
    with zipfile.ZipFile(next(packages.glob("*.whl"))) as archive:
        metadata = archive.read(f"kirby-{published.version}.dist-info/METADATA").decode()
    assert f"\nVersion: {published.version}\n" in metadata
    assert "confluent-kafka" in metadata
