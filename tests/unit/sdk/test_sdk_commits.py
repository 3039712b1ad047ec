"""What a driver that never answers a commit does to a reader: nothing for ever."""

from typing import Any, cast

import pytest
from confluent_kafka import KafkaError
from kirby._confluent import ConfluentReceiver
from kirby.transport import NotAMember, Position, TransientFailure

HERE = Position("numbers", 0, 7)


class _Driver:
    """Answers a commit in a later poll, in which messages come, too; the first commit is never answered."""

    def __init__(self, receiver: ConfluentReceiver, *, refusal: KafkaError | None = None) -> None:
        self._receiver = receiver
        self._refusal = refusal
        self._pending: list[Any] = []
        self.asked = 0

    def commit(self, *, offsets: list[Any], asynchronous: bool) -> None:
        assert asynchronous
        self.asked += 1
        if self.asked > 1:
            self._pending.append(offsets)

    def poll(self, timeout: float) -> Any:
        if not self._pending:
            return None
        self._receiver._answers.append((self._refusal, self._pending.pop()))
        return _Message()

    def consume(self, count: int, timeout: float) -> list[Any]:
        return []


class _Message:
    def error(self) -> None:
        return None

    def topic(self) -> str:
        return "numbers"

    def partition(self) -> int:
        return 0


def receiver_of(*, refusal: KafkaError | None = None) -> tuple[ConfluentReceiver, _Driver]:
    receiver = ConfluentReceiver({"bootstrap.servers": "127.0.0.1:9", "group.id": "g"}, alone=False)
    receiver.close()
    driver = _Driver(receiver, refusal=refusal)
    receiver.consumer = cast(Any, driver)
    receiver.patience_s = 0
    with pytest.raises(TransientFailure, match="no answer within 0 s"):
        receiver.commit([HERE])
    receiver.patience_s = 30
    return receiver, driver


def test_a_commit_without_an_answer_is_left_and_may_be_made_again() -> None:
    receiver, driver = receiver_of()
    receiver.commit([HERE])
    assert driver.asked == 2
    assert len(receiver.poll(10, 0)) == 1, "what came while the answer was awaited is not lost"


def test_the_answer_may_be_a_refusal() -> None:
    receiver, _ = receiver_of(refusal=KafkaError(KafkaError.ILLEGAL_GENERATION))
    with pytest.raises(NotAMember):
        receiver.commit([HERE])


def test_while_partitions_change_hands_no_answer_is_awaited() -> None:
    receiver, driver = receiver_of()
    with receiver._calling_back():
        receiver.commit([HERE])
    assert driver.asked == 2
