"""kirby.logger: the level shows at the start of every line."""

import doctest
import subprocess
import sys

import kirby._drain
import kirby._logging
import kirby.message


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stderr


def test_the_level_comes_first() -> None:
    assert run("import kirby; kirby.logger('weather').warning('late by %d s', 3)") == "WARNING weather: late by 3 s\n"


def test_the_level_asked_for_is_the_lowest_one_printed() -> None:
    code = "import kirby; log = kirby.logger('w', level='{}'); log.debug('seen'); log.info('told')"
    assert run(code.format("INFO")) == "INFO w: told\n"
    assert run(code.format("DEBUG")) == "DEBUG w: seen\nINFO w: told\n"


def test_a_scripts_own_logging_is_left_alone() -> None:
    code = "import logging, kirby; logging.basicConfig(format='%(message)s'); kirby.logger('w').warning('mine')"
    assert run(code) == "mine\n"


def test_the_examples_run() -> None:
    for module in (kirby._logging, kirby._drain, kirby.message):
        results = doctest.testmod(module)
        assert (results.failed, results.attempted > 0) == (0, True)
