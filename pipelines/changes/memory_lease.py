"""A memory that is to be changed."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from mnemodex.schemas.errors import MemoryNotFoundError
from mnemodex.schemas.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mnemodex.schemas.manifest import Manifest


@contextlib.contextmanager
def locked_memory(path: str | Path) -> Iterator[tuple[Store, Manifest]]:
    """Hold a memory for writing; give it and its current snapshot, and tidy up before and after.

    Raises:
        MemoryNotFoundError: there is no memory.
        WriterBusyError: a build or change writes to it.
    """
    store = Store(Path(path).absolute())
    if not store.root.is_dir():
        raise MemoryNotFoundError(f"{path}: no such memory; build one with `mnemodex build RECIPE`")
    with contextlib.ExitStack() as ending:
        ending.enter_context(store.lock())
        store.clean()
        ending.callback(store.clean)
        manifest = store.found()
        if manifest is None:
            raise MemoryNotFoundError(f"{path}: is not a memory; build one with `mnemodex build RECIPE`")
        yield store, manifest
