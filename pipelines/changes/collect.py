"""Collection: snapshots that are not kept are removed, and the files that no kept snapshot names."""

from __future__ import annotations

import contextlib
import gc
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from operator import attrgetter
from typing import TYPE_CHECKING

from mnemodex.pipelines.changes.base import locked_memory
from mnemodex.pipelines.ops.checkpoint import PARTIAL
from mnemodex.schemas.ages import parse_age
from mnemodex.schemas.errors import QueryError
from mnemodex.schemas.manifest import digest
from mnemodex.schemas.store.collected import Collected, gaps_between
from mnemodex.schemas.store.snapshots import manifest_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from mnemodex.schemas.manifest import Artifact, Manifest
    from mnemodex.schemas.store.object_url import Root
    from mnemodex.schemas.store.store import Store

_DATA = ("tables", "indexes", "snapshots/lists", PARTIAL)


@dataclass(frozen=True, slots=True)
class Kept:
    """Which snapshots are kept: those that some rule keeps, and always the newest one.

    Attributes:
        newest: so many; all of them where neither rule is given.
        younger: those that are younger.
    """

    newest: int | None = None
    younger: timedelta | None = None

    def __post_init__(self) -> None:
        if self.newest is not None and self.newest < 1:
            raise QueryError(f"keep: {self.newest} is no number of snapshots; keep at least 1, the newest one")
        if self.younger is not None and self.younger < timedelta(0):
            raise QueryError("older_than: is negative; give the age of the oldest snapshot that is kept")

    @classmethod
    def of(cls, keep: int | None, older_than: str | timedelta | None) -> Kept:
        """Return what an age like `7d` or `12h`, or a time, and a number say.

        Raises:
            QueryError: they are none.
        """
        if not isinstance(older_than, str):
            return cls(keep, older_than)
        try:
            return cls(keep, parse_age(older_than))
        except ValueError as error:
            raise QueryError(f"older_than: {error}") from error

    def split(self, history: Sequence[Manifest]) -> tuple[list[Manifest], list[Manifest]]:
        """Return the snapshots that are kept and those that are not; newest first, as given."""
        if self.newest is None and self.younger is None:
            return list(history), []
        since = "~" if self.younger is None else (datetime.now(UTC).replace(tzinfo=None) - self.younger).isoformat()
        kept = [place < (self.newest or 1) or manifest.created >= since for place, manifest in enumerate(history)]
        chosen = list(zip(history, kept, strict=True))
        return [one for one, keep in chosen if keep], [one for one, keep in chosen if not keep]


@dataclass(slots=True)
class Collection:
    """What was removed, or would be.

    Attributes:
        snapshots: the names of those that were removed, newest first.
        pinned: the names of those that are kept because a reader has them open.
        kept: how many snapshots are kept, pinned ones among them.
        files: how many files were removed.
        bytes: of these files.
    """

    snapshots: list[str] = field(default_factory=list)
    pinned: list[str] = field(default_factory=list)
    kept: int = 0
    files: int = 0
    bytes: int = 0


def collect(path: str | Root, kept: Kept, *, dry_run: bool = False) -> Collection:
    """Remove the snapshots of a memory that are not kept, and all files that no other one names.

    What a build that was stopped has finished, and no snapshot names, is removed too.

    Args:
        path: the memory's folder.
        kept: which snapshots are.
        dry_run: say what would be removed, and remove nothing.

    Raises:
        MemoryNotFoundError: there is no memory.
        QueryError: the memory is in an object store, and no age is given.
        CorruptFileError: a snapshot is damaged; nothing is removed.
        WriterBusyError: a build or change writes to the memory.
    """
    with locked_memory(path) as (store, _):
        if kept.younger is None and not store.files.knows_readers:
            raise QueryError(
                f"{store.root}: the readers of a memory in an object store are not known; give an age, longer than any "
                "reader has a snapshot open, as --older-than 7d"
            )
        return collect_store(store, kept, dry_run=dry_run)


