"""Failpoints: all of them are listed in one place, and each is hit by a test."""

import re
from pathlib import Path

import pytest
from kirby_common import failpoints
from kirby_common.failpoints import POINTS, BadFailpoint

ROOT = Path(__file__).parents[3]
_HIT = re.compile(r'failpoints\.hit\(\s*f?"([\w.]+)')
_FAMILY = re.compile(r'_hit_each\(\s*"([\w.]+)"')
_SHIM_HIT = re.compile(r'self\._hit\("(\w+)"\)')


def test_every_failpoint_in_the_code_is_listed_and_the_other_way_round() -> None:
    sources = [p.read_text() for folder in ("libs", "services") for p in (ROOT / folder).glob("*/src/**/*.py")]
    names = {name for text in sources for name in _HIT.findall(text)} - {"shim."}
    names |= {f"shim.{name}" for text in sources for name in _SHIM_HIT.findall(text)}
    names |= {f"{name}.*" for text in sources for name in _FAMILY.findall(text)}
    assert {f"{name}*" if name.endswith(".") else name for name in names} == set(POINTS)


def test_every_failpoint_is_hit_by_a_test() -> None:
    """By one that arms it; what comes of it is asserted there."""
    tests = "\n".join(p.read_text() for p in (ROOT / "tests").glob("**/test_*.py") if p != Path(__file__))
    assert [name for name in POINTS if f'"{name.removesuffix("*")}' not in tests] == []


def test_an_unknown_failpoint_is_refused() -> None:
    with pytest.raises(BadFailpoint, match=r"there is no failpoint 'tick\.sometime'"):
        failpoints.arm({"TESTING": "1", "KIRBY_FAILPOINT": "tick.sometime:kill9"})
