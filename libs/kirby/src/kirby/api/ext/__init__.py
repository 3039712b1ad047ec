"""Topics and web services, as in the original."""

from kirby.api.ext.topic import Topic
from kirby.api.ext.webclient import WebClient

__all__ = ["Topic", "WebClient"]
