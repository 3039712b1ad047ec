"""Locks and venvs with the real uv and a real index."""

import os
import tarfile
from collections.abc import Callable
from datetime import timedelta
from io import BytesIO
from pathlib import Path
from uuid import uuid4

import pytest
from kirby.dev.index import IndexPart
from kirby_common.worker_protocol import LockResult, LockWork
from kirby_worker.adapters.uv import Index, Uv
from kirby_worker.adapters.venvs import Venvs, venv_key
from kirby_worker.domain.package_errors import PackageError
from kirby_worker.resolving import resolve

from tests.integration.worker.wheels import wheel


class Workshop:
    """uv and the venvs of a worker, without the worker."""

    def __init__(self, folder: Path, index: Index) -> None:
        self.folder = folder / "venvs"
        self.folder.mkdir()
        environ = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        self.uv = Uv(index, cache=folder / "cache", environ=environ)
        self.venvs = Venvs(self.folder, uv=self.uv, readable_by_all=False, on_gone=lambda _: None)

    async def resolve(self, name: str, version: str = "1.0") -> LockResult:
        work = LockWork(lock_id=uuid4(), package_name=name, package_version=version, lease_ms=60_000)
        return await resolve(work, uv=self.uv, venvs=self.venvs)

    async def error(self, name: str, version: str = "1.0") -> str:
        result = await self.resolve(name, version)
        assert result.text is None
        assert not list(self.folder.iterdir()), "nothing half-built is left"
        return str(result.error)


@pytest.fixture
def workshop(tmp_path: Path, index_part: IndexPart) -> Workshop:
    return Workshop(tmp_path, Index(private_url=index_part.url, public_url="none"))


async def test_a_version_becomes_a_lock_with_hashes_and_a_venv(
    workshop: Workshop, index_part: IndexPart, unique_name: Callable[[str], str]
) -> None:
    base, app = unique_name("base"), unique_name("app")
    wheel(index_part.packages, base, {"base_lib.py": "X = 1"}, version="2.1")
    wheel(index_part.packages, app, {"app_main.py": "print(1)"}, requires=[f"{base}>=2"], scripts={app: "app_main:x"})
    result = await workshop.resolve(app)
    assert result.text is not None
    assert f"{app}==1.0" in result.text
    assert f"{base}==2.1" in result.text
    assert result.text.count("--hash=sha256:") == 2
    assert result.requires_python == ">=3.8"
    venv = await workshop.venvs.provide(result.text, package=app)
    assert venv.path.name == venv_key(result.text)
    assert (venv.site / "base_lib.py").exists()
    assert (venv.path / "bin" / app).exists()


async def test_a_venv_is_built_once_and_linked_from_the_cache(
    workshop: Workshop, index_part: IndexPart, unique_name: Callable[[str], str]
) -> None:
    name, other = unique_name("once"), unique_name("other")
    wheel(index_part.packages, name, {"once_main.py": "print(1)"})
    wheel(index_part.packages, other, {"other_main.py": "print(2)"}, requires=[name])
    text = (await workshop.resolve(name)).text
    assert text is not None
    first = await workshop.venvs.provide(text, package=name)
    made = (first.path / "pyvenv.cfg").stat().st_ino
    again = await workshop.venvs.provide(text, package=name)
    assert again == first
    assert (again.path / "pyvenv.cfg").stat().st_ino == made
    second = await workshop.resolve(other)
    assert second.text is not None
    beside = await workshop.venvs.provide(second.text, package=other)
    assert beside != first
    assert os.path.samefile(beside.site / "once_main.py", first.site / "once_main.py"), "hard links, not copies"


async def test_an_unused_venv_is_collected_and_one_in_use_is_not(
    workshop: Workshop, index_part: IndexPart, unique_name: Callable[[str], str]
) -> None:
    name = unique_name("old")
    wheel(index_part.packages, name, {"old_main.py": "print(1)"})
    text = (await workshop.resolve(name)).text
    assert text is not None
    venv = await workshop.venvs.provide(text, package=name)
    assert await workshop.venvs.collect(unused_for=timedelta(hours=1), in_use=[]) == 0
    assert await workshop.venvs.collect(unused_for=timedelta(seconds=-1), in_use=[venv.path]) == 0
    assert await workshop.venvs.collect(unused_for=timedelta(seconds=-1), in_use=[]) == 1
    assert not venv.path.exists()
    assert (await workshop.venvs.provide(text, package=name)).path.exists()


