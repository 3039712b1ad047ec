"""What a re-run may not repeat: side effects beyond Kafka, held back unless the call or the script allows them."""

import hashlib
import os
from typing import Literal

from kirby import lineage
from kirby._hand import in_hand
from kirby._process import header_of, process
from kirby.errors import HeldBack, KirbyError
from kirby.message import Message

Rerun = Literal["hold", "allow"]
_BYTES = 16
_script: Rerun = "hold"


def of_script(rerun: Rerun) -> None:
    """What holds for all calls that say nothing themselves."""
    global _script
    _script = _checked(rerun)


def effect(what: str, *, rerun: Rerun | None = None) -> None:
    """Say that the script is about to do something which a re-run should not repeat, such as to send a mail.

    Raises `HeldBack` in a re-run, unless `rerun="allow"` is said here or to `Kirby`. `WebClient` and `File` say so
    themselves. In a re-run are: a run with `KIRBY_RERUN=1`, a message that a re-run made, one that is read again.

    >>> import os
    >>> effect("a mail to the operators")
    """
    if (_script if rerun is None else _checked(rerun)) == "hold" and in_rerun():
        raise HeldBack(what)


def in_rerun() -> bool:
    """Whether what is being worked on belongs to a re-run."""
    if process().rerun:
        return True
    held = in_hand()
    return held is not None and lineage.is_rerun(held.onward())


def effect_key(index: int) -> str:
    """See `ctx.effect_key`."""
    return hashlib.blake2b("\n".join([*_origin(), _job(), str(index)]).encode(), digest_size=_BYTES).hexdigest()


def _origin() -> list[str]:
    held = in_hand()
    if held is None:
        due = os.environ.get("KIRBY_DUE_AT") or os.environ.get("KIRBY_RUN_ID")
        if not due:
            raise KirbyError("effect_key needs a message in hand, or a run of Kirby's")
        return ["run", due]
    if not isinstance(held, Message):
        raise KirbyError("effect_key needs one message in hand, not several: work on them one by one")
    record = held._record
    key = (record.key() or b"").hex()
    known = lineage.unpack(header_of(record) or b"")
    if known is None or known.joined:
        return ["here", record.topic(), str(record.partition()), str(record.offset()), key]
    first = known.hops[0]
    if first.partition < 0 and not known.dropped:
        return ["trace", known.trace.hex(), record.topic(), key]
    return ["hop", str(first.partition), str(first.offset), record.topic(), key]


def _job() -> str:
    return f"{os.environ.get('KIRBY_JOB', '')}@{os.environ.get('KIRBY_ENV', '')}"


def _checked(rerun: str) -> Rerun:
    if rerun not in ("hold", "allow"):
        raise KirbyError(f'rerun= is "hold" or "allow", not {rerun!r}')
    return "allow" if rerun == "allow" else "hold"
