"""A writer that kills itself (SIGKILL) before its nth operation on the memory's files, for n = 0, STEP, 2 STEP…

Run as a program in a process of its own, since it forks: `killed_writer.py FINISHED BASE SCRATCH STEP
[DAMAGED…]`. It prints
one JSON object: how many operations there were, and what was wrong after which of them. The operations are seen by an
audit hook of the interpreter: the store needs no hook for tests, and none of its steps can be forgotten here.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from mnemodex.pipelines.verify import verify
from mnemodex.schemas.errors import MemoryNotFoundError
from mnemodex.schemas.manifest import Artifacts
from mnemodex.schemas.store.store import Store, open_store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mnemodex.schemas.manifest import Artifact, Manifest

_LIMIT = 5000


def signal_before(operation: int, root: Path, number: signal.Signals) -> None:
    """Send this process a signal when it is about to open a file below `root`, or to do something else with files."""
    left = operation
    below = f"{root}{os.sep}"

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal left
        kind = event.partition(".")[0]
        opens = event == "open" and isinstance(arguments[0], str) and arguments[0].startswith(below)
        if opens or kind in {"os", "shutil", "fcntl"}:
            left -= 1
            if left == -1:
                os.kill(os.getpid(), number)

    sys.addaudithook(hook)


def killed(operation: int, root: Path, finished: Path) -> bool:
    """Write in a child that dies before its nth operation; whether there were so many."""
    child = os.fork()
    if child == 0:
        signal_before(operation, root, signal.SIGKILL)
        write(root, finished)
        # Without the interpreter's own end, which is no operation of the store.
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    if status not in {0, signal.SIGKILL}:
        sys.exit(f"the writer ended with status {status} before operation {operation}")
    return status == signal.SIGKILL


def write(root: Path, finished: Path) -> None:
    """Publish and commit what another memory has, as a build does."""
    source, manifest = open_store(finished)
    store = Store(root)
    store.prepare()
    with store.lock():
        store.clean()
        former = store.found()
        for artifact in manifest.artifacts():
            if find(store, artifact) is None:
                publish(store, artifact, source)
        if former is None or not former.same_content(manifest):
            # As the markers say: another writer's result may have been there first.
            store.commit(manifest.replaced(lambda kept: Artifacts(find(store, part) for part in kept)), former=former)


def find(store: Store, artifact: Artifact) -> Artifact | None:
    return store.whole(artifact.place)


def publish(store: Store, artifact: Artifact, source: Store) -> None:
    folder = artifact.place.rpartition("/")[0]
    attempt = store.files.attempt()
    as_folder = artifact.files[0].path.startswith(f"{artifact.folder}/")
    for entry in artifact.files:
        path = PurePosixPath(entry.path)
        name = path.relative_to(artifact.folder) if as_folder else f"data{path.suffix}"
        shutil.copyfile(source.files.path(entry.path), attempt / name)
    store.publish(
        attempt,
        folder,
        artifact.label,
        artifact.fingerprint,
        rows=artifact.rows,
        stats=artifact.stats,
        also=artifact.also,
        as_folder=as_folder,
    )


def opened(root: Path) -> Manifest | None:
    try:
        return open_store(root)[1]
    except MemoryNotFoundError:
        return None


class Trial:
    """What must hold after each death, from the first operation to the last.

    Args:
        finished: the memory that the writer writes again.
        former: the snapshot that was there before.
        damaged: files that were damaged before.
    """

    def __init__(self, finished: Path, former: Manifest | None, damaged: set[str]) -> None:
        self._finished = finished
        self._wanted = open_store(finished)[1]
        self._former = former
        self._damaged = damaged
        self._published = 0
        self._committed = False

    def problems(self, root: Path) -> Iterator[str]:
        yield from self._as_found(root)
        yield from self._cleaned(root)
        write(root, self._finished)
        if not open_store(root)[1].same_content(self._wanted):
            yield "the next build has other content"
        yield from verify(root).problems

    def _as_found(self, root: Path) -> Iterator[str]:
        """A reader sees the old or the new snapshot, whole, and what was published stays so."""
        store, current = Store(root), opened(root)
        committed = current is not None and current.same_content(self._wanted)
        if not committed and current != self._former:
            yield "the snapshot is neither the old nor the new one"
        if self._committed and not committed:
            yield "the new snapshot was there, and is gone"
        for artifact in current.artifacts() if current else ():
            for entry in artifact.files:
                if entry.path not in self._damaged:
                    store.files.check(entry)
        published = sum(find(store, artifact) is not None for artifact in self._wanted.artifacts())
        if published < self._published:
            yield f"{self._published} results were there, {published} are left"
        self._committed, self._published = committed, published

    def _cleaned(self, root: Path) -> Iterator[str]:
        """The lock is free, and `clean` leaves nothing unfinished."""
        store, current = Store(root), opened(root)
        if not root.exists():
            return
        with store.lock():
            store.clean()
        last = f"{current.name}.json" if current else ""
        left = [name for name in store.files.names("work") if name != "plan"]
        left += [name for name in store.files.names("snapshots") if name.endswith(".json") and name > last]
        if left or opened(root) != current:
            yield f"clean() left {left}"


def main(finished: Path, base: Path, scratch: Path, step: int, *damaged: str) -> None:
    trial = Trial(finished, opened(base), set(damaged))
    problems = []
    for operation in range(0, _LIMIT, step):
        root = scratch / str(operation)
        if base.exists():
            shutil.copytree(base, root)
        if not killed(operation, root, finished):
            break
        problems += [[operation, problem] for problem in trial.problems(root)]
        shutil.rmtree(root)
    print(json.dumps({"operations": operation, "problems": problems}))


if __name__ == "__main__":
    arguments = sys.argv[1:]
    main(*map(Path, arguments[:3]), int(arguments[3]), *arguments[4:])
