"""BM25 search over bm25s's files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from mnemodex.indexers.bm25 import tokenize
from mnemodex.indexers.rows import Rows
from mnemodex.retrievers.base import check
from mnemodex.retrievers.hits import Hits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from mnemodex.retrievers.memory import Memory
    from mnemodex.schemas.manifest import IndexEntry


class BM25Retriever:
    """Searches the words of chunks. Chunks with none of a question's words score 0 and come last, by id."""

    no_match: ClassVar[float | None] = 0.0

    def __init__(self, memory: Memory, entry: IndexEntry) -> None:
        from bm25s import BM25

        self.name = entry.name
        self._memory = memory
        (folder,) = memory.snapshot.shards(entry)
        self._rows = Rows.open(folder)
        self._index: Any = BM25.load(str(folder), mmap=True, load_corpus=False)

    def search(self, queries: Sequence[str], k: int = 10, *, where: str | None = None) -> Hits:
        """See `Retriever.search`."""
        scores = map(self._scores, self._word_ids(check(queries, k)))
        return Hits.best(self._memory.snapshot, self._rows, scores, k, among=self._kept(where))

    def _scores(self, words: NDArray[np.int32]) -> NDArray[np.float32]:
        """Return the scores of all chunks, float32 of shape (chunks,)."""
        if not len(words):
            # Bm25s cannot be asked for nothing.
            return np.zeros(len(self._rows.ids), np.float32)
        scores: NDArray[np.float32] = self._index.get_scores_from_ids(words)
        return scores

    def _kept(self, where: str | None) -> NDArray[np.int64] | None:
        if where is None:
            return None
        return np.flatnonzero(np.isin(self._rows.ids, self._memory.ids_where(where))).astype(np.int64)

    def _word_ids(self, questions: list[str]) -> list[NDArray[np.int32]]:
        """The index's word ids of each question; words that the corpus does not have score nothing and are left out."""
        ids, vocabulary = tokenize(questions) if questions else ([], {})
        known = self._index.vocab_dict
        table = np.array([known.get(word, -1) for word in sorted(vocabulary, key=vocabulary.__getitem__)], np.int32)
        found = [table[np.asarray(words, np.int64)] for words in ids]
        return [words[words >= 0] for words in found]
