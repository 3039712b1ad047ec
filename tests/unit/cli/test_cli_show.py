"""Tables for people, JSON for programs."""

import json
from typing import Any

import pytest
from kirby.cli.show import Column, cell, print_item, print_items

COLUMNS: list[Column] = [("NAME", "name"), ("WHAT", lambda row: row["what"]["deep"])]


def test_a_table_is_aligned_and_survives_a_missing_field(capsys: pytest.CaptureFixture[str]) -> None:
    rows: list[dict[str, Any]] = [{"name": "long-name", "what": {"deep": ["a", "b"]}}, {"name": "x"}]
    print_items(rows, COLUMNS, output="table", none="Nothing.")
    assert capsys.readouterr().out == "NAME       WHAT\nlong-name  a, b\nx          ?\n"


def test_json_is_what_the_api_said(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"name": "é", "what": None}]
    print_items(rows, COLUMNS, output="json", none="Nothing.")
    assert json.loads(capsys.readouterr().out) == rows


def test_nothing_is_said_where_it_does_not_spoil_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    print_items([], COLUMNS, output="table", none="Nothing.")
    assert capsys.readouterr() == ("", "Nothing.\n")
    print_items([], COLUMNS, output="json", none="Nothing.")
    assert capsys.readouterr() == ("[]\n", "")


def test_one_thing_is_a_line_for_each_field(capsys: pytest.CaptureFixture[str]) -> None:
    print_item({"name": "x", "paused": False, "labels": {"team": "a"}}, output="table")
    assert capsys.readouterr().out == "name    x\npaused  no\nlabels  team=a\n"


@pytest.mark.parametrize(
    ("value", "text"), [(None, ""), ([], ""), (1.5, "1.5"), (True, "yes"), ("two\nlines", "two lines"), (0, "0")]
)
def test_cells(value: object, text: str) -> None:
    assert cell(value) == text
