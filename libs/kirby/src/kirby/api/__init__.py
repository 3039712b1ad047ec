"""The original Kirby's script API: `from kirby.api import Kirby` and what belongs to it keep working.

Values and header values are msgpack here, on the same topics and with the same groups as before. New scripts take the
names of `kirby` itself. Needs `pip install 'kirby[msgpack]'` for topics and `'kirby[web]'` for web clients.
"""

import logging
from typing import Any
from urllib.parse import urljoin

from kirby import registration
from kirby.api.context import ContextManager, ctx

logger: logging.Logger = logging.getLogger(__name__)

__all__ = ["ClientError", "ContextManager", "Kirby", "ServerError", "ctx"]


class ServerError(Exception):
    """Kirby's api has a problem, or does not answer; worth another try."""


class ClientError(Exception):
    """Kirby's api does not know the script or the topic."""


class Kirby:
    """Reads the variables that `env_signature` names, as `{"NAME": {"type": int, "default": 3}}`; registers the script.

    `session` is one of requests or httpx2, to make the calls with; by default Kirby makes them with the run's token.
    With `testing=True` nothing is asked of the api. Raises `ServerError` and `ClientError`.

    >>> app = Kirby({"STATION": {"type": str, "default": "KSEA"}}, testing=True)
    >>> ctx.STATION
    'KSEA'
    """

    def __init__(self, env_signature: dict[str, dict[str, Any]], session: Any = None, testing: bool = False) -> None:
        ContextManager(env_signature)
        self.testing = testing
        self._session = session
        if not testing:
            self._register()

    def get_topic_id(self, topic_name: str) -> str:
        """The id that Kirby has for the topic."""
        if self.testing:
            raise NotImplementedError("In testing mode there are no ids: nothing is asked of the api")
        if self._session is not None:
            result = self._session.get(urljoin(ctx.KIRBY_WEB_SERVER, "topic"), params={"name": topic_name})
            _check(result.status_code, f"Kirby knows no topic {topic_name!r}: create it first")
            return str(result.json()["id"])
        try:
            return registration.topic_id(topic_name)
        except registration.Refused as error:
            raise _ours(error) from error

    def add_source(self, source: Any) -> None:
        """The script reads this Topic (anything with a `name`)."""
        self._add("source", source)

    def add_destination(self, destination: Any) -> None:
        """The script writes this Topic (anything with a `name`)."""
        self._add("destination", destination)

    def _add(self, direction: str, topic: Any) -> None:
        if self.testing:
            logger.info("add_%s has been skipped in testing mode", direction)
            return
        self._register(**{f"{direction}_id": self.get_topic_id(topic.name)})

    def _register(self, **ids: str) -> None:
        if self._session is not None:
            form = {"script_id": ctx.ID, **ids}
            result = self._session.patch(urljoin(ctx.KIRBY_WEB_SERVER, "registration"), data=form)
            _check(result.status_code, "Kirby knows no script or topic with the ids given")
            return
        try:
            registration.register(ctx.ID, **ids)
        except registration.Refused as error:
            raise _ours(error) from error


def _check(status: int, sentence: str) -> None:
    if status >= 500:
        raise ServerError(f"Kirby's api answered {status}")
    if status != 200:
        raise ClientError(sentence)


def _ours(error: registration.Refused) -> ServerError | ClientError:
    kind = ServerError if error.status is None or error.status >= 500 else ClientError
    return kind(str(error))
