"""Virtual time: an event heap, actors that can be paused and killed, and a network that can do what networks do."""

from collections.abc import Callable
from heapq import heappop, heappush
from random import Random
from typing import Any

Callback = Callable[..., None]


class Loop:
    """Runs events in order of time. `trace` has what happened, for a failing seed."""

    def __init__(self, random: Random) -> None:
        self.now = 0.0
        self.random = random
        self.trace: list[tuple[Any, ...]] = []
        self._heap: list[tuple[float, int, Callback, tuple[Any, ...]]] = []
        self._count = 0

    def at(self, moment: float, callback: Callback, *arguments: Any) -> None:
        self._count += 1
        heappush(self._heap, (moment, self._count, callback, arguments))

    def run(self, until: float, *, after_each: Callable[[], None]) -> None:
        heap = self._heap
        while heap and heap[0][0] <= until:
            self.now, _, callback, arguments = heappop(heap)
            callback(*arguments)
            after_each()
        self.now = until

    def note(self, *what: Any) -> None:
        self.trace.append((self.now, *what))


class Actor:
    """A process: what it has planned waits while it is paused, and is dropped when it dies."""

    def __init__(self, loop: Loop, name: str) -> None:
        self.loop = loop
        self.name = name
        self.life = 0
        self.alive = True
        self.paused_until = 0.0

    def after(self, delay: float, callback: Callback, *arguments: Any) -> None:
        self.loop.at(self.loop.now + delay, self.deliver, self.life, callback, arguments)

    def deliver(self, life: int, callback: Callback, arguments: tuple[Any, ...]) -> None:
        if life != self.life or not self.alive:
            return
        if self.loop.now < self.paused_until:
            self.loop.at(self.paused_until, self.deliver, life, callback, arguments)
            return
        callback(*arguments)

    def pause(self, seconds: float) -> None:
        self.paused_until = max(self.paused_until, self.loop.now + seconds)

    def die(self) -> None:
        self.alive = False
        self.life += 1


class Unanswered:
    """No answer came, or none that says what happened."""


class Network:
    """Calls between actors and the ledger: late, lost, doubled, out of order; or cut, or with nobody listening."""

    def __init__(self, loop: Loop, *, trouble: float) -> None:
        self.loop = loop
        self.trouble = trouble
        self.down_until = 0.0

    def call(
        self, caller: Actor, serve: Callable[..., Any], *arguments: Any, then: Callback, timeout: float = 1.0,
        cut: bool = False, errors: tuple[type[Exception], ...] = (),
    ) -> None:  # fmt: skip
        """`then(answer)` once: what `serve` returned, one of `errors` that it raised, or `Unanswered`."""
        loop, chance = self.loop, self.loop.random.random
        life = caller.life

        def answer(value: Any) -> None:
            caller.deliver(life, then, (value,))

        if cut or loop.now < self.down_until:
            loop.at(loop.now + min(timeout, 0.02 if loop.now < self.down_until else timeout), answer, Unanswered)
            return
        arrives = self._delay()
        returns = self._delay()
        lost = self.trouble and chance() < self.trouble
        answer_lost = lost and chance() < 0.5
        settled = False

        def arrive(last: bool) -> None:
            nonlocal settled
            try:
                value: Any = serve(*arguments)
            except errors as error:
                value = error
            if last and not settled and not answer_lost and arrives + returns < timeout:
                settled = True
                loop.at(loop.now + returns, answer, value)

        if not lost or answer_lost:
            if self.trouble and chance() < self.trouble:
                loop.at(loop.now + arrives * chance(), arrive, False)
            loop.at(loop.now + arrives, arrive, True)
        if lost or arrives + returns >= timeout:
            loop.at(loop.now + timeout, answer, Unanswered)

    def _delay(self) -> float:
        chance = self.loop.random.random
        if self.trouble and chance() < self.trouble:
            return chance() * 4.0
        return 0.001 + 0.01 * chance()
