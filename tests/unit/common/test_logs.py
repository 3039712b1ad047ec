"""What a library tells many times a second is told once a minute."""

import logging

from kirby_common.logs import Seldom


def test_a_message_of_the_library_comes_once_a_minute_with_how_many_were_held_back() -> None:
    now = 0.0
    seldom = Seldom("aiokafka", monotonic=lambda: now)

    def told(name: str, message: str, *args: object) -> str | None:
        record = logging.LogRecord(name, logging.ERROR, __file__, 1, message, args, None)
        return record.getMessage() if seldom.filter(record) else None

    assert told("aiokafka", "no node %s", 1) == "no node 1"
    now = 30.0
    assert told("aiokafka", "no node %s", 1) is None
    assert told("aiokafka", "no node %s", 2) is None
    assert told("aiokafka.consumer.fetcher", "no offsets") == "no offsets"
    assert told("kirby_worker", "no node %s", 1) == told("kirby_worker", "no node %s", 1) == "no node 1"
    now = 61.0
    assert told("aiokafka", "no node %s", 3) == "no node 3 (and 2 times more since)"
    now = 122.0
    assert told("aiokafka", "no node %s", 3) == "no node 3"