async def test_what_can_not_be_had_is_one_sentence(
    workshop: Workshop, index_part: IndexPart, unique_name: Callable[[str], str]
) -> None:
    name, needy, newer = unique_name("known"), unique_name("needy"), unique_name("newer")
    broken, twisted = unique_name("broken"), unique_name("twisted")
    wheel(index_part.packages, name, {"known_main.py": "print(1)"})
    wheel(index_part.packages, needy, {"needy_main.py": ""}, requires=["kirby-no-such-thing"])
    wheel(index_part.packages, newer, {"newer_main.py": ""}, requires_python=">=3.99")
    wheel(index_part.packages, twisted, {f"{twisted.replace('-', '_')}.py": "print('a'\nx = = 1\n"})
    sdist(index_part.packages, broken, "raise RuntimeError('boom at build')")
    assert await workshop.error("kirby-unknown") == "there is no package named kirby-unknown in the package index"
    assert await workshop.error(name, "9.9") == f"there is no version 9.9 of {name} in the package index"
    needs = f"{needy}==1.0 needs kirby-no-such-thing, which is not in the package index"
    assert await workshop.error(needy) == needs
    assert (await workshop.error(newer)).startswith(f"{newer} 1.0 needs Python >=3.99, this worker has 3.")
    build = await workshop.resolve(broken)
    assert build.text is None
    assert build.error is not None
    assert build.error.startswith(f"{broken}==1.0 failed to build: ")
    syntax = await workshop.resolve(twisted)
    assert str(syntax.error).startswith(f"{twisted}: {twisted.replace('-', '_')}.py, line 1: ")


async def test_an_index_that_does_not_answer_is_transient(tmp_path: Path) -> None:
    workshop = Workshop(tmp_path, Index(private_url="http://127.0.0.1:9/simple/", public_url="none"))
    result = await workshop.resolve("anything")
    assert (result.text, result.transient) == (None, True)
    assert str(result.error).startswith("the package index did not answer while anything==1.0 was looked for: ")


async def test_a_changed_file_is_not_installed(
    workshop: Workshop, index_part: IndexPart, unique_name: Callable[[str], str]
) -> None:
    name = unique_name("swap")
    wheel(index_part.packages, name, {"swap_main.py": "print(1)"})
    text = (await workshop.resolve(name)).text
    assert text is not None
    tampered = text.replace("--hash=sha256:", "--hash=sha256:0000", 1)[: text.index("--hash=sha256:") + 14 + 64] + "\n"
    with pytest.raises(PackageError, match="is not the file it was"):
        await workshop.venvs.provide(tampered, package=f"{name}==1.0")


async def test_a_name_in_the_private_index_is_never_looked_up_in_the_public_one(
    tmp_path: Path, index_part: IndexPart, unique_name: Callable[[str], str]
) -> None:
    """The folder index that stands for the public one has a newer version of the same name."""
    name = unique_name("ours")
    wheel(index_part.packages, name, {"ours_main.py": "print('ours')"})
    public = tmp_path / "public"
    (public / name).mkdir(parents=True)
    file = wheel(public / name, name, {"ours_main.py": "print('theirs')"}, version="1.1")
    (public / name / "index.html").write_text(f'<a href="{file.name}">{file.name}</a>')
    workshop = Workshop(tmp_path, Index(private_url=index_part.url, public_url=public.as_uri()))
    assert await workshop.error(name, "1.1") == f"there is no version 1.1 of {name} in the package index"


def test_credentials_never_become_an_argument() -> None:
    index = Index.of(
        private_url="https://bob:pa%40ss@index.example/simple/", username=None, password=None, public_url=None
    )
    assert index.arguments() == ["--index-strategy", "first-index", "--index", "kirby=https://index.example/simple/"]
    assert index.environment() == {"UV_INDEX_KIRBY_USERNAME": "bob", "UV_INDEX_KIRBY_PASSWORD": "pa@ss"}


def sdist(folder: Path, name: str, setup: str) -> None:
    """A source distribution that needs no build tools from an index: its backend is in the tree."""
    stem = f"{name.replace('-', '_')}-1.0"
    backend = f"def build_wheel(*a, **k):\n    {setup}\ndef get_requires_for_build_wheel(*a): return []\n"
    files = {
        "pyproject.toml": f'[build-system]\nrequires = []\nbuild-backend = "own"\nbackend-path = ["."]\n'
        f'[project]\nname = "{name}"\nversion = "1.0"\n',
        "own.py": backend,
        "PKG-INFO": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
    }
    with tarfile.open(folder / f"{stem}.tar.gz", "w:gz") as archive:
        for path, text in files.items():
            member = tarfile.TarInfo(f"{stem}/{path}")
            member.size = len(text.encode())
            archive.addfile(member, BytesIO(text.encode()))
