"""Labels of splits: readable, stable, and safe as the beginning of a file name."""

from __future__ import annotations

import hashlib
import re

_LONGEST = 48


def hashed_slug(path: str) -> str:
    """The path in safe characters, with eight hexadecimal digits of its hash; at most 48 characters."""
    safe = re.sub(r"[^A-Za-z0-9._-]+", "-", path).lstrip(".-")
    return f"{safe[: _LONGEST - 9]}-{hashlib.sha256(path.encode()).hexdigest()[:8]}"


def slug(path: str) -> str:
    """The path itself if it is safe and short, else its `hashed_slug`, so that two paths never share one."""
    return path if re.fullmatch(rf"[A-Za-z0-9_][A-Za-z0-9._-]{{0,{_LONGEST - 1}}}", path) else hashed_slug(path)