def collect_store(store: Store, kept: Kept, *, dry_run: bool = False) -> Collection:
    """Collect a memory whose lease is held; see `collect`."""
    current = store.current()
    history = list(store.history(current)) if current is not None else []
    with contextlib.ExitStack() as locks:
        left, gone, pinned = _lock_out(store, *kept.split(history), locks)
        result = Collection([one.name for one in gone], pinned, len(left))
        # Where readers and builds are not known, they may use young files.
        age = kept.younger if not store.files.knows_readers else None
        orphans = [*_orphans(store, left, datetime.now(UTC) - age if age is not None else None)]
        stopped = [manifest_file(name) for name in store.removed()]
        for path in (*orphans, *stopped, *(manifest_file(one.name) for one in gone)):
            result.files += 1
            result.bytes += store.files.size(path) or 0
        if dry_run or not (result.files or store.collected().pending):
            return result
        collected = Collected(gaps_between(_named(store, left)), pending=True)
        # From here on the snapshots are gone, whenever this ends.
        collected.write(store.files)
        store.files.delete_all([*stopped, *(manifest_file(one.name) for one in gone)])
    for folder in _in_order(orphans):
        store.files.delete_all(folder)
    for name in _DATA:
        store.files.prune(name)
    collected.finished().write(store.files)
    return result


def lock_snapshot(store: Store, name: str) -> Callable[[], None] | None:
    """Lock a snapshot, so that nobody opens it; return what unlocks it, or None where a reader has it open."""
    unlock = store.files.lock_out(manifest_file(name))
    if unlock is None:
        # A memory of this process that nobody refers to any more may wait for Python's collector.
        gc.collect()
        unlock = store.files.lock_out(manifest_file(name))
    return unlock


def _lock_out(
    store: Store, left: list[Manifest], gone: list[Manifest], locks: contextlib.ExitStack
) -> tuple[list[Manifest], list[Manifest], list[str]]:
    """Lock the manifests of snapshots that go; return what is left, what goes, and the names of what is pinned."""
    pinned: list[Manifest] = []
    for manifest in gone:
        unlock = lock_snapshot(store, manifest.name)
        if unlock is None:
            pinned.append(manifest)
        else:
            locks.callback(unlock)
    names = [one.name for one in pinned]
    left = sorted([*left, *pinned], key=attrgetter("name"), reverse=True)
    return left, [one for one in gone if one.name not in names], names


def _named(store: Store, kept: Sequence[Manifest]) -> Iterator[tuple[str, str | None, str]]:
    for one in kept:
        yield one.name, one.parent, digest(store.files.read(manifest_file(one.name)))


def _orphans(store: Store, kept: Sequence[Manifest], before: datetime | None) -> Iterator[str]:
    """Yield the files of tables, indexes, lists and unfinished work that no kept snapshot names.

    With a time, those that were written before it.
    """
    named: set[str] = set()
    for manifest in kept:
        for artifacts in manifest.lists():
            lists = [part for part in artifacts.lists or () if part.path not in named]
            named.update(part.path for part in lists)
            # A list that an earlier snapshot shares was read with that one.
            for artifact in artifacts.only(lists.__contains__) if artifacts.lists is not None else artifacts:
                _name(store, artifact, named)
    for folder in _DATA:
        yield from (path for path in store.files.list(folder, before=before) if path not in named)


def _name(store: Store, artifact: Artifact, named: set[str]) -> None:
    """Add the files of a result, and of those published with it, without which it would be computed again."""
    named.update((artifact.marker, *(file.path for file in artifact.files)))
    for place in artifact.also:
        if f"{place}.json" in named:
            continue
        other = store.artifact(place)
        if other is not None:
            named.update((other.marker, *(file.path for file in other.files)))


def _in_order(orphans: Sequence[str]) -> Iterator[list[str]]:
    """Yield lists, then what may be markers, then the rest: no marker outlives what it names."""
    lists = [path for path in orphans if path.startswith("snapshots/")]
    markers = [path for path in orphans if path.endswith(".json")]
    yield lists
    yield markers
    done = {*lists, *markers}
    yield [path for path in orphans if path not in done]
