"""Kafka's published jars, fetched once and shared by all homes."""

import contextlib
import io
import logging
import os
import shutil
from pathlib import Path

from kirby.dev.folders import locked
from kirby.dev.parts import PartFailed, base_environment

VERSION = "4.3.1"
_BROKER = f"org.apache.kafka:kafka_2.13:{VERSION}"
_LOGGING = "org.apache.logging.log4j:log4j-slf4j-impl:2.25.4"


def cache_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "kirby" / f"kafka-{VERSION}"


def classpath(folder: Path) -> list[Path]:
    """The jars in a fixed order: the AOT cache is only good for the class path it was made with."""
    return sorted((folder / "jars").glob("*.jar"))


def present(folder: Path) -> bool:
    return (folder / "jars").is_dir()


def fetch(folder: Path, *, java_home: Path) -> None:
    """Downloads the jars unless they are there. Others who want the same wait for the first."""
    if present(folder):
        return
    with locked(folder.with_name(f"{folder.name}.lock")):
        if present(folder):
            return
        unfinished = folder / "jars.new"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        try:
            for jar in _resolve(folder / "jgo", java_home=java_home):
                shutil.copyfile(jar, unfinished / jar.name)
        except Exception as error:
            raise PartFailed(f"kafka: its jars can't be downloaded ({error}); check the network") from error
        shutil.rmtree(folder / "jgo", ignore_errors=True)
        unfinished.rename(folder / "jars")


def _resolve(folder: Path, *, java_home: Path) -> list[Path]:
    os.environ |= {"JAVA_HOME": str(java_home)} | {
        name: value for name, value in base_environment().items() if name == "REQUESTS_CA_BUNDLE"
    }
    logging.getLogger("jgo").setLevel(logging.ERROR)
    import jgo

    # It says on stderr that the runtime has no `jar` tool, which only Java modules would need.
    with contextlib.redirect_stderr(io.StringIO()):
        # Apart: resolved together, what one of them says about versions would bind the other.
        broker = _jars(jgo.build(_BROKER, cache_dir=folder).path)
        logs = _jars(jgo.build(_LOGGING, cache_dir=folder).path)
    if f"kafka_2.13-{VERSION}.jar" not in broker or f"kafka-clients-{VERSION}.jar" not in broker:
        raise PartFailed("kafka: the download is incomplete; start again")
    return [*broker.values(), *(jar for name, jar in logs.items() if name.startswith("log4j-slf4j-impl"))]


def _jars(environment: Path) -> dict[str, Path]:
    return {jar.name: jar for jar in environment.glob("*/*.jar")}
