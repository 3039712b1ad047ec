"""Bytes in an answer: as the value where they are JSON, else as base64."""

import base64
from typing import Any

import orjson


def shown(data: bytes, *, is_json: bool) -> dict[str, Any]:
    """`value`, or `base64` for what is no JSON or only says that it is."""
    if is_json:
        try:
            return {"value": orjson.loads(data)}
        except orjson.JSONDecodeError:
            pass
    return {"base64": base64.b64encode(data).decode()}
