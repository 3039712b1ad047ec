"""Where a topic ends now, asked of Kafka."""

from types import TracebackType
from typing import Self

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError

from kirby_common.kafka import aiokafka_options
from kirby_common.ports import BusUnavailable
from kirby_common.settings import KafkaSettings


class KafkaTopicEnd:
    """Asks for the end of a topic's only partition; connects when first asked, and anew after a failure."""

    def __init__(self, settings: KafkaSettings, *, topic: str) -> None:
        self._settings = settings
        self._partition = TopicPartition(topic, 0)
        self._client: AIOKafkaConsumer | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._close()

    async def __call__(self) -> int:
        """The offset after the last message. Raises `BusUnavailable`."""
        try:
            if self._client is None:
                self._client = AIOKafkaConsumer(request_timeout_ms=10_000, **aiokafka_options(self._settings))
                await self._client.start()
            ends = await self._client.end_offsets([self._partition])
        except (KafkaError, OSError) as error:
            await self._close()
            raise BusUnavailable(f"{self._partition.topic}: {error or type(error).__name__}") from error
        end: int = ends[self._partition]
        return end

    async def _close(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            await client.stop()
