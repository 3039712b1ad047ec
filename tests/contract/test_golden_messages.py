"""Messages that were once written must decode for ever, and keep every field they had."""

import json
from datetime import datetime
from pathlib import Path
from typing import Any, get_args

import pytest
from kirby_common.messages import MAX_MESSAGE_BYTES, BadMessage, Envelope, decode, encode

GOLDEN = sorted((Path(__file__).parents[1] / "golden" / "messages").glob("*.json"))


def types() -> set[str]:
    union, *_ = get_args(Envelope)
    return {member.model_fields["type"].default for member in get_args(union)}


def assert_holds(found: Any, expected: Any, *, where: str) -> None:
    """Everything expected is in what was found; what is new there does not matter."""
    if isinstance(expected, dict):
        assert isinstance(found, dict), where
        for name, value in expected.items():
            assert name in found, f"{where}.{name} is gone"
            assert_holds(found[name], value, where=f"{where}.{name}")
    elif isinstance(expected, str) and expected.endswith("Z") and "T" in expected:
        assert datetime.fromisoformat(found) == datetime.fromisoformat(expected), where
    else:
        assert found == expected, where


@pytest.mark.parametrize("file", GOLDEN, ids=lambda file: file.stem)
def test_it_decodes_and_keeps_what_it_had(file: Path) -> None:
    written = json.loads(file.read_text())
    message = decode(file.read_bytes())
    assert message.type == written["type"]
    assert_holds(message.model_dump(mode="json"), written, where=file.stem)
    assert decode(encode(message)) == message


def test_every_type_of_message_has_a_golden_file() -> None:
    assert {file.name.split("-")[0].removesuffix(".json") for file in GOLDEN} == types()


@pytest.mark.parametrize("file", GOLDEN, ids=lambda file: file.stem)
def test_fields_of_later_versions_are_passed_over(file: Path) -> None:
    written = json.loads(file.read_text())
    later = written | {"traceparent": "00-…", "data": written["data"] | {"field_of_later": {"x": 1}}}
    assert decode(json.dumps(later).encode()) == decode(file.read_bytes())


@pytest.mark.parametrize("file", GOLDEN, ids=lambda file: file.stem)
def test_another_version_or_a_missing_field_is_refused_in_one_sentence(file: Path) -> None:
    written = json.loads(file.read_text())
    unknown = written | {"type": written["type"].replace(".v1", ".v99")}
    nothing = written | {"data": {}}
    for broken in (unknown, nothing, [written], None, 5):
        with pytest.raises(BadMessage) as refused:
            decode(json.dumps(broken).encode())
        assert "\n" not in str(refused.value)
        assert str(refused.value).startswith("not a Kirby message: ")


def test_a_message_too_large_is_not_even_parsed() -> None:
    with pytest.raises(BadMessage, match="bytes, more than"):
        decode(b" " * (MAX_MESSAGE_BYTES + 1))
