"""A step of a shadow rewind that the scheduler starts as a run: `python -m kirby.shadowing compare|promote ID ABOUT`.

It runs where the script runs, with the script's way to Kafka. `ABOUT` is JSON: `since_ms`, `parts` (lists of topic,
partition, from, to) and `outputs`.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from kirby import _kafka, registration, transport
from kirby.errors import KirbyError
from kirby.registration import Refused
from kirby.shadowing import names
from kirby.shadowing.comparing import Process
from kirby.shadowing.promoting import promote
from kirby.shadowing.shadow import Range, Shadow, comparison


def main(arguments: Sequence[str]) -> int:
    order, rewind, about = arguments
    environment = os.environ.get
    shadow = Shadow(
        number=names.short(rewind), job=environment("KIRBY_JOB", ""), env=environment("KIRBY_ENV", ""),
        prefix=_kafka.prefix(), way=transport.current(),
    )  # fmt: skip
    try:
        if order == "promote":
            promote(shadow, rewind=rewind, told=_say)
        else:
            _compare(shadow, rewind, orjson.loads(about))
    except (KirbyError, Refused) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


def _compare(shadow: Shadow, rewind: str, about: Mapping[str, Any]) -> None:
    parts = {(topic, number): (begin, end) for topic, number, begin, end in about["parts"]}
    found = comparison(
        shadow, Range(about["since_ms"], parts, about["outputs"]), whose=lambda asked: _whose(rewind, asked)
    )
    registration.call("PUT", f"api/v1/rewinds/{rewind}/comparison", body=found)
    for topic in found["topics"]:
        _say(
            f"{topic['topic']}: {topic['same']} the same, {topic['changed']} changed,"
            f" {topic['only_original']} only in the original, {topic['only_shadow']} only in the shadow"
        )


def _whose(rewind: str, asked: Sequence[bytes]) -> dict[bytes, Process]:
    body = {"processes": [process.hex() for process in asked]}
    told = registration.call("POST", f"api/v1/rewinds/{rewind}/processes", body=body)
    return {bytes.fromhex(one["process"]): Process(one["job"], one["env"], one["reads"]) for one in told["items"]}


def _say(line: str) -> None:
    """Into the run's log."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
