"""The thread that beats: nothing that happens in the event loop delays it."""

import asyncio
import threading
from collections.abc import Callable, Mapping, Sequence

import structlog
from kirby_common.clock import Clock
from kirby_common.worker_protocol import BeatAnswer, BeatAttempt, BeatRequest, RunRef

from kirby_worker.adapters.endpoint import BeatClient, Gone, Refused, Unavailable

log = structlog.get_logger()

BEATS_PER_LEASE = 0.15
_RETRY_SHARE = 0.05


class Heart:
    """Beats every 0.15 lease, and at once when asked to."""

    def __init__(
        self,
        client: BeatClient,
        *,
        lease_s: float,
        clock: Clock,
        loop: asyncio.AbstractEventLoop,
        on_answer: Callable[[BeatAnswer, float], None],
        on_gone: Callable[[Exception], None],
    ) -> None:
        self._client = client
        self._interval = lease_s * BEATS_PER_LEASE
        self._retry = lease_s * _RETRY_SHARE
        self._clock = clock
        self._loop = loop
        self._on_answer = on_answer
        self._on_gone = on_gone
        self._wake = threading.Event()
        self._stopped = False
        self._number = 0
        self._signs = BeatRequest(beat=0)
        self._thread = threading.Thread(target=self._run, name="beats", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def say(self, *, attempts: Sequence[BeatAttempt], spools: Sequence[RunRef], usage: Mapping[str, float]) -> None:
        """What the next beats say; replaced as a whole, so that the thread needs no lock."""
        self._signs = BeatRequest(beat=0, attempts=list(attempts), spools=list(spools), usage=dict(usage))

    def beat_now(self) -> None:
        self._wake.set()

    def stop(self) -> None:
        """Waits for a beat that is under way."""
        self._stopped = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()
        self._client.close()

    def _run(self) -> None:
        while not self._stopped:
            began = self._clock.boot()
            wait = self._interval if self._beat(began) else self._retry
            self._wake.wait(max(0.0, began + wait - self._clock.boot()))
            self._wake.clear()

    def _beat(self, began: float) -> bool:
        self._number += 1
        request = self._signs.model_copy(update={"beat": self._number})
        try:
            answer = self._client.beat(request)
        except Unavailable as error:
            log.warning("beat.unanswered", reason=str(error))
            return False
        except (Gone, Refused) as error:
            self._stopped = True
            self._tell(self._on_gone, error)
            return False
        # The beat counts from when it was sent: the ledger wrote it down no earlier.
        self._tell(self._on_answer, answer, began)
        return True

    def _tell(self, callback: Callable[..., None], *arguments: object) -> None:
        try:
            self._loop.call_soon_threadsafe(callback, *arguments)
        except RuntimeError:
            log.debug("beat.loop_closed")
