"""What a re-run holds back, what ends a message without a dead letter, and keys that a re-run makes again."""

import asyncio
import pickle
from collections.abc import Callable, Iterator
from pathlib import Path

import kirby
import pytest
from kirby import _effects, _processing, aio, lineage
from kirby.api.ext.webclient import WebClient as OriginalClient
from kirby.errors import HeldBack
from kirby.rewinding import Mark
from kirby.testing import MemoryKafka
from kirby.transport import Position
from kirby.webclient import Answer, Request, answering

HOP = lineage.pack_hop(b"sensor01", -1, -1)
FLAGGED = {"kirby": lineage.begin(bytes(16), HOP, flags=lineage.RERUN)}
LIVE = {"kirby": lineage.begin(bytes(range(16)), HOP)}


@pytest.fixture
def kafka(monkeypatch: pytest.MonkeyPatch) -> Iterator[MemoryKafka]:
    for name in ("KIRBY_TOPIC_PREFIX", "KIRBY_GROUP", "KIRBY_JOB", "KIRBY_ENV", "KIRBY_RERUN", "KIRBY_SLOT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(_effects, "_script", "hold")
    monkeypatch.setattr(_processing, "_has_told", False)
    with MemoryKafka() as kafka:
        for topic in ("raw", "out"):
            kafka.create(topic, partitions=1)
        yield kafka


@pytest.fixture
def called() -> Iterator[list[str]]:
    calls: list[str] = []

    def answer(request: Request) -> Answer:
        calls.append(f"{request.method} {request.url}")
        return Answer(200, b"{}")

    with answering(answer):
        yield calls


def add(kafka: MemoryKafka, *flagged: bool) -> None:
    for number, is_flagged in enumerate(flagged):
        kafka.add("raw", number, headers=FLAGGED if is_flagged else LIVE)


def client(**more: object) -> kirby.WebClient:
    return kirby.WebClient("shop", "http://shop.test", **more)  # type: ignore[arg-type]


def test_a_re_run_reads_and_does_not_write(kafka: MemoryKafka, called: list[str], tmp_path: Path) -> None:
    add(kafka, True)
    file = kirby.File(tmp_path / "report")
    with kirby.Topic("raw", group="g") as raw:
        assert raw.next(timeout=0) is not None
        client().get("a")
        client().request("HEAD", "a")
        for effect in (
            lambda: client().post("a", 1),
            lambda: client().put("a", 1),
            lambda: client().patch("a", 1),
            lambda: client().delete("a"),
            lambda: file.write("x"),
            lambda: file.write_json(1),
            lambda: file.delete(),
            lambda: kirby.effect("a mail"),
        ):
            with pytest.raises(HeldBack, match=r'is held back, for this is a re-run: say rerun="allow"'):
                effect()
        assert not file.exists()
    assert called == ["GET http://shop.test/a", "HEAD http://shop.test/a"]


def test_what_is_allowed_is_done(kafka: MemoryKafka, called: list[str], tmp_path: Path) -> None:
    add(kafka, True)
    with kirby.Topic("raw", group="g") as raw:
        raw.next(timeout=0)
        client().post("call", rerun="allow")
        client(rerun="allow").post("client")
        kirby.File(tmp_path / "report").write("x", rerun="allow")
        kirby.Kirby(rerun="allow")
        client().post("script")
        with pytest.raises(HeldBack):
            client().post("back", rerun="hold")
    assert called == ["POST http://shop.test/call", "POST http://shop.test/client", "POST http://shop.test/script"]


def test_what_is_live_is_done(kafka: MemoryKafka, called: list[str]) -> None:
    add(kafka, False)
    with kirby.Topic("raw", group="g") as raw:
        raw.next(timeout=0)
        client().post("a")
    assert called


def test_a_run_that_is_a_re_run_holds_back_without_a_message(
    kafka: MemoryKafka, called: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KIRBY_RERUN", "1")
    with pytest.raises(HeldBack):
        client().post("a")
    with pytest.raises(HeldBack):
        OriginalClient("shop", "http://shop.test/", _Session()).post("a")
    assert OriginalClient("shop", "http://shop.test/", _Session()).get("a") == "got"


def test_what_is_read_again_by_a_rewind_is_held_back_until_its_end(kafka: MemoryKafka, called: list[str]) -> None:
    add(kafka, False, False, False)
    kafka.groups.of("g").commits["raw", 0] = Position("raw", 0, 0, Mark("r1", to=2, back=2).text())
    with kirby.Topic("raw", group="g") as raw:
        raw.process(lambda message: client().post(str(message.value)), timeout=0)
    assert called == ["POST http://shop.test/2"]


@pytest.mark.parametrize("threads", [1, 2])
def test_what_is_held_back_ends_the_message_without_a_dead_letter(
    kafka: MemoryKafka, called: list[str], threads: int
) -> None:
    add(kafka, True, False, True)
    with kirby.Topic("raw", group="g") as raw:
        raw.process(
            lambda message: client().post(str(message.value)), threads=threads, timeout=0,
            dead_letters=kirby.DeadLetters(attempts=3),
        )  # fmt: skip
    assert called == ["POST http://shop.test/1"]
    assert kafka.groups.of("g").commits["raw", 0].offset == 3
    assert kafka.values("raw.dead-letters") == []


def test_under_asyncio_too(kafka: MemoryKafka, called: list[str]) -> None:
    add(kafka, True, False)

    async def main() -> None:
        async with aio.Topic("raw", group="g") as raw, aio.WebClient("shop", "http://shop.test") as shop:

            async def handler(message: kirby.Message[int]) -> None:
                await shop.post(str(message.value))

            await raw.process(handler, timeout=0.1)

    asyncio.run(main())
    assert called == ["POST http://shop.test/1"]


@pytest.mark.parametrize("exactly_once", [False, True])
def test_live_messages_of_a_batch_are_done_apart_from_those_of_a_re_run(
    kafka: MemoryKafka, called: list[str], exactly_once: bool
) -> None:
    add(kafka, False, True, True, False)

    def handler(batch: list[kirby.Message[int]]) -> None:
        client().post("-".join(str(message.value) for message in batch))

    with kirby.Topic("raw", group="g") as raw:
        raw.process_batches(handler, timeout=0, exactly_once=exactly_once)
    assert called == ["POST http://shop.test/0", "POST http://shop.test/3"]
    assert kafka.groups.of("g").commits["raw", 0].offset == 4


@pytest.mark.parametrize(("rerun", "seen"), [("accept", [0, 1, 2]), ("skip", [0, 2]), ("only", [1])])
def test_consumers_say_what_they_think_of_re_runs(kafka: MemoryKafka, rerun: str, seen: list[int]) -> None:
    add(kafka, False, True, False)
    with kirby.Topic("raw", group="g", rerun=rerun) as raw:  # type: ignore[arg-type]
        assert [message.value for message in raw.iterate(timeout=0)] == seen


def test_a_consumer_that_skips_re_runs_is_rewound_all_the_same(kafka: MemoryKafka) -> None:
    add(kafka, False, False)
    kafka.groups.of("g").commits["raw", 0] = Position("raw", 0, 0, Mark("r1", to=1, back=1).text())
    with kirby.Topic("raw", group="g", rerun="skip") as raw:
        assert [(message.value, message.rerun) for message in raw.iterate(timeout=0)] == [(0, True), (1, False)]


def test_words_that_rerun_does_not_know_are_refused(kafka: MemoryKafka) -> None:
    with pytest.raises(kirby.KirbyError, match='"accept", "skip" or "only"'):
        kirby.Topic("raw", rerun="never")  # type: ignore[arg-type]
    with pytest.raises(kirby.KirbyError, match='"hold" or "allow"'):
        kirby.effect("a mail", rerun="never")  # type: ignore[arg-type]


def test_what_is_held_back_travels_between_processes() -> None:
    assert str(pickle.loads(pickle.dumps(HeldBack("a mail")))) == str(HeldBack("a mail"))


def keys(kafka: MemoryKafka, make: Callable[[], None]) -> list[str]:
    """The effect keys of a second processor, for what the first one makes of `raw`."""
    make()
    with kirby.Topic("out", group=f"sink-{len(kafka.values('out'))}") as out:
        return [kirby.ctx.effect_key() for _ in out.iterate(timeout=0)]


@pytest.mark.parametrize("headers", [LIVE, {}])
def test_a_re_run_makes_the_same_keys(
    kafka: MemoryKafka, monkeypatch: pytest.MonkeyPatch, headers: dict[str, bytes]
) -> None:
    for number in range(3):
        kafka.add("raw", number, headers=headers | ({} if not headers else {"kirby": _born(number)}))
    monkeypatch.setenv("KIRBY_JOB", "sink")

    def make() -> None:
        with kirby.Topic("raw") as raw, kirby.Topic("out") as out:
            for message in raw.iterate(timeout=0):
                out.send(message.value)

    once = keys(kafka, make)
    both = keys(kafka, make)
    assert both == once * 2
    assert len(set(once)) == 3


def test_without_a_message_the_key_is_that_of_the_due_time(kafka: MemoryKafka, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KIRBY_RUN_ID", raising=False)
    monkeypatch.delenv("KIRBY_DUE_AT", raising=False)
    with pytest.raises(kirby.KirbyError, match="needs a message in hand"):
        kirby.ctx.effect_key()
    monkeypatch.setenv("KIRBY_DUE_AT", "2026-03-01T12:00:00Z")
    assert kirby.ctx.effect_key() == kirby.ctx.effect_key() != kirby.ctx.effect_key(1)


def _born(number: int) -> bytes:
    return lineage.begin(bytes([number] * 16), HOP)


class _Session:
    def get(self, url: str) -> object:
        return type("Answer", (), {"status_code": 200, "json": lambda self: "got"})()

    def post(self, url: str) -> object:
        raise AssertionError("it was to be held back")
