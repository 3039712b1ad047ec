"""Uploading packages to the private index."""

from typing import Annotated

from fastapi import APIRouter, File, Response, UploadFile
from pydantic import BaseModel

from kirby_api.access.gate import Configurer, Parts
from kirby_api.packages.distribution import read_distribution
from kirby_api.packages.index import Outcome
from kirby_api.packages.pending import retry_lock
from kirby_api.problems import Invalid, TooLarge
from kirby_api.routes.documents import PROBLEMS

router = APIRouter(tags=["packages"], responses=PROBLEMS)


class Uploaded(BaseModel):
    name: str
    version: str
    filename: str


@router.post("/packages", status_code=201, summary="Upload a wheel, sdist or single script to the private index")
async def upload_package(
    content: Annotated[UploadFile, File(description="the file")], response: Response, parts: Parts, caller: Configurer
) -> Uploaded:
    """201 for a new file, 200 for the same file again, 409 for another file of the same name.

    A single script (.py) is made a wheel first, with the dependencies of its PEP 723 block.
    """
    limit = parts.settings.kirby_max_package_mb * 1_000_000
    if content.size is not None and content.size > limit:
        raise TooLarge(f"the package has more than {parts.settings.kirby_max_package_mb} MB (KIRBY_MAX_PACKAGE_MB)")
    if not content.filename:
        raise Invalid("the upload needs a file name")
    dist = read_distribution(content.filename, await content.read())
    outcome = await parts.index.upload(dist)
    async with parts.sessions.begin() as db:
        await retry_lock(db, dist)
    if outcome is Outcome.SAME:
        response.status_code = 200
    return Uploaded(name=dist.normal_name, version=dist.version, filename=dist.filename)
