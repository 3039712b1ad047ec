"""Processors killed with -9 under load: at least once, exactly once with an owned State, and with windows.

`make test` kills each of them five times, `make soak KILLS=100` as often as one likes. Kafka, the topics' prefix and
the folder of the States are what the caller's environment says.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random

import kirby

from tests.eventually import eventually_sync
from tests.soak.replica import PATIENCE_S, Replica

KEYS = 97
BETWEEN = 1000
"""How many messages are sent between two kills; each kill finds a part of them undone."""
CHECKED = ("0", "1", "96")
"""Keys whose whole history is looked at; of all others the number of versions."""
_START = datetime(2026, 1, 1, tzinfo=UTC)
_AT_LEAST_ONCE = """
import kirby
with kirby.Topic("in", group="least") as source, kirby.Topic("least") as out:
    source.process(lambda m: out.send(m.value, key=m.key), every=0.05)
"""
_EXACTLY_ONCE = """
import kirby
with kirby.Topic("in", group="exact") as source, kirby.Topic("exact") as out:
    counts = kirby.OwnedState("counts", source, create=True)
    for m in source.exactly_once(every=0.05):
        counts.update(m.key, lambda n: (n or 0) + 1)
        out.send(m.value, key=m.key)
"""
_WINDOWS = """
from datetime import timedelta
import kirby
five = kirby.Tumbling(timedelta(minutes=5), grace=timedelta(minutes=1))
with kirby.Topic("in", group="windows") as source, kirby.Topic("windows") as out:
    for w in source.windows(five, initial=list, fold=lambda all, m: [*all, m.value], every=0.05):
        out.send({"start": w.start.isoformat(), "events": w.value}, key=w.key)
"""
_SCRIPTS = {"least": _AT_LEAST_ONCE, "exact": _EXACTLY_ONCE, "windows": _WINDOWS}


@dataclass(frozen=True)
class Outcome:
    """What came of it. `again`: messages that the at-least-once processor has sent twice, as it may."""

    kills: int
    messages: int
    windows: int
    again: int
    findings: list[str]

    @property
    def last_line(self) -> str:
        told = f"kills={self.kills} messages={self.messages} windows={self.windows} again={self.again}"
        return f"{told} findings={len(self.findings)}"


def soak(*, kills: int, seed: int, say: Callable[[str], None] = lambda line: None) -> Outcome:
    """Kill each processor so many times, and look at what they have written. Raises AssertionError for one that
    comes to nothing within a minute."""
    with kirby.Topic("in", create=True) as source:
        source._make_sure()
        for name in _SCRIPTS:
            kirby.Topic(name, create=True)._make_sure()
        random = Random(seed)
        replicas = [Replica(name, code, source="in", random=random) for name, code in _SCRIPTS.items()]
        for number in range(kills):
            _send(source, range(number * BETWEEN, (number + 1) * BETWEEN))
            for replica in replicas:
                eventually_sync(replica.has_moved, timeout=PATIENCE_S, what=f"{replica.name}: a message got through")
                replica.kill(within=BETWEEN)
            if (number + 1) % 10 == 0:
                say(f"{number + 1} of {kills} kills each")
        load = (kills + 1) * BETWEEN
        _send(source, range(kills * BETWEEN, load))
        # One of each key, so late that all windows before are closed.
        _send(source, range(load, load + KEYS), later=timedelta(hours=1))
        total = load + KEYS
        least, exact = _numbers("least", total), _numbers("exact", total)
        windows, count = _windows(load)
        for replica in replicas:
            replica.end()
    findings = [
        *_missing("at least once", least, range(total)),
        *_missing("exactly once", exact, range(total)),
        *_doubled("exactly once", exact),
        *_missing("windows", windows, range(load)),
        *_doubled("windows", windows),
        *_wrong_versions(total),
        *(f"{replica.name} failed: {replica.told[-500:]}" for replica in replicas if "Traceback" in replica.told),
    ]
    again = sum(count - 1 for count in least.values())
    return Outcome(sum(replica.kills for replica in replicas), total, count, again, findings)


def _send(source: "kirby.Topic[int]", numbers: Iterable[int], *, later: timedelta = timedelta(0)) -> None:
    for number in numbers:
        source.send(number, key=str(number % KEYS), submitted=_START + timedelta(seconds=number) + later)
    source.flush()


def _numbers(topic: str, total: int) -> Counter[int]:
    """What the topic has, read until all is there or nothing comes for a minute."""
    found: Counter[int] = Counter()
    with kirby.Topic(topic) as out:
        while len(found) < total and (batch := out.nexts(5000, timeout=PATIENCE_S)):
            found.update(message.value for message in batch)
        found.update(message.value for message in out.nexts(5000, timeout=0.5))
    return found


def _windows(total: int) -> tuple[Counter[int], int]:
    """The events of all closed windows, and how many windows there are."""
    found: Counter[int] = Counter()
    windows = 0
    with kirby.Topic("windows") as out:
        while len(found) < total and (batch := out.nexts(5000, timeout=PATIENCE_S)):
            windows += len(batch)
            for message in batch:
                found.update(message.value["events"])
        for message in out.nexts(5000, timeout=0.5):
            windows += 1
            found.update(message.value["events"])
    return found, windows


def _missing(what: str, found: Counter[int], wanted: range) -> list[str]:
    missing, foreign = set(wanted) - found.keys(), found.keys() - set(wanted)
    told = [f"{what}: {len(missing)} are lost, among them {sorted(missing)[:5]}"] if missing else []
    return told + ([f"{what}: {len(foreign)} that were never sent, {sorted(foreign)[:5]}"] if foreign else [])


def _doubled(what: str, found: Counter[int]) -> list[str]:
    doubled = sorted(number for number, count in found.items() if count > 1)
    return [f"{what}: {len(doubled)} are doubled, among them {doubled[:5]}"] if doubled else []


def _wrong_versions(total: int) -> list[str]:
    """Each key counts its messages from 1, so its value is its version."""
    wanted = {str(key): len(range(key, total, KEYS)) for key in range(KEYS)}
    with kirby.State("counts") as counts:
        found = {key: (value, counts.version(key)) for key, value in counts.items()}
        wrong = [f"{key}: {found.get(key)}, not {n}" for key, n in wanted.items() if found.get(key) != (n, n)]
        for key in CHECKED:
            history = [(version.version, version.value) for version in counts.history(key)]
            if history != [(n, n) for n in range(1, wanted[key] + 1)]:
                wrong.append(f"{key}: its {len(history)} versions have gaps")
    return [f"State: {text}" for text in wrong]
