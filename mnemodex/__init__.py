"""Mnemodex: one corpus in, every memory index out.

import mnemodex

mnemodex.build("recipe.yaml")
memory = mnemodex.open("memories/recipe")
hits = memory.retriever("dense").search(["Who wrote the manual?"], k=5)
memory.sql("SELECT count(*) FROM chunks")
served = mnemodex.connect("https://HOST:PORT", key="...")
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import httpx2

    from mnemodex.indexers.models.language_model import load_model as load_model
    from mnemodex.pipelines.build import build as build
    from mnemodex.pipelines.changes.memory import ChangeableMemory as ChangeableMemory
    from mnemodex.pipelines.outcome import BuildResult as BuildResult
    from mnemodex.retrievers.hits import Chunk as Chunk
    from mnemodex.retrievers.hits import Hits as Hits
    from mnemodex.retrievers.hits import Reason as Reason
    from mnemodex.retrievers.memory import Memory as Memory
    from mnemodex.retrievers.packing import pack as pack
    from mnemodex.retrievers.remote.async_memory import AsyncRemoteMemory as AsyncRemoteMemory
    from mnemodex.retrievers.remote.memory import RemoteMemory as RemoteMemory
    from mnemodex.schemas.errors import MnemodexError as MnemodexError
    from mnemodex.schemas.errors import UserError as UserError

__version__ = "0.1.0"

_PLACES = {
    "AsyncRemoteMemory": "mnemodex.retrievers.remote.async_memory",
    "build": "mnemodex.pipelines.build",
    "BuildResult": "mnemodex.pipelines.outcome",
    "ChangeableMemory": "mnemodex.pipelines.changes.memory",
    "Chunk": "mnemodex.retrievers.hits",
    "Hits": "mnemodex.retrievers.hits",
    "load_model": "mnemodex.indexers.models.language_model",
    "Memory": "mnemodex.retrievers.memory",
    "pack": "mnemodex.retrievers.packing",
    "Reason": "mnemodex.retrievers.hits",
    "RemoteMemory": "mnemodex.retrievers.remote.memory",
    "MnemodexError": "mnemodex.schemas.errors",
    "UserError": "mnemodex.schemas.errors",
}

__all__ = [
    "AsyncRemoteMemory",
    "BuildResult",
    "ChangeableMemory",
    "Chunk",
    "Hits",
    "Memory",
    "MnemodexError",
    "Reason",
    "RemoteMemory",
    "UserError",
    "aconnect",
    "build",
    "connect",
    "load_model",
    "open",
    "pack",
]


def open(
    path: str | Path, snapshot: str | int | None = None, *, encoders: Mapping[str, Any] | None = None
) -> ChangeableMemory:
    """Open a snapshot of a memory for searching and SQL, and for changes.

    Args:
        path: the memory's folder.
        snapshot: its number; the current one by default. Changes are made to the current one only.
        encoders: the objects that were passed to `build` as encoders, by the names of their embeddings.

    Raises:
        MemoryNotFoundError: there is no memory, or nothing was committed in it yet.
        SnapshotNotFoundError: there is no snapshot of that number.
        CorruptFileError: the snapshot's manifest is damaged.
    """
    from mnemodex.pipelines.changes.memory import ChangeableMemory

    return ChangeableMemory(path, snapshot=snapshot, encoders=encoders)


def connect(
    url: str,
    key: str | None = None,
    *,
    memory: str | None = None,
    timeout: float = 60.0,
    client: httpx2.Client | None = None,
) -> RemoteMemory:
    """Connect to a memory that `mnemodex serve` answers for; it has the same retrievers as one that is opened.

    Args:
        url: of the server: `https://HOST:PORT`.
        key: that its operator gave; servers for one machine need none.
        memory: the name of the memory; needed where the server has several.
        timeout: seconds that a request may take.
        client: of httpx2, for proxies or certificates of your own.

    Raises:
        UserError: the address or the key is none.
        ServerError: no Mnemodex server answers there.
        KeyRefusedError: the key is not accepted.
        UnknownMemoryError: there is no such memory, or several and none is named.
    """
    from mnemodex.retrievers.remote.memory import RemoteMemory

    return RemoteMemory(url, key, memory=memory, timeout=timeout, client=client)


async def aconnect(
    url: str,
    key: str | None = None,
    *,
    memory: str | None = None,
    timeout: float = 60.0,
    client: httpx2.AsyncClient | None = None,
) -> AsyncRemoteMemory:
    """Connect to a memory as `connect` does, for programs with an event loop: its answers are awaited."""
    from mnemodex.retrievers.remote.async_memory import AsyncRemoteMemory

    return await AsyncRemoteMemory.connect(url, key, memory=memory, timeout=timeout, client=client)


def __getattr__(name: str) -> Any:
    """Import the public names when they are first used, so that `import mnemodex` costs next to nothing."""
    if name in _PLACES:
        return getattr(import_module(_PLACES[name]), name)
    msg = f"module 'mnemodex' has no attribute {name!r}"
    raise AttributeError(msg)


def __dir__() -> list[str]:
    """List the public names too that are not imported yet."""
    return sorted({*globals(), *_PLACES})
