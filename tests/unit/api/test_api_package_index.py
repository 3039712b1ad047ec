"""Two uploads of one file at once: the index takes the first, and both are told that it is there."""

import hashlib
from collections.abc import Sequence

import httpx2
import pytest
from kirby_api.packages.distribution import read_distribution
from kirby_api.packages.index import Outcome, PackageIndex
from kirby_api.problems import Conflict
from kirby_api.settings import ApiSettings

SCRIPT = read_distribution("hello.py", b"print('hi')\n")
SETTINGS = ApiSettings(
    sqlalchemy_database_uri="postgresql://u:p@127.0.0.1/x", secret_key="0123456789abcdef",
    security_password_salt="pepper for tests", kirby_package_index_url="http://index/simple/",
)  # fmt: skip


class RacedIndex(httpx2.AsyncBaseTransport):
    """Has no such file when it is first asked, refuses the upload, and then shows one digest after the other."""

    def __init__(self, digests: Sequence[str]) -> None:
        self._digests = list(digests)
        self._refused = False

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        if request.method == "POST":
            self._refused = True
            return httpx2.Response(409, request=request)
        if not self._refused:
            return httpx2.Response(404, request=request)
        digest = self._digests.pop(0) if len(self._digests) > 1 else self._digests[0]
        link = f'<a href="/packages/{SCRIPT.filename}#sha256={digest}">x</a>'
        return httpx2.Response(200, text=link, request=request)


async def upload(*digests: str) -> Outcome:
    async with httpx2.AsyncClient(transport=RacedIndex(digests)) as client:
        return await PackageIndex(client, SETTINGS).upload(SCRIPT)


async def test_the_same_file_by_another_at_the_same_moment_is_fine() -> None:
    assert await upload(SCRIPT.sha256) is Outcome.SAME


async def test_a_file_that_is_still_being_written_is_looked_at_again() -> None:
    assert await upload(hashlib.sha256(b"half").hexdigest(), SCRIPT.sha256) is Outcome.SAME


async def test_another_file_of_that_name_is_a_conflict() -> None:
    with pytest.raises(Conflict, match="with other content; give it a new version"):
        await upload(hashlib.sha256(b"other").hexdigest())
