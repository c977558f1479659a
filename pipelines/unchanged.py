"""Memories of many partitions are known to be up to date without a plan, by the state of all that decides one."""

from __future__ import annotations

import contextlib
import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from mnemodex.indexers.models.hashes import digest_of
from mnemodex.pipelines.actor import software
from mnemodex.pipelines.contents import folder_state
from mnemodex.pipelines.progress import StepReport
from mnemodex.schemas.manifest import fingerprint
from mnemodex.schemas.sections import DEFAULT_MODEL
from mnemodex.schemas.spec import ModelRef, RecipePath
from mnemodex.schemas.store.object_url import ObjectUrl
from mnemodex.schemas.store.sealed import seal, unseal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mnemodex.pipelines.outcome import BuildResult
    from mnemodex.schemas.manifest import Manifest
    from mnemodex.schemas.recipe import Recipe
    from mnemodex.schemas.store.store import Store

MANY = 1000
"""Partitions and shards from which on a plan takes seconds. Smaller memories are planned: that looks at every file."""

_MEMO = "work/built.json"


class UpToDate:
    """What a build leaves behind, for the next one to know that nothing has changed.

    The state is that of the recipe, of the files and models that it names, of our code and its libraries, of the
    snapshot, and of the memory's folders, whose times tell that a file was added, removed or replaced; in an object
    store it is that of the names of its files. The former manifest is the current snapshot's, before the build.
    """

    def __init__(self, store: Store, recipe: Recipe, former: Manifest | None) -> None:
        self._store = store
        self._former = former
        # Before anything is read: what changes during the build is to be read by the next one.
        self._inputs = _inputs(recipe) if former is None or _count(former) >= MANY else None

    def outcome(self) -> tuple[list[StepReport], list[str]] | None:
        """Return the closing table and the warnings of the build that left this state; None where it is another."""
        if self._former is None or self._inputs is None or not self._store.files.exists(_MEMO):
            return None
        memo = unseal(self._store.files.read(_MEMO))
        if memo is None or memo["state"] != self._state(self._former):
            return None
        none = {"computed": 0, "rows_computed": 0, "rows_reused": 0, "seconds": 0.0}
        return [StepReport(**{**step, **none}) for step in memo["steps"]], memo["warnings"]

    def remember(self, current: Manifest, result: BuildResult) -> None:
        """Keep the state that a build left."""
        if self._inputs is None or _count(current) < MANY:
            return
        steps = [asdict(step) for step in result.steps]
        memo = {"state": self._state(current), "steps": steps, "warnings": result.warnings}
        # What was committed stays so on a full disk; without the note the next build makes a plan.
        with contextlib.suppress(OSError):
            self._store.files.put(_MEMO, seal(memo))

    def _state(self, current: Manifest) -> str:
        contents = [item for name in ("tables", "indexes") for item in self._contents(name)]
        # A damaged list file is left out of the snapshot that a build finds.
        return fingerprint(self._inputs, current.name, current.created, _count(current), contents)

    def _contents(self, folder: str) -> Iterator[str] | Iterator[tuple[str, int, int]]:
        """Yield what changes when a file below a folder of the memory is added, removed or, locally, replaced."""
        root = self._store.root
        return self._store.files.list(folder) if isinstance(root, ObjectUrl) else _folders(str(root / folder))


def _inputs(recipe: Recipe) -> str | None:
    """Return the state of all that a plan looks at; None where a source does not say what it reads, or is not there."""
    paths: str | tuple[str, ...] = getattr(recipe.source, "path", ())
    if not paths or not all(Path(path).exists() for path in ([paths] if isinstance(paths, str) else paths)):
        return None
    named = []
    for leaf in (leaf for section in recipe.sections().values() for leaf in section.leaves()):
        if leaf.value is not None and leaf.marker(RecipePath):
            if not Path(leaf.value).exists():
                # A pattern, or what a check of the recipe will miss.
                return None
            named.append([leaf.value, folder_state(Path(leaf.value))])
        if leaf.value is not None and (ref := leaf.marker(ModelRef)):
            named.append([leaf.value, digest_of(leaf.value, ref)])
    counted_by = digest_of(DEFAULT_MODEL, ModelRef("tokenizer"))
    return fingerprint(recipe.model_dump(mode="json", by_alias=True), named, counted_by, software())


def _count(current: Manifest) -> int:
    tables = [entry.partitions for entry in (*current.tables.values(), *current.caches.values())]
    return sum(map(len, [*tables, *(index.shards for index in current.indexes.values())]))


def _folders(root: str) -> Iterator[tuple[str, int, int]]:
    """Yield a folder and all below it, with their times and inodes; nothing where there is none."""
    try:
        stat = os.stat(root)  # noqa: PTH116 - there are as many as shards, and a path takes longer to make than to ask
        with os.scandir(root) as entries:
            below = sorted(entry.path for entry in entries if entry.is_dir(follow_symlinks=False))
    except FileNotFoundError:
        return
    yield root, stat.st_mtime_ns, stat.st_ino
    for folder in below:
        yield from _folders(folder)
