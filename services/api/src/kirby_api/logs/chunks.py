"""A record of `.kirby.logs` as frames of one attempt. What does not match its digest gives no frames."""

from hashlib import sha256

from kirby_common.logchunks import BadChunk, Frame, frames
from kirby_common.ports import Record


def grant_of(record: Record) -> int | None:
    """The grant in the headers, or None when the record is no chunk."""
    try:
        return int(record.headers["grant"])
    except (KeyError, ValueError):
        return None


def frames_of(record: Record) -> list[Frame]:
    """The frames; none when the bytes are not what their digest says: the reader then shows a gap."""
    value = record.value or b""
    if sha256(value).hexdigest().encode() != record.headers.get("sha256"):
        return []
    try:
        return list(frames(value))
    except BadChunk:
        return []
