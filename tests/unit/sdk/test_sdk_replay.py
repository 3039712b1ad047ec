"""Replays with Kafka in memory: what is copied, what is refused, and that one who was killed doubles nothing."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
from kirby import lineage
from kirby.errors import OutsideRetention
from kirby.replaying.copying import Tally, replay
from kirby.replaying.folder import FolderTarget
from kirby.replaying.kafka import KafkaSource, KafkaTarget, refuse_unsafe
from kirby.replaying.ports import Copied, Extent, ReplayRefused, Site, Target
from kirby.testing import MemoryKafka

NOON_MS = round(datetime(2026, 3, 1, 12, tzinfo=UTC).timestamp() * 1000)


@pytest.fixture
def source() -> MemoryKafka:
    kafka = MemoryKafka()
    kafka.create("raw", partitions=2)
    for number in range(10):
        kafka.add("raw", {"n": number}, key=f"k{number}", at_ms=NOON_MS + number * 1000, partition=number % 2)
    return kafka


class Killed(Exception):
    pass


class KilledAfter:
    """A target that dies after so many `put`s."""

    def __init__(self, target: Target, puts: int) -> None:
        self._target = target
        self._left = puts
        self.begin = target.begin
        self.close = target.close

    def put(self, extent: Extent, partition: int, records: Sequence[Copied], following: int) -> None:
        if self._left == 0:
            raise Killed
        self._left -= 1
        self._target.put(extent, partition, records, following)


def copy(source: MemoryKafka, target: Target, **more: object) -> Tally:
    said = {"since": None, "until": None, "rate": None, "told": lambda tally: None} | more
    (tally,) = replay(KafkaSource(source), target, ["raw"], **said)  # type: ignore[arg-type]
    return tally


def to_kafka(target: MemoryKafka, *, again: bool = False, flag: bool = True) -> KafkaTarget:
    return KafkaTarget(target, prefix="test.", origin="prod", again=again, flag=flag)


def test_another_environment_gets_the_same_messages_flagged(source: MemoryKafka) -> None:
    target = MemoryKafka()
    tally = copy(source, to_kafka(target))
    assert (tally.copied, tally.total, tally.passed) == (10, 10, 10)
    assert target.values("test.raw") == source.values("raw")
    for theirs, ours in zip(source.records("raw"), target.records("test.raw"), strict=True):
        assert (ours.partition(), ours.key(), ours.timestamp()) == (
            theirs.partition(),
            theirs.key(),
            theirs.timestamp(),
        )
        known = lineage.unpack(dict(ours.headers() or [])["kirby"] or b"")
        assert known is not None
        assert (known.rerun, known.origin, known.hops[-1].offset) == (True, "prod", theirs.offset())


def test_what_is_to_count_as_live_is_not_flagged(source: MemoryKafka) -> None:
    target = MemoryKafka()
    copy(source, to_kafka(target, flag=False))
    assert not lineage.is_rerun(dict(target.records("test.raw")[0].headers() or [])["kirby"] or b"")


def test_one_that_was_killed_goes_on_and_doubles_nothing(source: MemoryKafka) -> None:
    target = MemoryKafka()
    with pytest.raises(Killed):
        copy(source, KilledAfter(to_kafka(target), 1))
    assert len(target.values("test.raw")) == 5
    tally = copy(source, to_kafka(target))
    assert (tally.copied, tally.before) == (5, 5)
    assert target.values("test.raw") == source.values("raw")
    source.add("raw", {"n": 10}, partition=0)
    assert copy(source, to_kafka(target)).copied == 1
    assert copy(source, to_kafka(target, again=True)).copied == 11


def test_a_gentle_one_goes_in_small_pieces_and_copies_the_same(source: MemoryKafka) -> None:
    target, seen = MemoryKafka(), []
    copy(source, to_kafka(target), rate=1000.0, told=lambda tally: seen.append(tally.passed))
    copy_of_slow = MemoryKafka()
    copy(source, to_kafka(copy_of_slow), rate=100.0)
    assert target.values("test.raw") == copy_of_slow.values("test.raw") == source.values("raw")
    assert seen[-1] == 10


def test_a_range_of_time(source: MemoryKafka) -> None:
    target = MemoryKafka()
    since, until = (datetime.fromtimestamp(NOON_MS / 1000 + seconds, UTC) for seconds in (3, 7))
    assert copy(source, to_kafka(target), since=since, until=until).copied == 4
    assert sorted(value["n"] for value in target.values("test.raw")) == [3, 4, 5, 6]
    with pytest.raises(ReplayRefused, match="raw has no message of that time"):
        copy(source, to_kafka(target), since=datetime(2026, 4, 1, tzinfo=UTC))


def test_what_a_target_can_not_take_is_refused(source: MemoryKafka) -> None:
    target = MemoryKafka()
    target.create("test.raw", partitions=3)
    with pytest.raises(ReplayRefused, match=r"test\.raw has 3 partitions and its source 2"):
        copy(source, to_kafka(target))
    short = MemoryKafka()
    short.create("test.raw", partitions=2, config={"retention.ms": "60000"})
    with pytest.raises(OutsideRetention):
        copy(source, to_kafka(short))
    with pytest.raises(ReplayRefused, match="there is no topic raw"):
        copy(MemoryKafka(), to_kafka(target))


@pytest.mark.parametrize(
    ("env", "target", "why"),
    [
        ("prod", Site("c2", "x."), "a replay into prod is refused"),
        ("preprod", Site("c1", ""), "it has the cluster and the prefix of prod"),
        ("test", Site("c0", "live."), "the messages come from there"),
    ],
)
def test_s9_a_replay_into_production_is_refused(env: str, target: Site, why: str) -> None:
    with pytest.raises(ReplayRefused, match=why):
        refuse_unsafe(target, env=env, production=Site("c1", ""), source=Site("c0", "live."))


def test_the_same_prefix_in_another_cluster_is_another_place() -> None:
    refuse_unsafe(Site("laptop", ""), env="dev", production=Site("c1", ""), source=Site("c1", ""))


def read(folder: Path) -> list[dict[str, object]]:
    files = sorted((folder / "topics" / "raw").iterdir())
    return [json.loads(line) for path in files for line in _messages(path)]


def _messages(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.suffix == ".jsonl" else [path.read_text()]


def test_a_folder_has_a_file_a_message(source: MemoryKafka, tmp_path: Path) -> None:
    copy(source, FolderTarget(tmp_path))
    found = read(tmp_path)
    assert found[0] == {"key": "k0", "value": {"n": 0}, "timestamp": "2026-03-01T12:00:00Z"}
    assert sorted(message["value"]["n"] for message in found) == list(range(10))  # type: ignore[index]
    assert (tmp_path / "topics" / "raw" / "000001.json").exists()


@pytest.mark.parametrize("count", [10, 300])
def test_a_folder_that_was_left_half_way_is_gone_on_with(source: MemoryKafka, tmp_path: Path, count: int) -> None:
    for number in range(10, count):
        source.add("raw", {"n": number}, partition=number % 2)
    with pytest.raises(Killed):
        copy(source, KilledAfter(FolderTarget(tmp_path), 1))
    progress = (tmp_path / ".replay.json").read_bytes()
    copy(source, FolderTarget(tmp_path))
    whole = read(tmp_path)
    assert sorted(message["value"]["n"] for message in whole) == list(range(count))  # type: ignore[index]
    # The last files were written, and the note of them was not.
    (tmp_path / ".replay.json").write_bytes(progress)
    copy(source, FolderTarget(tmp_path))
    assert read(tmp_path) == whole


def test_bytes_that_are_no_json_and_headers_are_kept(source: MemoryKafka, tmp_path: Path) -> None:
    kafka = MemoryKafka()
    kafka.add("raw", b"\xff\x00", headers={"source": b"met", "raw": b"\xff", "content-type": b"application/json"})
    kafka.add("raw", None, key="gone")
    copy(kafka, FolderTarget(tmp_path))
    first, second = sorted(read(tmp_path), key=lambda message: "key" in message)
    assert (first["base64"], first["headers"]) == ("/wA=", {"source": "met", "raw": {"base64": "/w=="}})
    assert (second["key"], second["value"]) == ("gone", None)


def test_a_folder_of_others_is_left_alone(source: MemoryKafka, tmp_path: Path) -> None:
    (tmp_path / "topics" / "raw").mkdir(parents=True)
    (tmp_path / "topics" / "raw" / "001.json").write_text("{}")
    with pytest.raises(ReplayRefused, match="has files that no replay made"):
        copy(source, FolderTarget(tmp_path))
