"""Writes what a script left as what a case expects."""

import shutil
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from kirby.testing.case import Case
from kirby.testing.comparing import output_fits, topic_problems
from kirby.testing.folders import Sent, pretty, write_messages
from kirby.testing.recordings import write_recordings
from kirby.testing.running import Outcome

_SLACK = timedelta(seconds=1)


def update(case: Case, outcome: Outcome) -> None:
    """Write `expected/` where it differs. What fits stays as it was written."""
    folder = case.folder / "expected"
    folder.mkdir(exist_ok=True)
    for topic in {*case.expected.topics, *outcome.topics}:
        came = outcome.topics.get(topic, ())
        if not came:
            shutil.rmtree(folder / "topics" / topic)
        elif topic_problems(case, topic, came):
            write_messages(folder / "topics" / topic, [_dated_by_script(m, outcome) for m in came])
    for name, table in outcome.states.items():
        if table != case.expected.states.get(name, case.given.states.get(name, {})):
            _write(folder / "states" / f"{name}.json", (pretty(table) + "\n").encode())
    for name in {*case.expected.files, *outcome.files}:
        if name in outcome.files:
            _write(folder / "files" / name, outcome.files[name])
        else:
            (folder / "files" / name).unlink()
    if case.expected.output is not None and not output_fits(case.expected.output, outcome.output):
        _write(folder / "output.txt", outcome.output.encode())


def record(case: Case, outcome: Outcome) -> None:
    """Write the calls that were made, where some are new or were not made any more."""
    used = [one for number, one in enumerate(outcome.calls.recordings) if number in outcome.calls.used]
    if used != list(case.given.web):
        write_recordings(case.folder / "web", used)


def _dated_by_script(message: Sent, outcome: Outcome) -> Sent:
    """Without the time, where that is just when it was sent."""
    at = message.timestamp
    sent_then = at is not None and outcome.began - _SLACK <= at <= outcome.ended + _SLACK
    return replace(message, timestamp=None) if sent_then else message


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
