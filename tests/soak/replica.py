"""A daemon's replica as a process, killed and started again in its slot."""

import os
import subprocess
import sys
from random import Random

from kirby import transport
from kirby.transport import Position

PATIENCE_S = 60
# As short as a broker allows: a member that does not come back in its slot is to be missed soon.
_ENVIRONMENT = {"KIRBY_SLOT": "0", "KIRBY_SESSION_TIMEOUT": "6"}


class Replica:
    """One processor of the topic `source`, whose script reads it as the group `name`."""

    def __init__(self, name: str, code: str, *, source: str, random: Random) -> None:
        self.name = name
        self.kills = 0
        self.told = ""
        """What all its processes have said on stderr."""
        self._code = code
        self._random = random
        self._prefix = os.environ.get("KIRBY_TOPIC_PREFIX", "")
        self._topic = self._prefix + source
        # Asks for the group's commits; without reading it is no member.
        self._group = transport.current().receiver(group=self._prefix + name)
        self._partitions = range(transport.current().admin().partitions(self._topic) or 0)
        self._enough = 1
        self._start()

    def _start(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", self._code], stderr=subprocess.PIPE, text=True, env=os.environ | _ENVIRONMENT
        )

    def done(self) -> int:
        """How many messages the group has committed. Raises KafkaUnavailable."""
        committed: list[Position] = list(self._group.committed(self._topic, self._partitions).values())
        return sum(position.offset for position in committed)

    def has_moved(self) -> bool:
        """Whether it has done its part since the last kill: some messages, how many is left to chance."""
        return self.done() >= self._enough

    def kill(self, *, within: int) -> None:
        """Kill it with -9 and start it again; it has moved once it has done up to `within` messages more."""
        self._process.kill()
        self.told += self._process.communicate()[1]
        self.kills += 1
        self._start()
        self._enough = self.done() + self._random.randrange(1, within)

    def end(self) -> None:
        self._process.terminate()
        self.told += self._process.communicate(timeout=PATIENCE_S)[1]
        self._group.close()
