"""Where a webhook may go: http or https, and not into the private network unless that is allowed."""

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from urllib.parse import urlsplit

_NAT64 = IPv6Network("64:ff9b::/96")


class TargetRefused(Exception):
    """The target is not one that the notifier may call; trying again changes nothing."""


@dataclass(frozen=True)
class Target:
    host: str
    port: int


def parse_target(url: str) -> Target:
    """Whom the URL names. Raises `TargetRefused`."""
    if not url.isprintable() or " " in url:
        raise TargetRefused("the webhook's URL contains a space or a control character")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise TargetRefused("the webhook is not a URL") from None
    if parts.scheme not in ("http", "https"):
        raise TargetRefused(f"a webhook begins with https:// or http://, not {parts.scheme or 'with nothing'}")
    if not parts.hostname:
        raise TargetRefused("the webhook's URL names no host")
    return Target(parts.hostname, port or (443 if parts.scheme == "https" else 80))


def choose_address(host: str, *, addresses: Sequence[str], allow_private: bool) -> str:
    """The address to connect to, checked: the one that is used, so the name can't change in between.

    One private address among several refuses them all. Raises `TargetRefused`.
    """
    for address in addresses:
        if not allow_private and not is_public(address):
            raise TargetRefused(
                f"{host} is at the private address {address}, where webhooks may not go"
                " (KIRBY_NOTIFIER_ALLOW_PRIVATE=true allows it)"
            )
    return addresses[0]


def is_public(address: str) -> bool:
    """Whether the address is one of the open internet; addresses that carry an IPv4 one count as that."""
    found: IPv4Address | IPv6Address = ip_address(address.partition("%")[0])
    if isinstance(found, IPv6Address):
        inner = found.ipv4_mapped or found.sixtofour
        if inner is None and found in _NAT64:
            inner = IPv4Address(int(found) & 0xFFFFFFFF)
        found = inner or found
    return found.is_global and not found.is_multicast


def without_secrets(url: str) -> str:
    """The URL for people who may not know all of it: many services put a token into the path."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "…"
    return f"{parts.scheme}://{parts.hostname}{port}/…"
