"""JSON with a hash of itself, for files that are only worth reading whole: memos, answers."""

from __future__ import annotations

import json
from typing import Any

from mnemodex.schemas.manifest import fingerprint


def seal(value: Any) -> bytes:
    """Return a JSON value with its hash."""
    return json.dumps({"value": value, "fingerprint": fingerprint(value)}).encode()


def unseal(data: bytes) -> Any:
    """Return the value that `seal` was given; None where the data is damaged."""
    try:
        value = json.loads(data)["value"]
        return value if seal(value) == data else None
    except (ValueError, KeyError, TypeError):
        return None
