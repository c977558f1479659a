"""Next-token search: what came next where the language model was in a similar state."""

from __future__ import annotations

import threading
from functools import cached_property, partial
from typing import TYPE_CHECKING

import numpy as np
from typing_extensions import override

from mnemodex.indexers.arrays import check_places, find_ids, open_arrays
from mnemodex.indexers.dense.searcher import DenseSearcher
from mnemodex.indexers.dense.vectors import BLOCK_BYTES, Vectors, pair_scores
from mnemodex.indexers.forks import claim_threads
from mnemodex.retrievers.base import Retriever
from mnemodex.retrievers.datastore import Datastore, DatastoreInfo, Neighbours
from mnemodex.retrievers.hits import MISSING_ID, MISSING_SCORE, Hits, Reason
from mnemodex.retrievers.readers.knn_lm.mixing import log_weights
from mnemodex.schemas.errors import CorruptFileError, QueryError
from mnemodex.schemas.sections import LmStates
from mnemodex.schemas.store import parquet
from mnemodex.schemas.tables import CHUNKS

if TYPE_CHECKING:
    from pathlib import Path

    from mnemodex.indexers.arrays import Array, Float32s, Int32s, Int64s
    from mnemodex.retrievers.memory import Memory
    from mnemodex.retrievers.readers.prompt_keys import PromptKeys
    from mnemodex.schemas.manifest import IndexEntry

_SAMPLE = 32
"""Entries by which a reader checks that its model is the datastore's."""


