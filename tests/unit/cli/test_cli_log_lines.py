"""Following a log over breaks: each line once, in order, until the end."""

from typing import Any

import pytest
from kirby.cli.client import Client
from kirby.cli.errors import CommandError
from kirby.cli.log_lines import Ended, follow, follow_all, stored, text_of
from kirby.cli.suite import Suite

from tests.unit.cli.stub_api import Answer, Asked, events, json_answer, stub_api

RUN = {"run_id": "r", "status": "SUCCEEDED", "job": "j", "env": "e"}


def line(n: int) -> dict[str, Any]:
    return {"n": n, "id": f"1.{n}", "text": f"line {n}", "stream": "stdout", "t": "2026-01-01T00:00:00Z", "cut": 0}


def sse(*parts: tuple[str, Any], cut: bool = False) -> Answer:
    return Answer(200, b": ping\r\n\r\n" + events(*parts), "text/event-stream", cut=cut)


def test_lines_go_on_where_they_broke_off(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("kirby.cli.event_stream._BREATH_S", 0)
    answers = [
        sse(("line", line(1)), ("lines", [line(2), line(3)]), cut=True),
        Answer(503, b"", "text/plain"),
        json_answer({"detail": "the database can't be reached now"}, status=503),
        sse(("line", line(4)), ("gap", {"grant": 1, "reason": "missing"}), ("end", RUN)),
    ]
    with stub_api(lambda _: answers.pop(0)) as stub, Client(Suite(stub.url, "t")) as client:
        lines = follow(client, "r", level="INFO")
        assert [next(lines)["n"] for _ in range(4)] == [1, 2, 3, 4]
        with pytest.raises(Ended) as caught:
            next(lines)
    assert caught.value.run == RUN
    assert [a.path.partition("?")[2] for a in stub.asked] == [
        "level=INFO",
        "level=INFO&after=1.3",
        "level=INFO&after=1.3",
        "level=INFO&after=1.3",
    ]
    told = capsys.readouterr().err
    assert told.count("Trying again") == 1
    assert "lines are missing here (grant 1, reason missing)" in told


def test_all_runs_go_on_behind_the_last_event(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kirby.cli.event_stream._BREATH_S", 0)
    answers = [
        Answer(200, b"id: 0:7\r\n" + events(("lines", [line(1), line(2)])), "text/event-stream", cut=True),
        sse(("line", line(3))),
    ]
    with stub_api(lambda _: answers.pop(0)) as stub, Client(Suite(stub.url, "t")) as client:
        lines = follow_all(client, job="j", env=None, level=None, backlog=5)
        assert [next(lines)["n"] for _ in range(3)] == [1, 2, 3]
    assert [a.path.partition("?")[2] for a in stub.asked] == ["job=j&backlog=5", "job=j"]
    assert stub.asked[1].headers["Last-Event-ID"] == "0:7"


def test_what_is_refused_is_not_tried_again() -> None:
    problem = {"detail": "there is no run r"}
    with stub_api(lambda _: json_answer(problem, status=404)) as stub, Client(Suite(stub.url, "t")) as client:
        with pytest.raises(CommandError, match="there is no run r"):
            next(follow(client, "r"))
        assert len(stub.asked) == 1


def test_stored_lines_come_page_by_page() -> None:
    def answer(asked: Asked) -> Answer:
        second = "after=1.2" in asked.path
        items = [line(3)] if second else [line(1), line(2)]
        return json_answer({"items": items, "next": None if second else "1.2", "complete": True, "gaps": []})

    with stub_api(answer) as stub, Client(Suite(stub.url, "t")) as client:
        assert [found["n"] for found in stored(client, "r", tail=None, level=None)] == [1, 2, 3]


def test_a_very_long_line_says_what_is_left_out() -> None:
    assert text_of(line(1) | {"cut": 9}) == "line 1 … (9 bytes more)"
