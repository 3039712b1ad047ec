"""Where a shadow rewind writes: the names of its topics, States and groups. Pure but for one variable.

    <prefix>.kirby.shadow.<id>.topic.<topic>    what the run sent to the topic
    <prefix>.kirby.shadow.<id>.state.<name>     the log of what it set in the State
    <group>.shadow-<id>                         the group that it reads by

The id is the first eight digits of the rewind's. A State's log is not named as a real one, so that no recorder takes
it for one.
"""

import os
from typing import Final

VARIABLE: Final = "KIRBY_SHADOW"
LONGEST_TOPIC: Final = 249
"""Kafka's limit for a topic's name."""
_DIGITS = 8


def current() -> str | None:
    """The shadow that this process is a run of; None for a process that works live."""
    return os.environ.get(VARIABLE) or None


def short(rewind: str) -> str:
    """A rewind's id as its shadow's names have it.

    >>> short("0f1e2d3c-0000-4000-8000-000000000000")
    '0f1e2d3c'
    """
    return rewind[:_DIGITS]


def family(shadow: str, *, prefix: str) -> str:
    """What the names of all its topics begin with."""
    return f"{prefix}.kirby.shadow.{shadow}."


def topics(shadow: str, *, prefix: str) -> str:
    """What is before the names of the topics that were written."""
    return f"{family(shadow, prefix=prefix)}topic."


def states(shadow: str, *, prefix: str) -> str:
    """What is before the names of the States that were written."""
    return f"{family(shadow, prefix=prefix)}state."


def topic_of(name: str, shadow: str, *, prefix: str) -> str:
    """Where what is sent to the topic `name` (with its prefix) goes.

    >>> topic_of("test.weather.daily", "0f1e2d3c", prefix="test.")
    'test..kirby.shadow.0f1e2d3c.topic.weather.daily'
    """
    return topics(shadow, prefix=prefix) + name.removeprefix(prefix)


def group_of(group: str, shadow: str) -> str:
    """The group that a run of the shadow reads by, in place of `group`.

    >>> group_of("weather-daily", "0f1e2d3c")
    'weather-daily.shadow-0f1e2d3c'
    """
    return f"{group}.shadow-{shadow}"


def is_of(topic: str, shadow: str, *, prefix: str) -> bool:
    """Whether the topic is one of the shadow's: of its family, or one in which its group keeps windows or timers."""
    return topic.startswith(family(shadow, prefix=prefix)) or (
        topic.startswith(f"{prefix}.kirby.") and f".shadow-{shadow}." in topic
    )


def is_too_long(name: str, *, prefix: str) -> bool:
    """Whether the topic `name` (with its prefix) has a name to which no shadow's fits."""
    return len(topic_of(name, "0" * _DIGITS, prefix=prefix)) > LONGEST_TOPIC
