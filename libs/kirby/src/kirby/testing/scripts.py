"""Running scripts from a test's own code."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from kirby.testing import running
from kirby.testing.case import TIMEOUT_S, Given
from kirby.testing.folders import Sent
from kirby.testing.recordings import Recording
from kirby.testing.running import Outcome
from kirby.topic import Topic
from kirby.transport import Transport


class ScriptFailed(AssertionError):
    """The script ended otherwise than it should have; the text has what it raised and printed."""

    def __init__(self, outcome: Outcome, exit_code: int) -> None:
        told = "it did not end in time" if outcome.ran.hung else f"it ended with exit code {outcome.exit_code}"
        super().__init__(f"{told}, and {exit_code} was expected\n{outcome.ran.trace}\n{outcome.output}".rstrip())
        self.outcome = outcome


def run_script(
    script: str | Path,
    *,
    topics: Mapping[str, Sequence[Sent]] | None = None,
    states: Mapping[str, Mapping[str, Any]] | None = None,
    files: Mapping[str, bytes] | None = None,
    web: Sequence[Recording] = (),
    now: datetime | None = None,
    env: Mapping[str, str] | None = None,
    args: Sequence[str] = (),
    timeout: float = TIMEOUT_S,
    exit_code: int = 0,
    root: Path | None = None,
    cluster: Transport | None = None,
) -> Outcome:
    """Run a script with this for its world, and give what it left.

    `script`: a file, or `module:function`, looked for in `root` (here) and its `src`. `topics`, `states`, `files` and
    `web` are what it finds, `now` the time it sees (aware). `timeout`: in how many seconds it must end. A script that
    reads without end is asked to end, as by SIGTERM, once it has read everything. `cluster`: a broker, instead of
    memory.

    Raises `ScriptFailed` unless it ends with `exit_code`, `NoScript` for one that is not there.

    >>> import pathlib, tempfile
    >>> double = pathlib.Path(tempfile.mkdtemp(), "double.py")
    >>> _ = double.write_text('''
    ... from kirby import Topic
    ... with Topic("numbers") as numbers, Topic("doubles") as doubles:
    ...     for message in numbers:
    ...         doubles.send(message.value * 2)
    ... ''')
    >>> run_script(double, topics={"numbers": [Sent(1), Sent(2)]}).values("doubles")
    [2, 4]
    """
    given = Given(
        script=str(script),
        root=root or Path.cwd(),
        args=args,
        env=env or {},
        now=now,
        timeout_s=timeout,
        topics=topics or {},
        states=states or {},
        files=files or {},
        web=web,
    )
    prefix = running.new_prefix() if cluster is not None else ""
    try:
        outcome = running.run(given, cluster=cluster, prefix=prefix)
    finally:
        if cluster is not None:
            running.remove(cluster, prefix=prefix)
    if not outcome.ended_as(exit_code):
        raise ScriptFailed(outcome, exit_code)
    return outcome


@contextmanager
def topic_sender() -> Iterator[Callable[..., None]]:
    """Gives `send(topic, value, key=, headers=, submitted=)`, which makes the topic when it is absent.

    >>> from kirby.testing import MemoryKafka
    >>> with MemoryKafka() as kafka, topic_sender() as send:
    ...     send("readings", {"celsius": 11.4}, key="Seattle")
    ...     kafka.values("readings")
    [{'celsius': 11.4}]
    """
    topics: dict[str, Topic[Any]] = {}

    def send(topic: str, value: Any, **more: Any) -> None:
        if topic not in topics:
            topics[topic] = Topic(topic, create=True)
        topics[topic].send(value, **more)

    try:
        yield send
    finally:
        for topic in topics.values():
            topic.close()
