"""Messages a second through one process: Kirby in each of its ways, a bare loop as the limit, and others beside it.

4 partitions, JSON of 200 bytes over 1,000 keys: read, parse, add a field, write. From the first message in hand until
all are delivered and committed; what takes part alternates, so that what else the machine does meets all alike.
"""

import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from bench.broker import fill, folder, messages, of_suite, readings, topic
from bench.figure import Figure, p50
from bench.figures.peers import PEERS, their_environment
from bench.suite import ROOT, Suite, clean_environment

OURS = ROOT / "bench" / "scripts"
COUNT = 300_000
SLOW = 15
"""Faust gets the fifteenth part."""
TIMES = 3
AT_MOST_S = 150


@dataclass(frozen=True)
class Way:
    """A script in one of its modes."""

    name: str
    script: Path
    mode: str
    theirs: bool = False
    part: int = 1


@dataclass
class Taken:
    """What came of a way: messages a second, and megabytes, of each time."""

    rates: list[float] = field(default_factory=list)
    memory_mb: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        return p50(self.rates)


BARE = Way("bare confluent-kafka loop", PEERS / "bare_loop.py", "pipe")
HEADERS = Way("bare loop that carries headers", PEERS / "bare_loop.py", "headers")
ITERATED, PROCESSED, BATCHES, EXACTLY, EXACTLY_BATCHES = (
    Way(name, OURS / "pipe.py", mode)
    for name, mode in (
        ("Kirby, iteration", "iterate"),
        ("Kirby, process", "process"),
        ("Kirby, process_batches", "batches"),
        ("Kirby, exactly once", "exactly-once"),
        ("Kirby, exactly once in batches", "exactly-once batches"),
    )
)
QUIX = Way("Quix Streams", PEERS / "quix_loop.py", "pipe", theirs=True)
QUIX_EXACTLY = Way("Quix Streams, exactly once", PEERS / "quix_loop.py", "exactly-once", theirs=True)
QUIX_KEYED = Way("Quix Streams, keyed counts with changelog", PEERS / "quix_loop.py", "keyed", theirs=True)
FAUST = Way("Faust", PEERS / "faust_loop.py", "pipe", theirs=True, part=SLOW)
FAUST_KEYED = Way("Faust, keyed counts with changelog", PEERS / "faust_loop.py", "keyed", theirs=True, part=SLOW)
OWNED = Way("Kirby, keyed counts in an owned State, exactly once", OURS / "pipe.py", "keyed")

AIMS: Sequence[tuple[Way, Way, float | None]] = (
    (ITERATED, BARE, 65),
    (PROCESSED, BARE, 65),
    (BATCHES, BARE, 80),
    (HEADERS, BARE, None),
    (PROCESSED, HEADERS, None),
    (BATCHES, HEADERS, None),
    (EXACTLY, PROCESSED, 50),
    (EXACTLY_BATCHES, BATCHES, 50),
)


def measure(suite: Suite) -> list[Figure]:
    taken = _alternating(suite, (BARE, HEADERS, ITERATED, PROCESSED, BATCHES, EXACTLY, EXACTLY_BATCHES))
    figures = [_rate(way, found) for way, found in taken.items()]
    for way, base, aim in AIMS:
        share = 100 * taken[way].rate / taken[base].rate
        figures.append(Figure(f"{way.name}, of {base.name}", share, "%", f"≥ {aim:g}" if aim else "", TIMES))
    memory = max(taken[ITERATED].memory_mb)
    return [*figures, Figure("Kirby, iteration: memory at most", memory, "MB", samples=TIMES)]


def quix(suite: Suite) -> list[Figure]:
    return [_rate(way, found) for way, found in _alternating(suite, (QUIX, QUIX_EXACTLY), times=2).items()]


def faust(suite: Suite) -> list[Figure]:
    return [_rate(way, found) for way, found in _alternating(suite, (FAUST, FAUST_KEYED), times=1).items()]


def keyed(suite: Suite) -> list[Figure]:
    taken = _alternating(suite, (OWNED, QUIX_KEYED))
    ratio = taken[OWNED].rate / taken[QUIX_KEYED].rate
    figures = [_rate(way, found) for way, found in taken.items()]
    return [*figures, Figure(f"{OWNED.name}, of {QUIX_KEYED.name}", ratio, "×", "≥ 1.5", TIMES)]


def _rate(way: Way, found: Taken) -> Figure:
    count = messages(COUNT) // way.part
    return Figure(way.name, found.rate, "messages/s", samples=len(found.rates), note=f"{count:,} messages of 200 bytes")


def _alternating(suite: Suite, ways: Sequence[Way], *, times: int = TIMES) -> Mapping[Way, Taken]:
    servers = of_suite(suite)
    taken = {way: Taken() for way in ways}
    with folder() as theirs, topic(servers) as source:
        python = their_environment(theirs) if any(way.theirs for way in ways) else Path(sys.executable)
        fill(servers, source, readings(messages(COUNT)))
        for _ in range(times):
            for way, found in taken.items():
                _take(way, found, servers=servers, source=source, python=python)
    return taken


def _take(way: Way, found: Taken, *, servers: str, source: str, python: Path) -> None:
    count = messages(COUNT) // way.part
    with topic(servers) as to:
        asked = {"BENCH_MODE": way.mode, "BENCH_COUNT": str(count), "BENCH_FROM": source, "BENCH_TO": to}
        said = run(way.script, asked, servers=servers, python=python if way.theirs else Path(sys.executable))
    found.rates.append(count / said["seconds"])
    if "memory_mb" in said:
        found.memory_mb.append(said["memory_mb"])


def run(
    script: Path, asked: Mapping[str, str], *, servers: str, python: Path = Path(sys.executable)
) -> dict[str, float]:
    """What the script prints at its end, as JSON. Raises RuntimeError with its last words when it fails."""
    with folder() as own:
        env = clean_environment() | {"KAFKA_BOOTSTRAP_SERVERS": servers, "BENCH_FOLDER": str(own), **asked}
        env["KIRBY_STATE_DIR"] = str(own)
        command = [str(python), str(script)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=AT_MOST_S, env=env, cwd=own)
    said = next((line for line in done.stdout.splitlines() if line.startswith("{")), None)
    if done.returncode != 0 or said is None:
        what = f"{script.stem} {asked.get('BENCH_MODE', '')}"
        raise RuntimeError(f"{what}: {(done.stderr or done.stdout).strip()[-200:]}")
    found: dict[str, float] = json.loads(said)
    return found
