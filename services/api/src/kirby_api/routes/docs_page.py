"""The OpenAPI document, and a page of it that needs no script and no other site."""

import json
from html import escape
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, JSONResponse

from kirby_api.access.gate import Public

router = APIRouter(include_in_schema=False, dependencies=[Public])
_STYLE = """body{font:16px/1.5 system-ui;max-width:60rem;margin:2rem auto;padding:0 1rem;color-scheme:light dark}
code,pre{font:13px/1.5 ui-monospace,monospace}pre{overflow:auto;padding:.7rem;border:1px solid #8886;border-radius:6px}
summary{cursor:pointer}b{display:inline-block;min-width:4.5rem}"""


@router.get("/openapi.json")
async def openapi_document(request: Request) -> JSONResponse:
    return JSONResponse(request.app.openapi())


@router.get("/docs")
async def docs(request: Request) -> HTMLResponse:
    """The operations, by tag, each with its parameters and example bodies."""
    made = request.app.openapi()
    groups: dict[str, list[str]] = {}
    for path, operations in made["paths"].items():
        for method, operation in operations.items():
            groups.setdefault(operation["tags"][0], []).append(_operation(made, method, path, operation))
    body = "".join(f"<h2>{escape(tag)}</h2>{''.join(items)}" for tag, items in groups.items())
    title = f"Kirby {escape(made['info']['version'])}: REST"
    return HTMLResponse(
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{title}</title><style>{_STYLE}</style>"
        f"<h1>{title}</h1><p>{escape(made['info']['description'])}</p>"
        f'<p><a href="openapi.json">openapi.json</a></p>{body}</html>'
    )


def _operation(made: dict[str, Any], method: str, path: str, operation: dict[str, Any]) -> str:
    parameters = "".join(
        f"<li><code>{escape(p['name'])}</code> ({p['in']}) {escape(p.get('description', ''))}"
        for p in operation.get("parameters", [])
    )
    needs = operation.get("x-permission", "nothing")
    return (
        f"<details><summary><b>{method.upper()}</b> <code>{escape(path)}</code> {escape(operation.get('summary', ''))}"
        f"</summary><p>{escape(operation.get('description', ''))} Needs: {escape(needs)}.</p><ul>{parameters}</ul>"
        f"{_example(made, operation)}</details>"
    )


def _example(made: dict[str, Any], operation: dict[str, Any]) -> str:
    schema = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
    name = schema.get("$ref", "").rpartition("/")[2]
    examples = made["components"]["schemas"].get(name, {}).get("examples", [])
    return "".join(f"<pre>{escape(json.dumps(example, indent=2))}</pre>" for example in examples)
