"""The private index: uploads as twine makes them, and what is there already."""

import asyncio
import re
from dataclasses import dataclass
from enum import Enum
from hashlib import sha256
from urllib.parse import unquote, urljoin, urlsplit

import httpx2

from kirby_api.packages.distribution import Distribution
from kirby_api.problems import Broken, Conflict, Unavailable
from kirby_api.settings import ApiSettings

_LINK = re.compile(r"href\s*=\s*[\"']([^\"']+)[\"']", re.IGNORECASE)
_UPLOAD_TIMEOUT_S = 300
_LOOK_AGAIN_S = (0.1, 0.2, 0.4, 0.8)


class Outcome(Enum):
    NEW = "new"
    SAME = "same"


@dataclass(frozen=True)
class PackageIndex:
    """Raises `Unavailable` when it does not answer, `Broken` when it refuses without a reason of the user's."""

    http: httpx2.AsyncClient
    settings: ApiSettings

    @property
    def _auth(self) -> tuple[str, str] | None:
        password = self.settings.kirby_package_index_password
        if self.settings.kirby_package_index_username is None or password is None:
            return None
        return self.settings.kirby_package_index_username, password.get_secret_value()

    async def upload(self, dist: Distribution) -> Outcome:
        """Raises `Conflict` when there is a file of that name with other content."""
        there = await self._digest_of(dist)
        if there is not None:
            if there == dist.sha256:
                return Outcome.SAME
            raise Conflict(f"{dist.filename} is on the index already with other content; give it a new version")
        url = self.settings.upload_url
        if url is None:
            raise Unavailable("there is no private package index; set KIRBY_PACKAGE_INDEX_URL")
        files = {"content": (dist.filename, dist.content, "application/octet-stream")}
        answer = await self._ask("POST", url, data=dist.form(), files=files, timeout=_UPLOAD_TIMEOUT_S)
        if answer.status_code == 409:
            return await self._same_as_theirs(dist)
        if answer.status_code in (401, 403):
            raise Broken("the private index refuses our name and password; see KIRBY_PACKAGE_INDEX_USERNAME")
        if answer.status_code >= 400:
            raise Broken(f"the private index refuses {dist.filename}: {answer.status_code} {answer.text[:200]}")
        return Outcome.NEW

    async def _same_as_theirs(self, dist: Distribution) -> Outcome:
        """Somebody else uploaded a file of that name at the same moment. Raises `Conflict` unless it is the same.

        The index may list a file before all of it is written: what differs at first is looked at again.
        """
        for pause in _LOOK_AGAIN_S:
            if await self._digest_of(dist) == dist.sha256:
                return Outcome.SAME
            await asyncio.sleep(pause)
        raise Conflict(f"{dist.filename} is on the index already with other content; give it a new version")

    async def _digest_of(self, dist: Distribution) -> str | None:
        """The SHA-256 of the index's file of this name, or None when there is none."""
        base = self.settings.kirby_package_index_url
        if base is None:
            return None
        page_url = urljoin(base.rstrip("/") + "/", f"{dist.normal_name}/")
        page = await self._ask("GET", page_url)
        if page.status_code != 200:
            return None
        for link in _LINK.findall(page.text):
            parts = urlsplit(link)
            if unquote(parts.path.rpartition("/")[2]) == dist.filename:
                if parts.fragment.startswith("sha256="):
                    return str(parts.fragment.removeprefix("sha256="))
                file = await self._ask("GET", urljoin(str(page.url), link))
                return sha256(bytes(file.content)).hexdigest() if file.status_code == 200 else None
        return None

    async def _ask(self, method: str, url: str, **more: object) -> httpx2.Response:
        try:
            return await self.http.request(method, url, auth=self._auth, follow_redirects=True, **more)  # type: ignore[arg-type]
        except httpx2.HTTPError as error:
            reason = str(error) or type(error).__name__
            raise Unavailable(f"the private index does not answer now: {reason}; try again") from error
