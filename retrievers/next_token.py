"""Next-token search: what came next where the language model had something like this in mind."""

from __future__ import annotations

import threading
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from mnemodex.indexers.dense.exact import pair_scores
from mnemodex.indexers.dense.searcher import DenseSearcher
from mnemodex.indexers.dense.vectors import BLOCK_BYTES, Vectors
from mnemodex.indexers.knn_lm import open_values
from mnemodex.retrievers.base import check
from mnemodex.retrievers.datastore import DatastoreInfo, Neighbours
from mnemodex.retrievers.hits import MISSING_ID, MISSING_SCORE, Hits, Reason
from mnemodex.retrievers.readers.knn_lm.mixing import log_weights
from mnemodex.schemas.errors import CorruptFileError, QueryError
from mnemodex.schemas.lm import LmStates
from mnemodex.schemas.store import parquet

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from mnemodex.retrievers.memory import Memory
    from mnemodex.retrievers.readers.prompt_keys import PromptKeys
    from mnemodex.schemas.manifest import IndexEntry

_SAMPLE = 32
"""Entries that a model is asked for again, to tell whether it is the one that made them."""


class NextTokenRetriever:
    """A datastore of kNN-LM: searched with prompts by people, and with keys by a reader; see `Datastore`."""

    no_match: ClassVar[float | None] = None

    def __init__(self, memory: Memory, entry: IndexEntry) -> None:
        self.name = entry.name
        self._memory = memory
        self._snapshot = memory.snapshot
        self._entry = entry
        self._table = str(entry.table)
        self._model = memory.snapshot.manifest.language_models[str(entry.settings["lm"])]
        self._lm = LmStates.model_validate(self._model.settings)
        shards = self._snapshot.shards(entry)
        self._searcher = DenseSearcher(shards, entry.search.value, vectors=self._key_file)
        self._loading = threading.Lock()
        self._prompt_keys: PromptKeys | None = None
        self._values = [open_values(shard) for shard in shards]
        rows = sum(map(len, self._values))
        if rows != self._searcher.rows:
            msg = f"{shards[0].parent}: {rows} values for {self._searcher.rows} keys; build the index again"
            raise CorruptFileError(msg)

    def search(self, queries: Sequence[str], k: int = 10, *, where: str | None = None) -> Hits:
        """The entries whose keys are nearest to what the model has in mind after a prompt.

        `Hits.ids` are positions and `Hits.kind` is "position"; a hit's chunk is the first that covers the token that
        came next. Scores are negated squared distances, the index's own. A prompt without a token has no hits.

        Raises:
            QueryError: see `Retriever.search`.
            ModelError: the model is not the one that the index was built with.
        """
        prompts = self.prompt_keys.tokens(check(queries, k))
        asked = np.flatnonzero([len(ids) > 0 for ids in prompts])
        keys = self.prompt_keys.keys([prompts[number] for number in asked])
        allowed = None if where is None else self._positions(self._memory.ids_where(where))
        found = self._searcher.search(keys, k, allowed=allowed)
        scores, ids, shard, position = (_spread(part, asked, len(prompts)) for part in found)
        partition, row, labels = self._chunks(shard, position)
        return Hits(
            ids,
            scores,
            partition,
            row,
            labels,
            self._snapshot,
            kind="position",
            explain=lambda: self._reasons(scores, self._tokens(shard, position)),
        )

    def nearest(self, keys: NDArray[np.float32], k: int) -> Neighbours:
        """See `Datastore.nearest`."""
        if k > self._searcher.rows:
            msg = f"k is {k}, but the datastore {self.name!r} has {self._searcher.rows} entries; take a smaller k"
            raise QueryError(msg)
        scores, ids, shard, position = self._searcher.search(keys, k)
        return Neighbours(-scores, self._tokens(shard, position), ids)

    def measure(self, keys: NDArray[np.float32], ids: NDArray[np.int64]) -> Neighbours:
        """See `Datastore.measure`."""
        keys = self._searcher.checked(keys)
        shard, position = self._searcher.find(ids)
        partition, row = self._searcher.locate(shard, position)
        there = partition >= 0
        flat = np.where(there, self._keys.starts[partition] + row, 0)
        distances = np.full(ids.shape, np.inf, np.float32)
        # The differences of all pairs would take 8 bytes a number.
        size = max(1, BLOCK_BYTES // (8 * self._searcher.dimension * max(1, ids.shape[1])))
        for start in range(0, len(ids), size):
            some = slice(start, start + size)
            if there[some].any():
                needed, place = np.unique(flat[some], return_inverse=True)
                vectors = self._keys.take(needed)[place.reshape(flat[some].shape)]
                distances[some] = np.where(there[some], -pair_scores(keys[some], vectors, "l2"), np.inf)
        return Neighbours(distances, self._tokens(shard, position), np.where(there, ids, MISSING_ID))

    @cached_property
    def info(self) -> DatastoreInfo:
        """See `Datastore.info`."""
        model, spec = self._model, self._lm
        tokens, keys = self._sample()
        return DatastoreInfo(
            name=self.name,
            rows=self._searcher.rows,
            dimension=self._searcher.dimension,
            key=spec.key,
            model=spec.model,
            model_sha256=model.sha256,
            tokenizer_sha256=model.tokenizer_sha256,
            vocabulary=model.vocabulary,
            window=spec.window,
            overlap=spec.overlap,
            prefix=model.prefix,
            scale=self._entry.search.scale or 1.0,
            sample_tokens=tokens,
            sample_keys=keys,
        )

    @property
    def prompt_keys(self) -> PromptKeys:
        """The language model, loaded at the first use."""
        from mnemodex.retrievers.readers.prompt_keys import PromptKeys

        with self._loading:
            if self._prompt_keys is None:
                self._prompt_keys = PromptKeys(self.info)
            return self._prompt_keys

    @cached_property
    def _keys(self) -> Vectors:
        """The exact keys, in the partitions that the searcher numbers."""
        labels = self._searcher.labels
        return Vectors([self._key_file(label) for label in labels], labels, dimension=self._searcher.dimension)

    def _reasons(self, scores: NDArray[np.float32], tokens: NDArray[np.int32]) -> list[list[list[Reason]]]:
        """The token that came next, and its part of the probability that the hits give to all."""
        weights = np.exp(log_weights(-scores, self.info.scale))
        decode = self.prompt_keys.model.tokenizer.decode

        def reason(token: int, weight: float) -> list[Reason]:
            return [Reason("next token", decode([token], skip_special_tokens=False), weight)]

        return [
            [reason(token, weight) for token, weight in zip(*some, strict=True) if token >= 0]
            for some in zip(tokens.tolist(), weights.tolist(), strict=True)
        ]

    def _key_file(self, label: str) -> Any:
        return self._snapshot.path(self._table, label, ".npy")

    def _tokens(self, shard: NDArray[np.int32], position: NDArray[np.int64]) -> NDArray[np.int32]:
        """The values of entries, -1 where there is none."""
        tokens = np.full(shard.shape, -1, np.int32)
        for number, values in enumerate(self._values):
            here = shard == number
            tokens[here] = values[position[here]]
        return tokens

    def _positions(self, chunk_ids: NDArray[np.int64]) -> NDArray[np.int64]:
        """The positions of tokens that belong to some chunks, ascending."""
        kept = [np.zeros(0, np.int64)]
        for path in self._snapshot.paths(self._table):
            rows = parquet.read(path, columns=["position", "chunk_id"])
            kept.append(rows["position"].to_numpy()[np.isin(rows["chunk_id"].to_numpy(), chunk_ids)])
        return np.sort(np.concatenate(kept))

    def _chunks(
        self, shard: NDArray[np.int32], position: NDArray[np.int64]
    ) -> tuple[NDArray[np.int32], NDArray[np.int64], tuple[str, ...]]:
        """The chunks of entries: their partitions and rows, and the partitions' labels."""
        states, rows = self._searcher.locate(shard, position)
        labels: dict[str, int] = {}
        partition, row = np.full(states.shape, -1, np.int32), np.full(states.shape, -1, np.int64)
        for number in np.unique(states[states >= 0]):
            here = states == number
            name = self._searcher.labels[number]
            # A partition of documents has several of states.
            label = name.rpartition("-")[0]
            chunk_ids = self._snapshot.column(self._table, name, "chunk_id")[rows[here]]
            known = self._snapshot.column("chunks", label, "chunk_id")
            order = np.argsort(known)
            partition[here] = labels.setdefault(label, len(labels))
            row[here] = order[np.searchsorted(known, chunk_ids, sorter=order)]
        return partition, row, tuple(labels)

    def _sample(self) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """The first entries of a document: its tokens with the prefix, and their keys; see `DatastoreInfo`."""
        label = self._snapshot.manifest.tables[self._table].partitions[0].label
        doc_ids = self._snapshot.column(self._table, label, "doc_id")
        starts = np.flatnonzero(np.concatenate([[True], doc_ids[1:] != doc_ids[:-1]]))
        lengths = np.diff(np.append(starts, len(doc_ids)))
        prefix = self._model.prefix
        most = min(_SAMPLE, self._lm.window - len(prefix))
        # The first document that is long enough, or the longest.
        chosen = int(np.argmax(np.minimum(lengths, most)))
        start, count = int(starts[chosen]), int(min(lengths[chosen], most))
        first = int(self._snapshot.column(self._table, label, "token_offset")[start])
        count = min(count, most - first) or 1
        keys = np.load(self._key_file(label), mmap_mode="r", allow_pickle=False)[start : start + count]
        tokens = self._document(label.rpartition("-")[0], int(doc_ids[start]))[: first + count]
        return np.concatenate([prefix, tokens]).astype(np.int32), keys.astype(np.float32)

    def _document(self, label: str, doc_id: int) -> NDArray[np.int32]:
        """The tokens of a document."""
        table = self._table.replace("lm_states/", "lm_tokens/", 1)
        row = int(np.flatnonzero(self._snapshot.column(table, label, "doc_id") == doc_id)[0])
        tokens = self._snapshot.take(table, label, [row], ["tokens"])["tokens"]
        return np.asarray(tokens[0].values.to_numpy())


def _spread(found: NDArray[Any], asked: NDArray[np.intp], queries: int) -> NDArray[Any]:
    """Answers to some of the queries as answers to all, where the others have none."""
    missing = MISSING_SCORE if found.dtype == np.float32 else MISSING_ID
    answers = np.full((queries, found.shape[1]), missing, found.dtype)
    answers[asked] = found
    return answers
