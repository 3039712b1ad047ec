"""Uploading a distribution to the private index, through the api."""

import sys

from kirby.cli.client import Client, Part, Refused
from kirby.cli.errors import CommandError, ExitCode
from kirby.cli.script_wheel import BuiltWheel


def say(step: str) -> None:
    """One step of a longer command; on stderr, so that stdout stays the result's."""
    print(step, file=sys.stderr, flush=True)


def publish(client: Client, dist: BuiltWheel) -> None:
    """Upload it. The same file again is fine; other content under the same name is refused with what to do."""
    try:
        client.upload("/packages", Part("content", dist.filename, dist.content))
    except Refused as error:
        if error.status != 409:
            raise
        raise CommandError(
            f"{dist.name} {dist.version} is published already, with other content:"
            " raise the version in the project and build again",
            ExitCode.CONFLICT,
        ) from error
    say(f"Published {dist.filename}" if client.status == 201 else f"{dist.filename} was published already")
