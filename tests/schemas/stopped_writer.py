"""A writer that stops (SIGSTOP) before its nth operation on a memory's files, for n = 0, STEP, 2 STEP…; it wakes late.

Run as a program in a process of its own, since it forks: `stopped_writer.py FINISHED OTHERWISE SCRATCH STEP`.
While the writer sleeps its lease is lost, and another one writes the same results, with other bytes, and commits. It
prints one JSON object: how many operations there were, how often the sleeper found itself too late and how often not,
and what was wrong after which operation.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from killed_writer import publish, signal_before, write

from mnemodex.pipelines.verify import verify
from mnemodex.schemas.errors import CommitFailedError
from mnemodex.schemas.manifest import Artifacts
from mnemodex.schemas.store.files import LEASE
from mnemodex.schemas.store.store import Store, open_store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mnemodex.schemas.manifest import Manifest

_LIMIT = 5000
_LATE = 7


def start(operation: int, root: Path, finished: Path) -> int | None:
    """Start a writer that stops before its nth operation; its process, or None where it ended before that."""
    child = os.fork()
    if child == 0:
        signal_before(operation, root, signal.SIGSTOP)
        try:
            write(root, finished)
        except CommitFailedError:
            os._exit(_LATE)
        finally:
            Store(root).clean()
        os._exit(0)
    status = os.waitpid(child, os.WUNTRACED)[1]
    return child if os.WIFSTOPPED(status) else None


def write_otherwise(root: Path, otherwise: Path) -> Manifest:
    """Publish what is not there yet, with files of other bytes, and commit."""
    source, wanted = open_store(otherwise)
    store = Store(root)
    store.prepare()
    with store.lock():
        store.clean()
        former = store.found()
        for artifact in wanted.artifacts():
            if store.whole(artifact.place) is None:
                publish(store, artifact, source)
        made = wanted.replaced(lambda kept: Artifacts(store.whole(part.place) for part in kept))
        return store.commit(made.model_copy(update={"recipe_hash": "other"}), former=former)


def wake(child: int) -> int:
    os.kill(child, signal.SIGCONT)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def problems(root: Path, other: Manifest, status: int, *, sleeper_first: bool) -> Iterator[str]:
    """What the writer that woke up late did to the memory of the other one."""
    store, current = open_store(root)
    if status not in {0, _LATE}:
        yield f"the writer ended with status {status}"
    if status == _LATE and current.name != other.name:
        yield f"the writer was too late, and the snapshot is {current.name}"
    if status == 0 and not sleeper_first and current.parent != other.name:
        yield f"the writer committed {current.name} and had not seen {other.name}"
    again = next((one for one in store.history(current) if one.name == other.name), None)
    if again is None or not again.same_files(other):
        yield "the other writer's snapshot is another one"
    for artifact in other.artifacts():
        for entry in artifact.files:
            store.files.check(entry)
    yield from verify(root).problems
    left = [name for name in store.files.names("work") if not name.startswith("plan-")]
    if left:
        yield f"{left} are left"


def main(finished: Path, otherwise: Path, scratch: Path, step: int) -> None:
    found = []
    late = early = 0
    for operation in range(0, _LIMIT, step):
        root = scratch / str(operation)
        child = start(operation, root, finished)
        if child is None:
            break
        sleeper_first = bool(Store(root)._snapshots()) if root.exists() else False
        (root / LEASE).unlink(missing_ok=True)
        other = write_otherwise(root, otherwise)
        status = wake(child)
        late += status == _LATE
        early += status != _LATE
        found += [[operation, one] for one in problems(root, other, status, sleeper_first=sleeper_first)]
        shutil.rmtree(root)
    print(json.dumps({"operations": operation, "late": late, "early": early, "problems": found}))


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]), int(sys.argv[4]))
