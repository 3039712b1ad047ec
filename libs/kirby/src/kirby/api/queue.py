"""`Queue`: a topic that the supervisors share."""

from typing import Any

from kirby.api.context import ctx
from kirby.api.ext.topic import Topic


class Queue(Topic):
    """A Topic with the group `KIRBY_SUPERVISOR_GROUP_ID`, and `append` for `send`.

    >>> queue = Queue("offers", testing=True)
    >>> queue.append("first")
    >>> queue.last()
    'first'
    """

    def __init__(self, name: str, *args: Any, **kargs: Any) -> None:
        if not kargs.get("testing", False):
            kargs["group_id"] = ctx.KIRBY_SUPERVISOR_GROUP_ID
        super().__init__(name, *args, **kargs)

    def append(self, *args: Any, **kargs: Any) -> None:
        """Send a message."""
        self.send(*args, **kargs)

    def last(self) -> Any:
        """The newest message; in testing mode only. Raises IndexError when there is none."""
        if not self.testing:
            raise NotImplementedError("last() is for testing mode only")
        _, record = self.topic_config.messages[-1]
        return record if self.topic_config.raw_records else record.value
