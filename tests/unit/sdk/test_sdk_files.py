"""kirby.File: on the disk and in an object store; which files of a folder are new."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kirby import File, KirbyError
from kirby.files import FileAbsent, LocalStore, ObjectStore, Seen, Stat, Store, StoreUnavailable, stored_in


@pytest.fixture(params=["local", "memory"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> File:
    if request.param == "local":
        return File(f"{tmp_path}/")
    made = File("some/folder/")
    made._store = ObjectStore("memory:///")
    return made


def test_files_are_written_read_listed_and_deleted(folder: File) -> None:
    first = folder._below(folder._path + "a.json")
    assert (first.name, first.exists(), first.stat()) == ("a.json", False, None)
    with pytest.raises(FileAbsent, match=r"no file .*a\.json"):
        first.read()
    first.write_json({"n": 1})
    first.write("[2]")
    folder._below(folder._path + "deep/b.csv").write(b"x")
    assert (first.read_json(), first.read_text()) == ([2], "[2]")
    assert [f.name for f in folder.files()] == ["a.json", "b.csv"]
    assert [f.name for f in folder.files("*.csv")] == ["b.csv"]
    assert [f.uri for f in folder.files("*.json")] == [first.uri]
    stat = first.stat()
    assert stat is not None
    assert stat.size == 3
    first.delete()
    first.delete()
    assert [f.name for f in folder.files()] == ["b.csv"]


def test_new_files_are_given_once_and_again_when_they_change(folder: File) -> None:
    first = folder._below(folder._path + "a")
    first.write("1")
    found = folder.watch(every=0.01, timeout=5)
    assert next(found).read() == b"1"
    first.write("22")
    assert next(found).read() == b"22"
    assert list(folder.watch("none*", every=0.01, timeout=0)) == []


@given(st.lists(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 2)), max_size=3), max_size=12))
def test_a_file_is_given_once_it_has_rested_and_only_then(looks: list[list[tuple[str, int]]]) -> None:
    from datetime import UTC, datetime

    seen, before, given_as = Seen(), dict[str, int](), dict[str, int]()
    for look in looks:
        now = dict(look)
        at = datetime(2026, 1, 1, tzinfo=UTC)
        given_now = {s.path: int(s.mark) for s in seen.look([Stat(p, 1, at, str(m)) for p, m in now.items()])}
        for path, mark in now.items():
            assert (path in given_now) == (before.get(path) == mark and given_as.get(path) != mark)
        given_as = {p: m for p, m in (given_as | given_now).items() if p in now}
        before = now


def test_what_the_disk_refuses_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreUnavailable, match="did not do it"):
        File(tmp_path / "file" / "below").write("x")
    with pytest.raises(KirbyError, match="names no bucket"):
        File("s3:///key")


def test_no_part_of_a_file_is_ever_seen_and_its_mode_is_as_usual(tmp_path: Path) -> None:
    target = File(tmp_path / "new" / "a")
    target.write("x")
    plain = tmp_path / "plain"
    plain.write_text("x")
    assert os.stat(target.uri).st_mode == plain.stat().st_mode
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["a"]


def test_tests_may_put_another_store_below() -> None:
    class Shelf(LocalStore):
        def get(self, path: str) -> bytes:
            return path.encode()

    shelf: Store = Shelf()
    with stored_in(shelf):
        assert File("s3://bucket/key").read() == b"s3://bucket/key"
