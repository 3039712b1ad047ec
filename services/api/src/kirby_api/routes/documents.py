"""What the OpenAPI document says of every route."""

from typing import Any

from pydantic import BaseModel, ConfigDict

from kirby_api.problems import MEDIA_TYPE


class ProblemDocument(BaseModel):
    """RFC 9457. `detail` is a sentence for the user."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "examples": [
                {"type": "urn:kirby:problem:not-found", "title": "Not Found", "status": 404,
                 "detail": "there is no job 'wether'"}
            ]
        },
    )  # fmt: skip

    type: str
    title: str
    status: int
    detail: str


PROBLEMS: dict[int | str, dict[str, Any]] = {
    "default": {
        "description": "A problem, with a sentence that says what to do",
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDocument"}}},
    }
}
