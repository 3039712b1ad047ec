"""What differs between the messages of two topics. Pure.

Messages with a key are paired with those of the same key, in their order; the others by their order in a partition.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import zip_longest

from kirby_api.messages.view import MessageChange, MessageView, TopicsDiff
from kirby_api.states.difference import differences

MOST = 1000
_Lane = tuple[str | None, int]


def topics_diff(
    names: tuple[str, str], before: Sequence[MessageView], after: Sequence[MessageView], *, most: int = MOST
) -> TopicsDiff:
    """Both sequences in the order of each partition."""
    counts = {"same": 0, "added": 0, "removed": 0, "changed": 0}
    items: list[MessageChange] = []
    for old, new in _pairs(before, after):
        change = _change(old, new)
        counts["same" if change is None else change.what] += 1
        if change is not None and len(items) < most:
            items.append(change)
    return TopicsDiff(before=names[0], after=names[1], items=items, **counts)


def _pairs(
    before: Sequence[MessageView], after: Sequence[MessageView]
) -> Iterator[tuple[MessageView | None, MessageView | None]]:
    olds, news = _lanes(before), _lanes(after)
    for lane in [*olds, *(lane for lane in news if lane not in olds)]:
        yield from zip_longest(olds.get(lane, ()), news.get(lane, ()))


def _lanes(messages: Sequence[MessageView]) -> dict[_Lane, list[MessageView]]:
    lanes: dict[_Lane, list[MessageView]] = defaultdict(list)
    for message in messages:
        lanes[message.key, message.partition if message.key is None else 0].append(message)
    return dict(lanes)


def _change(old: MessageView | None, new: MessageView | None) -> MessageChange | None:
    one = old or new
    assert one is not None
    places = {"key": one.key, "before": old and old.place, "after": new and new.place}
    if old is None or new is None:
        return MessageChange(what="added" if old is None else "removed", changes=[], **places)
    changes = differences(_comparable(old), _comparable(new))
    return MessageChange(what="changed", changes=changes, **places) if changes else None


def _comparable(message: MessageView) -> object:
    return message.base64 if message.base64 is not None else message.value
