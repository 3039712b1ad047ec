"""Runs a script with what a case gives it, in memory or on a broker, and gathers what it leaves."""

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from kirby import _drain, _outbox, _reader, files, transport, webclient
from kirby._hand import hold
from kirby.state import table
from kirby.testing import _script
from kirby.testing._clock import clock
from kirby.testing._counting import Counting
from kirby.testing._files import MemoryStore
from kirby.testing._world import DELIVERED_S, give, left, unfed
from kirby.testing.case import Given
from kirby.testing.folders import Sent
from kirby.testing.memory import MemoryKafka
from kirby.testing.recordings import Player
from kirby.transport import Transport
from kirby.webclient import Answer, Request, WebClient

_LOOKS = 3
_RUN_ID = "00000000-0000-4000-8000-000000000000"


@dataclass(frozen=True)
class Outcome:
    """What a script left: messages by topic, States, files that it wrote, the calls it made, and how it ended.

    `unfed`: topics that it reads and was given nothing of. `began` and `ended` are by the script's clock.
    """

    ran: _script.Ran
    topics: Mapping[str, Sequence[Sent]]
    states: Mapping[str, Mapping[str, Any]]
    files: Mapping[str, bytes]
    calls: Player
    unfed: Sequence[str]
    began: datetime
    ended: datetime

    @property
    def output(self) -> str:
        """What it printed, to stdout and stderr."""
        return self.ran.output

    @property
    def exit_code(self) -> int:
        """What it ended with; 1 when it raised, and when it hung."""
        return self.ran.exit_code

    def ended_as(self, exit_code: int) -> bool:
        """Whether it ended by itself, and with this code."""
        return not self.ran.hung and self.exit_code == exit_code

    def values(self, topic: str) -> list[Any]:
        """The values that it sent to a topic, in their order."""
        return [message.value for message in self.topics.get(topic, ())]


def run(given: Given, *, cluster: Transport | None = None, prefix: str = "", record: bool = False) -> Outcome:
    """Run the script on `cluster`, where its topics begin with `prefix`; by default in memory.

    `record`: ask web services for what there is no recording of. Raises NoScript; KirbyError for what can't be given
    to it; KafkaUnavailable.
    """
    store = MemoryStore(given.files)
    player = Player(given.web, ask=_ask if record else None)
    with ExitStack() as stack:
        own = stack.enter_context(tempfile.TemporaryDirectory(prefix="kirby-test-"))
        now_ms = stack.enter_context(clock(given.now))
        way = cluster or (MemoryKafka(now_ms=now_ms) if now_ms else MemoryKafka())
        counting = Counting(way, prefix=prefix, now_ms=now_ms)
        began = datetime.now(UTC)
        give(given, counting)
        stack.enter_context(transport.using(counting))
        stack.enter_context(files.stored_in(store))
        stack.enter_context(webclient.answering(player))
        stack.enter_context(_ending(counting, store))
        ran = _script.run(
            given.script,
            root=given.root,
            args=given.args,
            env=_environment(given, prefix=prefix, own=own),
            timeout_s=given.timeout_s,
            at_exit=_settle,
        )
        _drain.asked = False
        topics, states = left(given, counting, own)
        return Outcome(
            ran=ran,
            topics=topics,
            states=states,
            files=store.written(),
            calls=player,
            unfed=unfed(given, counting),
            began=began,
            ended=datetime.now(UTC),
        )


def _environment(given: Given, *, prefix: str, own: str) -> dict[str, str]:
    """What Kirby tells a script, as far as a test has it; what States keep on the disk lies in the folder `own`."""
    name = given.script.rpartition(":")[0] or given.script
    job = os.path.basename(name).removesuffix(".py")
    told = {
        "KIRBY_JOB": job,
        "KIRBY_ENV": "test",
        "KIRBY_RUN_ID": _RUN_ID,
        "KIRBY_ATTEMPT": "1",
        "KIRBY_GRANT": "1",
        "KIRBY_GROUP": job,
        "KIRBY_TOPIC_PREFIX": prefix,
        "KIRBY_STATE_DIR": f"{own}/states",
        "KIRBY_OBJECTS_URL": f"{own}/objects",
        "PYTHONUNBUFFERED": "1",
        "EXT_WAIT_BETWEEN_RETRIES": "0",
    }
    due = {} if given.now is None else {"KIRBY_DUE_AT": given.now.isoformat()}
    return told | due | dict(given.env)


@contextmanager
def _ending(counting: Counting, store: MemoryStore) -> Iterator[None]:
    """Ask the script to end, as SIGTERM does, once it has read everything and waits for more."""
    pause, files.pausing = files.pausing, _looks(store)
    _reader.nothing_will_come = _nothing_will_come(counting)
    _drain.asked = False
    try:
        yield
    finally:
        files.pausing = pause
        _reader.nothing_will_come = None
        _drain.asked = False
        hold(None)


def _nothing_will_come(counting: Counting) -> Callable[[_reader.Reader, bool], bool]:
    """A reader with a timeout is told of silence first: what it does then belongs to the script."""
    told: dict[int, int] = {}

    def decide(reader: _reader.Reader, for_ever: bool) -> bool:
        if not counting.is_read(reader.topic):
            return False
        if not (counting.all_read() and all(r.is_empty for r in _reader.readers())):
            return not for_ever
        told[id(reader)] = told.get(id(reader), 0) + 1
        if for_ever or told[id(reader)] > 1:
            _drain.asked = True
        return True

    return decide


def _looks(store: MemoryStore) -> Callable[[float], None]:
    """For those who watch a folder: no waiting, and the end after some looks at files that stay as they are."""
    seen, looks = store.changes, 0

    def pause(seconds: float) -> None:
        nonlocal seen, looks
        looks = looks + 1 if store.changes == seen else 0
        seen = store.changes
        if looks >= _LOOKS:
            _drain.asked = True

    return pause


def _settle() -> None:
    """As at the exit of a process: States are closed, and everything is delivered."""
    table._close_all()
    _outbox.flush(DELIVERED_S)


def _ask(request: Request) -> Answer:
    """Really."""
    with WebClient("recorded", request.url) as client:
        return client._call(request)


def remove(cluster: Transport, *, prefix: str) -> None:
    """Delete the topics of a test. Raises KirbyError."""
    assert prefix, "only a test's own topics are deleted"
    admin = cluster.admin()
    for name in admin.names(prefix=prefix):
        admin.delete(name)


def new_prefix() -> str:
    """Of a test's topics on a broker."""
    return f"kirby-test-{os.getpid()}-{time.monotonic_ns():x}."
