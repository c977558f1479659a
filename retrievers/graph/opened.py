"""A graph index as it was built, with its vectors and texts: the space that methods work in."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from mnemodex.indexers.dense.vectors import Vectors
from mnemodex.indexers.graph.graph import Graph
from mnemodex.indexers.graph.words import WordCounts
from mnemodex.indexers.rows import Rows
from mnemodex.retrievers.graph.space import Passage

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from mnemodex.retrievers.memory import Memory

_SAMPLE = 10_000
"""Passages whose words are counted where an index has no files."""


class OpenedSpace:
    """See `Space`; everything is mapped, and read when it is asked for.

    Args:
        memory: the memory.
        folder: the index's shard; None for passages alone.
        embed: the embedding's name.

    Attributes:
        graph: the arrays.
        rows: where the passages stand.
    """

    def __init__(self, memory: Memory, folder: Path | None, embed: str) -> None:
        self._memory = memory
        self._embed = embed
        self._table = f"embeddings/{embed}"
        snapshot = memory.snapshot
        if folder is None:
            self.rows = _passages(memory)
            self.graph = _without_edges(self.rows.ids)
        else:
            self.rows = Rows.open(folder)
            self.graph = Graph.open(folder)
        self._folder = folder
        labels = [part.label for part in snapshot.manifest.tables[self._table].partitions]
        self._dimension = snapshot.manifest.encoders[embed].dimension
        self._vectors = Vectors(snapshot.paths(self._table, ".npy"), labels, dimension=self._dimension)

    @cached_property
    def fact_vectors(self) -> NDArray[np.float32]:
        """See `Space`."""
        return self._names_vectors("facts")

    @cached_property
    def entity_vectors(self) -> NDArray[np.float32]:
        """See `Space`."""
        return self._names_vectors("entities")

    def _names_vectors(self, of: str) -> NDArray[np.float32]:
        table = f"{self._table}/{of}"
        if table not in self._memory.snapshot.manifest.tables:
            return np.zeros((0, self._dimension), np.float32)
        parts = [
            np.load(path, mmap_mode="r", allow_pickle=False) for path in self._memory.snapshot.paths(table, ".npy")
        ]
        # Only a graph of more than a million triples has several.
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """See `Space`."""
        return self._memory.encoder(self._embed).encode_queries(list(texts))

    def dense(self, vectors: NDArray[np.float32]) -> NDArray[np.float32]:
        """See `Space`; the passages' vectors are read block by block."""
        scores = np.empty((len(vectors), len(self._vectors)), np.float32)
        start = 0
        for block in self._vectors.blocks(np.arange(len(self._vectors))):
            np.matmul(vectors, block.T, out=scores[:, start : start + len(block)])
            start += len(block)
        return scores

    @cached_property
    def words(self) -> WordCounts:
        """See `Space`; without files, those of passages spread over the memory."""
        if self._folder is not None:
            return WordCounts.open(self._folder)
        numbers = np.unique(np.linspace(0, self.graph.passages - 1, min(_SAMPLE, self.graph.passages)).astype(np.int64))
        return WordCounts.of("\n".join(passage) for passage in self.read(numbers.tolist()))

    def names(self, entities: Sequence[int]) -> list[str]:
        """See `Space`."""
        found: list[str] = self._entities["name"].take(pa.array(entities, pa.int64())).to_pylist()
        return found

    def facts(self, facts: Sequence[int]) -> list[tuple[str, str, str]]:
        """See `Space`."""
        rows = self._facts.take(pa.array(facts, pa.int64()))
        columns = (rows[name].to_pylist() for name in ("subject", "predicate", "object"))
        return list(zip(*columns, strict=True))

    def read(self, passages: Sequence[int]) -> list[Passage]:
        """See `Space`."""
        numbers = np.asarray(passages, np.int64)
        found: dict[int, Passage] = {}
        partitions = self.rows.partition[numbers]
        for partition in np.unique(partitions):
            here = numbers[partitions == partition]
            label = self.rows.labels[int(partition)]
            table = self._memory.snapshot.take("chunks", label, self.rows.row[here].tolist(), ["title", "text"])
            found.update(zip(here.tolist(), (Passage(**row) for row in table.to_pylist()), strict=True))
        return [found[number] for number in numbers.tolist()]

    @cached_property
    def _entities(self) -> pa.Table:
        return self._texts("entities", ["name"])

    @cached_property
    def _facts(self) -> pa.Table:
        return self._texts("facts", ["subject", "predicate", "object"])

    def _texts(self, name: str, columns: list[str]) -> pa.Table:
        if self._folder is None:
            return pa.table({column: pa.array([], pa.large_string()) for column in columns})
        with pa.memory_map(str(self._folder / f"{name}.arrow")) as file:
            return pa.ipc.open_file(file).read_all()


def _passages(memory: Memory) -> Rows:
    """The rows of all chunks."""
    from mnemodex.indexers.base import InputPartition

    parts = memory.snapshot.manifest.tables["chunks"].partitions
    return Rows.of(
        [
            InputPartition(part.label, part.rows, {"parquet": memory.snapshot.path("chunks", part.label)})
            for part in parts
        ]
    )


def _without_edges(chunk_ids: NDArray[np.int64]) -> Graph:
    """Passages that nothing joins."""
    none, weights = np.zeros(0, np.int32), np.zeros(0, np.float32)
    zeros = np.zeros(len(chunk_ids) + 1, np.int64)
    no_ids = np.zeros(0, np.int64)
    return Graph(no_ids, chunk_ids, zeros, none, weights, weights, weights, none, none, zeros, none, none)
