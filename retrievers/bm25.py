"""BM25 search over bm25s's files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from typing_extensions import override

from mnemodex.indexers.bm25 import tokenize
from mnemodex.indexers.rows import Rows
from mnemodex.retrievers.base import Retriever, check
from mnemodex.retrievers.hits import Hits

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnemodex.indexers.arrays import Float32s, Int32s
    from mnemodex.retrievers.memory import Memory
    from mnemodex.schemas.manifest import IndexEntry


class BM25Retriever(Retriever):
    """Searches the words of chunks. Chunks with none of a question's words score 0 and come last, by id."""

    no_match: ClassVar[float | None] = 0.0

    def __init__(self, memory: Memory, entry: IndexEntry) -> None:
        from bm25s import BM25

        self.name = entry.name
        self._memory = memory
        (folder,) = memory.snapshot.shards(entry)
        self._rows = Rows.open(folder)
        self._index: Any = BM25.load(str(folder), mmap=True, load_corpus=False)

    @override
    def search(self, queries: Sequence[str], k: int = 10, *, where: str | None = None) -> Hits:
        scores = map(self._scores, self._word_ids(check(queries, k)))
        allowed = None if where is None else self._memory.ids_where(where)
        return Hits.best(self._memory.snapshot, self._rows, scores, k, allowed=allowed)

    def _scores(self, words: Int32s) -> Float32s:
        """Return the scores of all chunks, float32 of shape (chunks,)."""
        # Bm25s does not take an empty query.
        scores: Float32s = (
            self._index.get_scores_from_ids(words) if len(words) else np.zeros(len(self._rows.ids), np.float32)
        )
        return scores

    def _word_ids(self, questions: list[str]) -> list[Int32s]:
        """Return the index's word ids of each question, without the words that the corpus does not have."""
        ids, vocabulary = tokenize(questions) if questions else ([], {})
        known = self._index.vocab_dict
        table = np.array([known.get(word, -1) for word in sorted(vocabulary, key=vocabulary.__getitem__)], np.int32)
        rows = [table[np.asarray(words, np.int64)] for words in ids]
        return [words[words >= 0] for words in rows]
