"""Searching for near copies of a text."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from typing_extensions import override

from mnemodex.indexers.rows import Rows
from mnemodex.retrievers.base import Retriever
from mnemodex.retrievers.hits import Hits
from mnemodex_example.copies import CopiesSettings, signatures

if TYPE_CHECKING:
    from mnemodex.retrievers.memory import Memory
    from mnemodex.schemas.manifest import IndexEntry


class CopiesRetriever(Retriever):
    """Finds chunks that share runs of words with a text; the score estimates their Jaccard similarity."""

    def __init__(self, memory: Memory, entry: IndexEntry) -> None:
        self.name = entry.name
        self._settings = CopiesSettings.model_validate(entry.settings)
        self._memory = memory
        (folder,) = memory.snapshot.shards(entry)
        self._signatures = np.load(folder / "signatures.npy", mmap_mode="r", allow_pickle=False)
        self._rows = Rows.open(folder)

    @override
    def find(self, texts: list[str], k: int, where: str | None) -> Hits:
        allowed = None if where is None else self._memory.ids_where(where)
        scores = np.zeros((len(texts), len(self._rows.ids)), np.float32)
        for number, signature in enumerate(signatures(texts, self._settings)):
            scores[number] = (self._signatures == signature).mean(axis=1)
        scores[scores < self._settings.least] = -np.inf
        return Hits.best(self._memory.snapshot, self._rows, scores, k, allowed=allowed)
