"""Which outputs of a shadow rewind belong to which of before: pure."""

from kirby import lineage
from kirby.replaying.ports import Copied
from kirby.shadowing.comparing import Compared, Output, Process, Stretches, compare, may_count, output_of

LIVE, LATER, SHADOW, OTHER = b"live0001", b"live0002", b"shadow01", b"other001"
RAW: Stretches = {("raw", 0): (10, 20)}
JOB = Process("daily", "prod", "raw")
KNOWN = {LIVE: JOB, LATER: JOB, SHADOW: JOB, OTHER: Process("hourly", "prod", "raw")}


def made(process: bytes, value: str, source: int | None, *, at: int = 0, key: str = "k", partition: int = 0) -> Output:
    hop = lineage.pack_hop(process, lineage.NO_INPUT if source is None else partition, source if source else -1)
    header = lineage.begin(bytes(16), hop)
    copied = Copied(0, at, key.encode(), value.encode(), [("kirby", header)], at)
    output = output_of(copied)
    assert output is not None
    return output


def counts(found: Compared) -> tuple[int, int, int, int]:
    return found.same, found.changed, found.only_original, found.only_shadow


def against(originals: list[Output], shadows: list[Output], stretches: Stretches = RAW, **known: Process) -> Compared:
    told = KNOWN | {name.encode(): process for name, process in known.items()}
    return compare(originals, shadows, stretches, known=told, job="daily", env="prod")


def test_what_kirby_did_not_write_was_not_made_by_the_job() -> None:
    assert output_of(Copied(0, 0, None, b"1", [], 0)) is None
    assert output_of(Copied(0, 0, None, b"1", [("kirby", b"forged")], 0)) is None


def test_a_deletion_is_no_empty_message() -> None:
    header = [("kirby", lineage.begin(bytes(16), lineage.pack_hop(LIVE, 0, 11)))]
    deleted, empty = (output_of(Copied(0, 0, b"k", value, header, 0)) for value in (None, b""))
    assert deleted is not None
    assert empty is not None
    assert deleted.digest != empty.digest


def test_only_what_the_range_made_may_count() -> None:
    assert may_count(made(LIVE, "a", 10), RAW)
    assert may_count(made(LIVE, "a", None), RAW)
    assert not may_count(made(LIVE, "a", 20), RAW)
    assert not may_count(made(LIVE, "a", 12, partition=1), RAW)


def test_several_of_one_message_are_held_against_each_other_in_any_order() -> None:
    originals = [made(LIVE, "a", 11, at=1), made(LIVE, "b", 11, at=2), made(LIVE, "c", 11, at=3)]
    shadows = [made(SHADOW, "c", 11, at=1), made(SHADOW, "a", 11, at=2), made(SHADOW, "x", 11, at=3)]
    assert counts(against(originals, shadows)) == (2, 1, 0, 0)
    assert counts(against(originals, shadows[:2])) == (2, 0, 1, 0)
    assert counts(against(originals[:1], shadows)) == (1, 0, 0, 2)


def test_of_two_processes_that_made_it_the_later_counts() -> None:
    twice = [made(LIVE, "old", 11, at=1), made(LATER, "new", 11, at=5)]
    assert counts(against(twice, [made(SHADOW, "new", 11)])) == (1, 0, 0, 0)
    assert counts(against(twice, [made(SHADOW, "old", 11)])) == (0, 1, 0, 0)


def test_what_other_jobs_made_of_the_same_message_is_left_out() -> None:
    assert counts(against([made(OTHER, "theirs", 11)], [made(SHADOW, "ours", 11)])) == (0, 0, 0, 1)


def test_two_topics_with_the_same_offsets_are_held_apart() -> None:
    both: Stretches = {("raw", 0): (10, 20), ("extra", 0): (10, 20)}
    extra = Process("daily", "prod", "extra")
    originals = [made(LIVE, "r", 11, at=1), made(b"live_ext", "e", 11, at=9)]
    shadows = [made(SHADOW, "r", 11, at=1), made(b"shad_ext", "e", 11, at=9)]
    known = {"live_ext": extra, "shad_ext": extra}
    assert counts(against(originals, shadows, both, **known)) == (2, 0, 0, 0)
    assert counts(against(originals[1:], shadows, RAW, **known)) == (0, 0, 0, 1), (
        "of what was not rewound nothing counts"
    )


def test_who_has_not_announced_itself_has_read_the_one_topic_there_is() -> None:
    unknown = b"unknown1"
    assert counts(against([made(unknown, "a", 11)], [made(SHADOW, "a", 11)])) == (1, 0, 0, 0)
    both: Stretches = {**RAW, ("extra", 0): (10, 20)}
    assert counts(against([made(unknown, "a", 11)], [made(SHADOW, "a", 11)], both)) == (1, 0, 0, 0)


def test_those_of_several_messages_belong_together_by_key_and_later_originals_do_not_count() -> None:
    originals = [made(LIVE, value, None, at=at, key="k") for at, value in enumerate(("a", "b", "later"))]
    shadows = [made(SHADOW, value, None, at=at, key="k") for at, value in enumerate(("a", "x"))]
    found = against(originals, [*shadows, made(SHADOW, "new", None, key="n")])
    assert counts(found) == (1, 1, 0, 1)
    assert [(e.kind, e.key, e.original, e.shadow) for e in found.examples] == [
        ("changed", b"k", (0, 1), (0, 1)),
        ("only_shadow", b"n", None, (0, 0)),
    ]


def test_of_each_kind_there_are_a_few_examples() -> None:
    found = against([], [made(SHADOW, "a", source) for source in range(10, 20)])
    assert (found.only_shadow, len(found.examples)) == (10, 5)
