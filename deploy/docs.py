"""The page at `/docs`: the interface as people read it, from its OpenAPI description and without scripts."""

from __future__ import annotations

import json
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:52rem;margin:2rem auto;padding:0 1rem}"
    "code,pre{font:14px/1.5 ui-monospace,monospace}pre{overflow-x:auto;padding:.75rem;border:1px solid}"
    "table{border-collapse:collapse;width:100%}td,th{border-top:1px solid;padding:.25rem .5rem;text-align:left;"
    "vertical-align:top}:root{color-scheme:light dark}"
)


def docs_page(described: dict[str, Any]) -> str:
    """Return the page of an interface, whose OpenAPI description this is."""
    title = escape(f"{described['info']['title']} {described['info']['version']}")
    body = "".join(
        _section(method, path, operation)
        for path, methods in described["paths"].items()
        for method, operation in methods.items()
    )
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f"<title>{title}</title><style>{STYLE}</style><h1>{title}</h1>"
        "<p>Requests and answers are JSON; a key is the header <code>Authorization: Bearer KEY</code>. An error is "
        "<code>{&quot;error&quot;: {&quot;code&quot;, &quot;message&quot;, &quot;remedy&quot;}}</code>. "
        f"The same for programs: <a href=openapi.json>openapi.json</a>.</p>{body}"
    )


def _section(method: str, path: str, operation: dict[str, Any]) -> str:
    """Return the description of one address."""
    about = " ".join(operation.get("description", operation.get("summary", "")).split())
    body = operation.get("requestBody")
    schema = body["content"]["application/json"]["schema"] if body else {"properties": {}}
    rows = "".join(
        f"<tr><td><code>{escape(name)}</code><td>{escape(_kind(field))}<td>{escape(said)}"
        for name, field, said in _fields(schema)
    )
    table = f"<table><tr><th>key<th>type<th>default{rows}</table>" if rows else ""
    return f"<h2><code>{method.upper()} {escape(path)}</code></h2><p>{escape(about)}</p>{table}"


def _fields(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any], str]]:
    required = schema.get("required", ())
    for name, field in schema["properties"].items():
        yield name, field, "required" if name in required else json.dumps(field.get("default"))


def _kind(field: dict[str, Any]) -> str:
    """Return the type of a field in words."""
    if "anyOf" in field:
        return " or ".join(_kind(kind) for kind in field["anyOf"])
    if field.get("type") == "array":
        return f"list of {_kind(field.get('items', {}))}"
    if "enum" in field:
        return " or ".join(map(json.dumps, field["enum"]))
    return str(field.get("type", "any"))
