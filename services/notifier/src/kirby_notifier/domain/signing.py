"""Signatures as Standard Webhooks has them, so that receivers can check them with its libraries.

Each URL has a secret of its own, derived from `SECRET_KEY`: a receiver learns nothing about the others'.
"""

import base64
import hashlib
import hmac

PREFIX = "whsec_"


def secret_for(url: str, *, key: str) -> str:
    """The signing secret of a webhook, as its receiver gets it: `whsec_` and base64 of 32 bytes."""
    derived = hmac.new(key.encode(), b"kirby webhook|" + url.encode(), hashlib.sha256).digest()
    return PREFIX + base64.b64encode(derived).decode()


def sign(secret: str, *, message_id: str, timestamp: int, body: str) -> str:
    """The value of `webhook-signature`."""
    raw = base64.b64decode(secret.removeprefix(PREFIX))
    signed = f"{message_id}.{timestamp}.{body}".encode()
    return "v1," + base64.b64encode(hmac.new(raw, signed, hashlib.sha256).digest()).decode()


def headers(secret: str, *, message_id: str, timestamp: int, body: str) -> dict[str, str]:
    """The headers of one attempt: the id is the same in every attempt, the time is not."""
    return {
        "content-type": "application/json",
        "user-agent": "kirby-notifier",
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": sign(secret, message_id=message_id, timestamp=timestamp, body=body),
    }