class NextTokenRetriever(Retriever, Datastore):
    """A datastore of kNN-LM: searched with prompts by people, and with keys by a reader."""

    def __init__(self, memory: Memory, entry: IndexEntry) -> None:
        self.name = entry.name
        self._memory = memory
        self._snapshot = memory.snapshot
        self._entry = entry
        self._table = str(entry.table)
        self._model = memory.snapshot.manifest.language_models[str(entry.settings["lm"])]
        self._lm = LmStates.model_validate(self._model.settings)
        shards = self._snapshot.shards(entry)
        self._tombstones = self._snapshot.tombstones
        masked = partial(self._tombstones.mask, "position") if entry.masked else None
        self._searcher = DenseSearcher(
            shards, entry.search.value, vectors=self._key_file, refine=entry.search.refine, masked=masked
        )
        self._loading = threading.Lock()
        self._prompt_keys: PromptKeys | None = None
        self._values = [open_arrays(shard, values=np.int32)[0] for shard in shards]
        for shard, values in zip(shards, self._values, strict=True):
            check_places(values, self._model.vocabulary, shard, "values")
        rows = sum(map(len, self._values))
        if rows != len(self._searcher.rows):
            keys = len(self._searcher.rows)
            raise CorruptFileError(f"{shards[0].parent}: {rows} values for {keys} keys; remove it and build again")

    @override
    def find(self, questions: list[str], k: int, where: str | None) -> Hits:
        """Return the entries whose keys are nearest to the model's state after a prompt.

        `Hits.ids` are positions and `Hits.kind` is "position"; a hit's chunk is the first that covers the token that
        came next. Scores are negated squared distances, the index's own. A prompt without a token has no hits.

        Raises:
            QueryError: see `Retriever.search`.
            ModelError: the model is not the one that the index was built with.
        """
        claim_threads()
        prompts = self.prompt_keys.tokens(questions)
        with_tokens = np.array([len(ids) > 0 for ids in prompts], bool)
        keys = self.prompt_keys.keys([ids for ids in prompts if len(ids)])
        allowed = None if where is None else self._positions(self._memory.ids_where(where))
        columns = self._searcher.search(keys, k, allowed=allowed)
        scores, ids, numbers = (_spread(column, with_tokens) for column in columns)
        partition, row, labels = self._chunks(numbers)
        return Hits(
            ids,
            scores,
            partition,
            row,
            labels,
            self._snapshot,
            kind="position",
            explain=lambda: self._reasons(scores, self._tokens(numbers)),
        )

    @override
    def nearest(self, keys: Float32s, k: int) -> Neighbours:
        if k > self._entry.rows:
            raise QueryError(
                f"k is {k}, but the datastore {self.name!r} has {self._entry.rows} entries; take a smaller k"
            )
        scores, ids, numbers = self._searcher.search(keys, k)
        return Neighbours(-scores, self._tokens(numbers), ids)

    @override
    def measure(self, keys: Float32s, ids: Int64s) -> Neighbours:
        keys = self._searcher.checked(keys)
        numbers = self._searcher.find(ids)
        numbers = np.where(self._tombstones.mask("position", ids), MISSING_ID, numbers)
        rows, known = self._searcher.rows.at(numbers), numbers >= 0
        flat = np.where(known, self._keys.starts[rows.partition] + rows.row, 0)
        distances = np.full(ids.shape, np.inf, np.float32)
        # The differences of all pairs would take 8 bytes a number.
        size = max(1, BLOCK_BYTES // (8 * self._searcher.dimension * max(1, ids.shape[1])))
        for start in range(0, len(ids), size):
            block = slice(start, start + size)
            if known[block].any():
                needed, inverse = np.unique(flat[block], return_inverse=True)
                vectors = self._keys.take(needed)[inverse.reshape(flat[block].shape)]
                distances[block] = np.where(known[block], -pair_scores(keys[block], vectors, "l2"), np.inf)
        return Neighbours(distances, self._tokens(numbers), np.where(known, ids, MISSING_ID))

    @cached_property
    @override
    def info(self) -> DatastoreInfo:
        model, spec = self._model, self._lm
        tokens, keys = self._sample()
        return DatastoreInfo(
            name=self.name,
            rows=self._entry.rows,
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

    def document(self, label: str, doc_id: int) -> tuple[int, Int32s, Int32s]:
        """Return the row of a document in its partition, its tokens, and the characters at which they start."""
        table = self._table.replace("lm_states/", "lm_tokens/", 1)
        row = int(np.flatnonzero(self._snapshot.column(table, label, "doc_id") == doc_id)[0])
        columns = self._snapshot.take(table, label, [row], ["tokens", "starts"])
        return row, columns["tokens"][0].values.to_numpy(), columns["starts"][0].values.to_numpy()

    @cached_property
    def _keys(self) -> Vectors:
        """The exact keys, in the partitions that the searcher numbers."""
        labels = self._searcher.rows.labels
        return Vectors([self._key_file(label) for label in labels], labels, dimension=self._searcher.dimension)

    def _reasons(self, scores: Float32s, tokens: Int32s) -> list[list[list[Reason]]]:
        """Return the token that came next, and its part of the probability that the hits give to all."""
        weights = np.exp(log_weights(-scores, self.info.scale))
        decode = self.prompt_keys.decode
        return [
            [[Reason("next token", decode(token), weight)] for token, weight in zip(*row, strict=True) if token >= 0]
            for row in zip(tokens.tolist(), weights.tolist(), strict=True)
        ]

    def _key_file(self, label: str) -> Path:
        return self._snapshot.path(self._table, label, ".npy")

    def _tokens(self, numbers: Int64s) -> Int32s:
        """Return the values of entries, -1 where there is none."""
        tokens = np.full(numbers.shape, -1, np.int32)
        for shard, inside, positions in self._searcher.rows.by_shard(numbers):
            tokens[inside] = self._values[shard][positions]
        return tokens

    def _positions(self, chunk_ids: Int64s) -> Int64s:
        """Return the positions of tokens that belong to some chunks, ascending."""
        parts = [np.zeros(0, np.int64)]
        for path in self._snapshot.paths(self._table):
            rows = parquet.read(path, columns=["position", "chunk_id"])
            parts.append(rows["position"].to_numpy()[np.isin(rows["chunk_id"].to_numpy(), chunk_ids)])
        return np.sort(np.concatenate(parts))

    def _chunks(self, numbers: Int64s) -> tuple[Int32s, Int64s, tuple[str, ...]]:
        """Return the chunks of entries: their partitions and rows, and the partitions' labels."""
        states = self._searcher.rows.at(numbers)
        labels: dict[str, int] = {}
        partition, row = np.full(numbers.shape, -1, np.int32), np.full(numbers.shape, -1, np.int64)
        for number in np.unique(states.partition[states.partition >= 0]):
            mask = states.partition == number
            name = states.labels[number]
            # A partition of documents has several of states.
            label = name.rpartition("-")[0]
            chunk_ids = self._snapshot.column(self._table, name, "chunk_id")[states.row[mask]]
            partition[mask] = labels.setdefault(label, len(labels))
            row[mask] = find_ids(self._snapshot.column(CHUNKS.label, label, "chunk_id"), chunk_ids)
        return partition, row, tuple(labels)

    def _first_partition(self) -> tuple[str, Int64s]:
        """Return the first partition of states with a document that readers see, and the documents of its states."""
        for part in self._snapshot.manifest.tables[self._table].partitions:
            doc_ids: Int64s = self._snapshot.column(self._table, part.label, "doc_id")
            if not self._tombstones.mask("doc_id", doc_ids).all():
                break
        return part.label, doc_ids

    def _sample(self) -> tuple[Int32s, Float32s]:
        """Return the first entries of a document: its tokens with the prefix, and their keys; see `DatastoreInfo`."""
        label, doc_ids = self._first_partition()
        starts = np.flatnonzero(np.concatenate([[True], doc_ids[1:] != doc_ids[:-1]]))
        lengths = np.diff(np.append(starts, len(doc_ids)))
        lengths[self._tombstones.mask("doc_id", doc_ids[starts])] = 0
        prefix = self._model.prefix
        most = min(_SAMPLE, self._lm.window - len(prefix))
        # The first document that is long enough, or the longest.
        chosen = int(np.argmax(np.minimum(lengths, most)))
        start, count = int(starts[chosen]), int(min(lengths[chosen], most))
        first = int(self._snapshot.column(self._table, label, "token_offset")[start])
        count = min(count, most - first) or 1
        keys = np.load(self._key_file(label), mmap_mode="r", allow_pickle=False)[start : start + count]
        _, tokens, _ = self.document(label.rpartition("-")[0], int(doc_ids[start]))
        return np.concatenate([prefix, tokens[: first + count]]).astype(np.int32), keys.astype(np.float32)


def _spread(column: Array, answered: Array) -> Array:
    """Return a column with rows for all queries, of which some were answered."""
    rows = np.full(
        (len(answered), column.shape[1]), MISSING_SCORE if column.dtype == np.float32 else MISSING_ID, column.dtype
    )
    rows[answered] = column
    return rows
