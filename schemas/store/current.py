"""The line in `CURRENT`: a snapshot that was the newest, and the checksum of its manifest."""

from __future__ import annotations

import re

from mnemodex.schemas.manifest import digest

_LINE = re.compile(rb"(\d{6}) ([0-9a-f]{64})\n")


def write_line(name: str, data: bytes) -> bytes:
    """Return the line for a manifest's file."""
    return f"{name} {digest(data)}\n".encode()


def read_line(line: bytes) -> tuple[str, str] | None:
    """Return the name and the checksum of a line; None where it is damaged."""
    match = _LINE.fullmatch(line)
    return (match[1].decode(), match[2].decode()) if match else None
