"""What `import kirby` gives, and what it costs."""

import subprocess
import sys

import kirby


def test_every_public_name_is_there() -> None:
    for name in kirby.__all__:
        assert getattr(kirby, name) is not None
    assert set(kirby.__all__) <= set(dir(kirby))


def test_an_unknown_name_is_an_attribute_error() -> None:
    assert not hasattr(kirby, "Topik")


def test_importing_kirby_loads_no_driver() -> None:
    code = (
        "import sys, kirby; print([m for m in ('confluent_kafka', 'orjson', 'cyclopts', 'httpx2') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
