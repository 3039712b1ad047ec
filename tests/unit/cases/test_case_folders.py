"""Folders of messages: what they say, and what is told of those that don't."""

from datetime import UTC, datetime
from pathlib import Path

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from kirby.testing import MemoryRecord, Sent
from kirby.testing.case import find_cases, read_case
from kirby.testing.folders import BadFolder, read_messages, read_topics, sent, write_messages

AT = datetime(2026, 1, 1, 12, tzinfo=UTC)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)
MESSAGES = st.builds(
    Sent,
    VALUES | st.binary(min_size=1),
    key=st.none() | st.text(),
    headers=st.dictionaries(st.text(min_size=1), st.text() | st.binary(min_size=1), max_size=2),
    timestamp=st.none() | st.just(AT),
)


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@settings(max_examples=25, deadline=None)
@given(messages=st.lists(MESSAGES, max_size=25))
def test_what_is_written_is_read_again(messages: list[Sent], tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("topic")
    assert write_messages(folder, messages) == len(messages)
    assert read_messages(folder) == messages


def test_many_messages_are_lines_of_one_file_and_few_are_files(tmp_path: Path) -> None:
    write_messages(tmp_path, [Sent(n) for n in range(21)])
    assert [path.name for path in tmp_path.iterdir()] == ["messages.jsonl"]
    write_messages(tmp_path, [Sent(1), Sent(2)])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["001.json", "002.json"]


def test_a_record_is_shown_without_the_headers_of_kirby() -> None:
    headers = (("kirby", b"\x01"), ("content-type", b"application/json"), ("source", b"met"), ("raw", b"\xff"))
    record = MemoryRecord("t", 0, 0, b"Seattle", b'{"celsius":11.4}', headers, 1767268800000)
    shown = sent(record)
    assert shown == Sent({"celsius": 11.4}, key="Seattle", headers={"source": "met", "raw": b"\xff"}, timestamp=AT)


def test_msgpack_stands_as_json_with_its_content_type() -> None:
    told = Sent({"celsius": 11.4}, headers={"content-type": "application/msgpack"})
    value, key, headers = told.encoded()
    assert msgpack.unpackb(value) == {"celsius": 11.4}
    record = MemoryRecord("t", 0, 0, key, value, tuple((n, v) for n, v in headers if isinstance(v, bytes)))
    assert sent(record).as_json()["value"] == {"celsius": 11.4}


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("001.json", '{\n  "value": {\n    "celsius": 11.4,,\n  }\n}', "001.json:3: not JSON ("),
        ("001.jsonl", '{"value": 1}\n\n{"value": }\n', "001.jsonl:3: not JSON ("),
        ("001.json", '{"vlaue": 1}', "001.json: unknown field 'vlaue': a message has key, value, base64, headers"),
        ("001.jsonl", '{"value": 1}\n{"keys": 1}\n', "001.jsonl:2: unknown field 'keys'"),
        ("001.json", "[1]", "001.json: a message is an object with key, value"),
        ("001.json", '{"key": 1}', "001.json: key is text, not 1"),
        ("001.json", '{"base64": "?"}', "001.json: "),
        ("001.json", '{"headers": {"a": 1}}', "001.json: the header 'a' is text or"),
        ("001.json", '{"timestamp": "2026-01-01T12:00:00"}', "has no zone: write 2026-01-01T12:00:00Z"),
        ("001.json", '{"timestamp": "noon"}', "001.json: Invalid isoformat string: 'noon'"),
        ("001.txt", "{}", "001.txt: messages are in files that end in .json or .jsonl"),
    ],
)
def test_a_bad_message_is_told_by_file_and_line(name: str, text: str, told: str, tmp_path: Path) -> None:
    write(tmp_path / "topics" / "weather.raw" / name, text)
    with pytest.raises(BadFolder) as raised:
        read_topics(tmp_path / "topics")
    assert told in str(raised.value)
    assert str(tmp_path / "topics" / "weather.raw" / name) in str(raised.value)


def test_a_message_beside_the_topics_folders_is_told(tmp_path: Path) -> None:
    write(tmp_path / "001.json", "{}")
    with pytest.raises(BadFolder, match="a topic is a folder: put the message into a folder with the topic's name"):
        read_topics(tmp_path)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("script = ", "not TOML: "),
        ('scirpt = "a.py"', "unknown setting 'scirpt': there are args, env, exit"),
        ("args = [1]", "args is a list of texts"),
        ('timeout = "long"', "timeout is a number of seconds, not 'long'"),
        ("now = 2026-01-01T12:00:00", "now has no zone: write 2026-01-01T12:00:00Z"),
        ("now = 12", "now is a time such as 2026-01-01T12:00:00Z, not 12"),
        ("exit = true", "exit is a whole number, not True"),
    ],
)
def test_a_bad_setting_is_told(text: str, told: str, tmp_path: Path) -> None:
    write(tmp_path / "case.toml", text)
    with pytest.raises(BadFolder) as raised:
        read_case(tmp_path)
    assert str(raised.value).startswith(f"{tmp_path}/case.toml: ")
    assert told in str(raised.value)


def test_a_bad_state_and_a_bad_recording_are_told(tmp_path: Path) -> None:
    write(tmp_path / "states" / "prices.json", "[1]")
    with pytest.raises(BadFolder, match="a State is an object: its keys and their values"):
        read_case(tmp_path)
    write(tmp_path / "states" / "prices.json", "{}")
    write(tmp_path / "web" / "001.json", '{"request": {"method": "GET"}}')
    with pytest.raises(BadFolder, match="a recording is"):
        read_case(tmp_path)


def test_cases_are_found_below_a_folder_and_not_in_each_other(tmp_path: Path) -> None:
    write(tmp_path / "a" / "case.toml", "")
    write(tmp_path / "a" / "inner" / "case.toml", "")
    write(tmp_path / "b" / "c" / "topics" / "weather.raw" / "001.json", "{}")
    write(tmp_path / ".venv" / "case.toml", "")
    assert [path.relative_to(tmp_path).as_posix() for path in find_cases(tmp_path)] == ["a", "b/c"]


def test_the_script_is_the_case_s_or_its_package_s_only_command(tmp_path: Path) -> None:
    write(tmp_path / "pyproject.toml", '[project.scripts]\nweather = "weather:main"\n')
    write(tmp_path / "tests" / "a" / "case.toml", "")
    write(tmp_path / "tests" / "b" / "case.toml", 'script = "../../weather.py"\n')
    of_package, of_case = read_case(tmp_path / "tests" / "a"), read_case(tmp_path / "tests" / "b")
    assert (of_package.given.script, of_package.given.root) == ("weather:main", tmp_path)
    assert (of_case.given.script, of_case.given.root) == ("../../weather.py", tmp_path / "tests" / "b")
