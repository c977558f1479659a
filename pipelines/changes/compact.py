"""Compaction: indexes are cut as a new build cuts them, and the change log says only what counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnemodex.pipelines.changes.base import Work, changing
from mnemodex.pipelines.documents.changes import ChangeLog
from mnemodex.pipelines.run import Revision

if TYPE_CHECKING:
    from mnemodex.pipelines.outcome import BuildResult
    from mnemodex.schemas.store.object_url import Root


def compact(path: str | Root, work: Work) -> BuildResult:
    """Write what many changes have left in as few shards and layers as a new build has; answers stay as they are.

    Args:
        path: the memory's folder.
        work: how it is computed.

    Returns:
        The build of the new snapshot; it is not committed where nothing had to be done.

    Raises:
        MemoryNotFoundError: there is no memory.
        WriterBusyError: a build or change writes to it.
    """
    with changing(path, work) as base:
        return base.build(Revision(ChangeLog.of(base.manifest).compacted(base.store), keep_shards=False))
