import json
import os
import socket
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from kirby.dev.folders import private_folder
from kirby.dev.home import Home, HomeInUse, HomeUnusable


@pytest.fixture
def home() -> Iterator[Home]:
    # pytest's own folders can't be entered by the database's account when the tests run as root.
    with tempfile.TemporaryDirectory(prefix="kirby-home-") as folder:
        made = Home(Path(folder))
        made.make()
        yield made


def test_only_the_home_itself_can_be_passed_through(home: Home) -> None:
    assert stat.S_IMODE(home.path.stat().st_mode) == 0o711
    assert stat.S_IMODE(home.logs.stat().st_mode) == 0o700
    assert stat.S_IMODE(private_folder(home.path / "postgres").stat().st_mode) == 0o700


def test_one_process_at_a_time(home: Home) -> None:
    assert home.holder() is None
    with home.held():
        assert home.holder() == os.getpid()
        with pytest.raises(HomeInUse, match=r"already runs in .* `kirby dev stop` ends it"), home.held():
            pass
    assert home.holder() is None


def test_secrets_stay_and_nobody_else_reads_them(home: Home) -> None:
    first = home.secret("postgres")
    assert home.secret("postgres") == first != home.secret("index")
    home.write_state({"token": "t"})
    key = home.vault_key_file()
    assert home.vault_key_file().read_text() == key.read_text()
    for file in (home.path / "secrets.json", key, home.state_file):
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_port_stays_unless_a_stranger_has_taken_it(home: Home) -> None:
    port = home.port("kafka")
    assert home.port("kafka") == port != home.port("redis")
    with socket.create_server(("127.0.0.1", port)):
        assert home.port("kafka") != port


def test_a_newer_home_is_refused(home: Home) -> None:
    home.state_file.write_text(json.dumps({"version": 99}))
    with pytest.raises(HomeUnusable, match="newer Kirby"):
        home.make()


def test_a_folder_with_something_else_in_it_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(HomeUnusable, match="holds something else"):
        Home(tmp_path).make()
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]
