"""What tests ask of a build and of the memory it made."""

from __future__ import annotations

from typing import TYPE_CHECKING

import mnemodex
from mnemodex.schemas.store.store import open_store

if TYPE_CHECKING:
    from pathlib import Path

    from mnemodex.pipelines.outcome import BuildResult
    from mnemodex.schemas.manifest import Manifest


def computed(result: BuildResult) -> dict[str, int]:
    """Partitions that the build computed, by step; checks of ids and keys, which follow from them, left out."""
    checks = ("ids", "repeats", "files", "partitions")
    return {
        step.name: step.computed
        for step in result.steps
        if step.computed and step.name.rpartition(": ")[2] not in checks
    }


def manifest(memory: Path) -> Manifest:
    """The current snapshot's."""
    return open_store(memory)[1]


def keys(memory: Path) -> list[str]:
    """The keys of all documents, sorted."""
    return [key for (key,) in mnemodex.open(memory).sql("SELECT key FROM documents ORDER BY key").fetchall()]
