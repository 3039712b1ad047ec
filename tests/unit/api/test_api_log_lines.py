"""Frames to lines: numbers, open lines, gaps, repeats; and the levels that lines show."""

import pytest
from kirby_api.logs.events import run_events
from kirby_api.logs.levels import LevelReader, at_least
from kirby_api.logs.lines import Assembler, Gap, Line, stamp
from kirby_api.logs.pages import LineFilter
from kirby_api.logs.position import Position, format_position, parse_position
from kirby_common.logchunks import CONT, END, OPEN, STDERR, STDOUT, Frame


def frame(seq: int, payload: bytes, *, line: int, flags: int = 0, cont: int = 0, stream: int = STDOUT) -> Frame:
    begins = len(payload.removesuffix(b"\n").split(b"\n")) - bool(flags & CONT) if payload else 0
    return Frame(seq, 1_700_000_000_000_000_000 + seq, line, cont, begins, stream, flags, payload)


def fed(assembler: Assembler, *frames: Frame) -> list[Line | Gap]:
    return [item for f in frames for item in assembler.feed(f)]


def shown(items: list[Line | Gap]) -> list[tuple[int, str]]:
    return [(i.n, i.text) for i in items if isinstance(i, Line)]


def test_lines_are_numbered_over_both_streams() -> None:
    made = fed(Assembler(1), frame(0, b"a\nb\n", line=1), frame(1, b"c\n", line=3, stream=STDERR))
    assert shown(made) == [(1, "a"), (2, "b"), (3, "c")]
    assert [i.stream for i in made if isinstance(i, Line)] == ["stdout", "stdout", "stderr"]


def test_a_line_in_pieces_is_given_when_it_ends() -> None:
    assembler = Assembler(1)
    assert shown(fed(assembler, frame(0, b"one\ntw", line=1, flags=OPEN))) == [(1, "one")]
    assert [(line.n, line.text, line.open) for line in assembler.unfinished()] == [(2, "tw", True)]
    assert shown(fed(assembler, frame(1, b"err\n", line=3, stream=STDERR))) == [(3, "err")]
    assert shown(fed(assembler, frame(2, b"o\n", line=4, flags=CONT, cont=2))) == [(2, "two")]


def test_the_end_closes_what_is_open() -> None:
    assembler = Assembler(1)
    made = fed(assembler, frame(0, b"no end", line=1, flags=OPEN), frame(1, b"", line=2, flags=END))
    assert shown(made) == [(1, "no end")]
    assert assembler.ended


def test_a_repeated_frame_gives_nothing_and_a_missing_one_is_a_gap() -> None:
    assembler = Assembler(2)
    made = fed(assembler, frame(0, b"a\n", line=1), frame(0, b"a\n", line=1), frame(3, b"d\n", line=9))
    assert shown(made) == [(1, "a"), (9, "d")]
    assert [i for i in made if isinstance(i, Gap)] == [Gap(2, 1, 2)]


def test_a_very_long_line_is_cut_and_says_so() -> None:
    assembler = Assembler(1, max_line=10)
    made = fed(
        assembler, frame(0, b"x" * 8, line=1, flags=OPEN), frame(1, b"y" * 8 + b"\n", line=2, flags=CONT, cont=1)
    )
    assert [(i.form()["text"], i.form()["cut"]) for i in made if isinstance(i, Line)] == [("xxxxxxxxyy", 6)]


def test_bytes_that_are_no_text_are_shown_as_such() -> None:
    made = fed(Assembler(1), frame(0, b"caf\xe9\r\n", line=1))
    assert shown(made) == [(1, "caf�")]


def test_time_is_told_to_the_microsecond() -> None:
    assert stamp(1_700_000_000_123_456_789) == "2023-11-14T22:13:20.123456Z"


@pytest.mark.parametrize(
    ("line", "level"),
    [
        ("INFO:root:hello", "INFO"),
        ("2026-11-21 10:00:00,123 my.module WARNING low on disk", "WARNING"),
        ("[ERROR] no", "ERROR"),
        ("[2026-11-21] CRITICAL:x:y", "CRITICAL"),
        ("2026-11-21T10:00:00Z [warning  ] structlog event", "WARNING"),
        ("ts=1 level=debug msg=hi", "DEBUG"),
        ('{"event": "x", "level": "error"}', "ERROR"),
        ('{"levelname": "WARNING"}', "WARNING"),
        ('{"level": 40}', "ERROR"),
        ('{"broken', None),
        ("There was no ERROR at all", None),
        ("INFORMATION is power", None),
        ("hello", None),
        ("", None),
    ],
)
def test_levels(line: str, level: str | None) -> None:
    assert LevelReader().level(line.encode()) == level


def test_a_traceback_is_an_error_until_its_last_line() -> None:
    reader = LevelReader()
    text = (
        'Traceback (most recent call last):\n  File "x.py", line 1\n    1/0\nZeroDivisionError: division by zero\nnext'
    )
    assert [reader.level(line.encode()) for line in text.split("\n")] == ["ERROR"] * 4 + [None]


def test_a_level_and_those_above() -> None:
    assert at_least("warn") == {"WARNING", "ERROR", "CRITICAL"}
    with pytest.raises(ValueError, match="unknown"):
        at_least("loud")


def test_events_carry_the_position_behind_their_lines() -> None:
    items = fed(Assembler(1), frame(0, b"".join(b"%d\n" % n for n in range(1200)), line=1))
    given: Position = {}
    events = [e.decode() for e in run_events(items, wanted=LineFilter(), given=given)]
    assert [e.split("\r\n")[0] for e in events] == ["id: 1.0.499", "id: 1.0.999", "id: 1.0.1199"]
    assert parse_position(format_position(given)) == {1: (0, 1199)}
