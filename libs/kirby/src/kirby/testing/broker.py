"""Finds the broker that tests may use."""

import json
import os
from pathlib import Path

from kirby._confluent import Confluent
from kirby.errors import KirbyError
from kirby.transport import Transport


class NoBroker(KirbyError):
    """There is none; the text says what to do."""


def find_broker(home: Path) -> Transport:
    """The cluster at `KAFKA_BOOTSTRAP_SERVERS`, else that of a `kirby dev` in `home`.

    Raises NoBroker, and KafkaUnavailable for one that does not answer.
    """
    servers = os.environ.get("KAFKA_BOOTSTRAP_SERVERS") or _of_home(home)
    if servers is None:
        raise NoBroker(
            "There is no broker to test on: set KAFKA_BOOTSTRAP_SERVERS, or start one with `kirby dev`"
            f" (looked in {home})"
        )
    cluster = Confluent(servers)
    cluster.admin().cluster_id()
    return cluster


def _of_home(home: Path) -> str | None:
    try:
        return f"127.0.0.1:{int(json.loads((home / 'ports.json').read_text())['kafka'])}"
    except (OSError, ValueError, KeyError, TypeError):
        return None
