"""Which group owns a State: the one that the first record of its log's partition 0 names.

Every owner looks, and says so itself where nobody has, before it is given any message. Of two that say so at once the
first in the log's order has it.
"""

from kirby._outbox import outbox
from kirby.state._filling import Log
from kirby.state._stretch import ends_of, stretch
from kirby.state.errors import OwnedByAnother
from kirby.state.records import OWNER_KEY, BadRecord, decode_owner, encode_owner
from kirby.transport import BEGINNING, Receiver

_PARTITION = 0


def claim(log: Log, group: str) -> None:
    """Have the State owned by `group`, whose prefix is not told. Raises OwnedByAnother, and KafkaUnavailable."""
    group = group.removeprefix(log.prefix)
    receiver = log.way.receiver(group=None)
    try:
        owner = _owner_of(receiver, log)
        if owner is None:
            outbox().put(log.topic, encode_owner(group), OWNER_KEY, _PARTITION)
            outbox().flush()
            owner = _owner_of(receiver, log)
    finally:
        receiver.close()
    if owner != group:
        raise OwnedByAnother(log.name, owner=str(owner), group=group)


def _owner_of(receiver: Receiver, log: Log) -> str | None:
    end = ends_of(receiver, log.topic, partitions=1)[_PARTITION]
    for record in stretch(receiver, log.topic, {_PARTITION: BEGINNING}, {_PARTITION: end}):
        if record.key() == OWNER_KEY:
            try:
                return decode_owner(record.value())
            except BadRecord:
                continue
    return None
