"""Every error of the script SDK.

`KirbyError` is the root. Worth another try later: `KafkaUnavailable`, `NotDelivered`, and `SecretUnavailable` with
code `unavailable`, and `CallFailed` whose `status` is None or 5xx. Not before something is mended: `TopicAbsent`,
`BadMessage`, `BadValue`, `OutsideRetention`, `MissingVariable`, `BadVariable`, and `SecretUnavailable` with code
`denied` or `absent`. `HeldBack` says that a re-run leaves something undone.
"""

from collections.abc import Sequence
from typing import Any


class KirbyError(Exception):
    """The root of the SDK's errors; its text is one sentence."""

    def __reduce__(self) -> tuple[Any, ...]:
        """A handler's error comes back from a process pool as it was, whatever its own `__init__` takes."""
        return _remade, (type(self), self.args, self.__dict__)


def _remade(kind: type[KirbyError], words: tuple[Any, ...], told: dict[str, Any]) -> KirbyError:
    error = kind.__new__(kind, *words)
    error.__dict__.update(told)
    return error


class KafkaUnavailable(KirbyError):
    """No broker answers at the address."""

    def __init__(self, servers: str, reason: str) -> None:
        super().__init__(f"Kafka at {servers} does not answer ({reason}): is KAFKA_BOOTSTRAP_SERVERS right?")
        self.servers = servers


class TopicAbsent(KirbyError):
    """The topic does not exist, and was not to be created."""

    def __init__(self, topic: str) -> None:
        super().__init__(f"The topic {topic!r} does not exist: create it, or pass create=True to Topic")
        self.topic = topic


class NotDelivered(KirbyError):
    """Messages that an earlier `send` took over did not reach Kafka; nothing after them was committed."""

    def __init__(self, topic: str, count: int, reason: str) -> None:
        super().__init__(f"{count} message(s) did not reach Kafka, the first for topic {topic!r}: {reason}")
        self.topic = topic
        self.count = count


class BadMessage(KirbyError):
    """A message whose value the Topic can't read. The reader has gone past it: the next call gives the next message."""

    def __init__(self, topic: str, partition: int, offset: int, raw: bytes, reason: str) -> None:
        super().__init__(f"The message {topic} {partition}:{offset} is not what the topic holds: {reason}")
        self.topic = topic
        self.partition = partition
        self.offset = offset
        self.raw = raw


class BadValue(KirbyError, TypeError):
    """A value, key or headers that can't be sent. Nothing was sent; the message's fault is not the topic's."""

    def __init__(self, topic: str, reason: str) -> None:
        super().__init__(f"This can't be sent to the topic {topic!r}: {reason}")
        self.topic = topic


class OutsideRetention(KirbyError):
    """A `submitted=` so old, or so far ahead, that the broker would delete or refuse the message."""

    def __init__(self, topic: str, reason: str) -> None:
        super().__init__(f"A message dated so can't be sent to the topic {topic!r}: {reason}")
        self.topic = topic


class HeldBack(KirbyError):
    """A side effect that a re-run does not repeat. It ends the work on the message, which is then done: no dead letter.

    `process` and `process_batches` see to that; a loop of one's own catches it.
    """

    def __init__(self, what: str) -> None:
        super().__init__(
            f'{what} is held back, for this is a re-run: say rerun="allow" in the call, or Kirby(rerun="allow") for the'
            " whole script, if it may be repeated"
        )
        self.what = what


class CallFailed(KirbyError):
    """A web service did not give what was asked of it; `status` is its answer's, or None when there was none."""

    def __init__(self, name: str, sentence: str, *, status: int | None = None, text: str = "") -> None:
        super().__init__(sentence)
        self.name = name
        self.status = status
        self.text = text


class MissingVariable(KirbyError):
    """Environment variables that the script asks for and has not got."""

    def __init__(self, names: Sequence[str]) -> None:
        listed = ", ".join(names)
        them, keys = ("is", "a config key") if len(names) == 1 else ("are", "config keys")
        super().__init__(f"{listed} {them} not set: add {keys} for the job, or set the environment")
        self.names: tuple[str, ...] = tuple(names)


class BadVariable(KirbyError):
    """An environment variable that is not of the type asked for. The value itself is not shown."""

    def __init__(self, name: str, wanted: str) -> None:
        super().__init__(f"{name} is set, but is not a valid {wanted}")
        self.name = name


class SecretUnavailable(KirbyError):
    """A secret that the script did not get; `code` is `denied`, `absent` or `unavailable`."""

    def __init__(self, path: str, sentence: str, code: str) -> None:
        super().__init__(sentence)
        self.path = path
        self.code = code
