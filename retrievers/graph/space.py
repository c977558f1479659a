"""What a method of graph retrieval works with, a graph with its texts and vectors, and what it answers."""

from __future__ import annotations

import copy
from functools import cached_property
from typing import TYPE_CHECKING, Literal, NamedTuple, Self

import numpy as np
import pyarrow as pa

from mnemodex.indexers.arrays import check_arrays, check_places, open_arrays, read_arrow
from mnemodex.indexers.base import InputPartition
from mnemodex.indexers.dense.vectors import Vectors, open_matrix
from mnemodex.indexers.graph.codes import Codes
from mnemodex.indexers.graph.graph import Graph
from mnemodex.indexers.graph.words import WordCounts
from mnemodex.indexers.rows import Rows
from mnemodex.retrievers.graph.live import Live
from mnemodex.retrievers.graph.nearest import TextVectors
from mnemodex.schemas.errors import OlderFormatError
from mnemodex.schemas.store.columns import to_column
from mnemodex.schemas.tables import CHUNKS, FACTS, TableKey, vector_codes

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mnemodex.indexers.arrays import Bools, Float32s, Floats, Int64s
    from mnemodex.indexers.encoders import TextEncoder
    from mnemodex.retrievers.base import Retriever
    from mnemodex.retrievers.graph.live import Counted
    from mnemodex.retrievers.graph.nearest import Nearest
    from mnemodex.retrievers.memory import Memory

TEMPERATURE = 0.05
"""The difference of cosines that makes one thing e times as likely as another."""
_SAMPLE = 10_000
"""Passages whose words are counted where an index has no files."""


class Passage(NamedTuple):
    """A passage's texts."""

    title: str
    text: str


class Space:
    """The graph of an index, its texts and its vectors, mapped and read on demand.

    Entities, facts and passages are given by number; 0 is the first passage, not a node. Vectors have length 1, so that
    dot products are cosines. Without the folder of the index's shard there are passages alone. What tombstones leave
    out has no number.

    Args:
        memory: the memory.
        folder: of the index's shard.
        embed: the embedding of passages, facts and names.
        left_out: folders of the words of passages that are left out.
        words: the name of a BM25 index.

    Attributes:
        rows: the passages' ids and places.
    """

    def __init__(
        self,
        memory: Memory,
        folder: Path | None,
        embed: str,
        left_out: Sequence[Path] = (),
        *,
        words: str | None = None,
    ) -> None:
        self._memory = memory
        self._bm25 = words
        self._left_out = left_out
        self._folder = folder
        self._embed = embed
        self._table = TableKey("embeddings", embed).label
        snapshot = memory.snapshot
        if folder is None:
            parts = snapshot.manifest.tables[CHUNKS.label].partitions
            chunks = [InputPartition(x.label, x.rows, {"parquet": snapshot.path(CHUNKS.label, x.label)}) for x in parts]
            rows = Rows.of(chunks)
            graph = _without_edges(rows.ids)
        else:
            rows, graph = Rows.open(folder), Graph.open(folder)
        self._without: Bools | None = None
        self._unread: Bools | None = None
        self._live = Live(graph, snapshot)
        self.graph = self._live.graph
        self.rows = self._live.rows(rows)
        labels = [part.label for part in snapshot.manifest.tables[self._table].partitions]
        self._dimension = snapshot.manifest.encoders[embed].dimension
        self._vectors = Vectors(snapshot.paths(self._table, ".npy"), labels, dimension=self._dimension)

    def nearest_facts(self, vectors: Float32s, k: int) -> Nearest:
        """Return the facts nearest to some vectors, by the text "subject predicate object"."""
        return self._fact_vectors.nearest(vectors, k)

    def nearest_entities(self, vectors: Float32s, k: int) -> Nearest:
        """Return the entities nearest to some vectors, by their names."""
        return self._entity_vectors.nearest(vectors, k)

    @cached_property
    def _fact_vectors(self) -> TextVectors:
        return self._text_vectors("facts", "fact_numbers")

    @cached_property
    def _entity_vectors(self) -> TextVectors:
        return self._text_vectors("entities", "entity_numbers")

    def _text_vectors(self, table: Counted, numbers: str) -> TextVectors:
        name, snapshot = f"{self._table}/{table}", self._memory.snapshot
        if self._folder is None or name not in snapshot.manifest.tables:
            return TextVectors([], np.zeros(0, np.int32))
        try:
            (texts,) = open_arrays(self._folder, **{numbers: np.int32})
        except FileNotFoundError as error:
            raise OlderFormatError(
                f"{self._folder}: a former version made this graph; run `mnemodex build` with the recipe to "
                "make it again"
            ) from error
        matrices = self._matrices(name)
        check_places(texts, self._live.count(table), self._folder, numbers)
        check_arrays(sum(map(len, matrices)) == len(texts), self._folder, f"{numbers} and the vectors")
        live = self._live.numbers(table, texts)
        if table == "facts" and self._without is not None:
            live = np.where((live >= 0) & ~self._without[live], live, np.int32(-1))
        return TextVectors(matrices, live, self._codes("facts", live >= 0) if table == "facts" else None)

    @cached_property
    def _passage_vectors(self) -> TextVectors | None:
        """The vectors of passages, where these are too many to compare all with a question."""
        numbers = self._live.numbers("passages", np.arange(len(self._vectors), dtype=np.int32))
        codes = self._codes("passages", numbers >= 0)
        return TextVectors(self._matrices(self._table), numbers, codes) if codes is not None else None

    def _matrices(self, table: str) -> list[Floats]:
        return [open_matrix(path, self._dimension) for path in self._memory.snapshot.paths(table, ".npy")]

    def _codes(self, of: Literal["facts", "passages"], kept: Bools) -> Codes | None:
        caches, files = self._memory.snapshot.manifest.caches, self._memory.snapshot.store.files
        trained, written = (caches.get(vector_codes(of, self._embed, trained=first).path) for first in (True, False))
        if trained is None or written is None:
            return None
        (centroids,) = (files.local(part.file(".faiss")) for part in trained.partitions)
        return Codes(centroids, [files.local(part.file(".npy")) for part in written.partitions], kept)

    def exact(self) -> Self:
        """Return it with the exact cosines of all passages, for which all their vectors are read."""
        whole = copy.copy(self)
        whole._passage_vectors = None
        return whole

    def without_facts(self, fact_ids: Int64s) -> Self:
        """Return it without facts, given by their ids, int64: they are near to nothing, and no walk goes over them.

        No walk goes over passages that state some of them and no other fact either, and their texts are not read.
        """
        from mnemodex.indexers.graph.pruning import without_facts

        parts = self._memory.snapshot.manifest.tables[FACTS.label].partitions
        columns = [self._memory.snapshot.column(FACTS.label, part.label, "fact_id") for part in parts]
        places = self._live.places("facts", np.arange(len(self.graph.subjects)))
        kept = copy.copy(self)
        kept._without = np.isin(np.concatenate(columns)[places], fact_ids)
        kept.graph, kept._unread = without_facts(self.graph, kept._without)
        vars(kept).pop("_fact_vectors", None)
        return kept

    @cached_property
    def words(self) -> WordCounts:
        """In how many passages each word is; without files, of passages spread over the memory."""
        if self._folder is not None:
            counts = WordCounts.open(self._folder)
            return counts.less(WordCounts.sum(list(map(WordCounts.open, self._left_out)))) if self._left_out else counts
        size = min(_SAMPLE, self.graph.passages)
        numbers = np.unique(np.linspace(0, self.graph.passages - 1, size).astype(np.int64))
        return WordCounts.of("\n".join(passage) for passage in self.read(numbers.tolist()))

    @cached_property
    def _by_id(self) -> Int64s:
        """The numbers of passages in the order of their ids."""
        return np.argsort(self.rows.ids)

    def numbers(self, chunk_ids: Int64s) -> Int64s:
        """Return the numbers of passages by their ids, which are all there."""
        return self._by_id[np.searchsorted(self.rows.ids, chunk_ids, sorter=self._by_id)]

    @property
    def bm25(self) -> Retriever | None:
        """The BM25 index by which passages gain, if the recipe names one."""
        return None if self._bm25 is None else self._memory.retriever(self._bm25)

    def encode(self, texts: Sequence[str]) -> Float32s:
        """Return vectors of questions, float32 of shape (texts, dimension)."""
        return self.encoder.encode_queries(list(texts))

    @property
    def encoder(self) -> TextEncoder:
        """The encoder of questions and passages, loaded at the first use."""
        return self._memory.encoder(self._embed)

    def dense(self, vectors: Float32s) -> Float32s:
        """Return the cosine of every passage, float32 of shape (vectors, passages).

        Where passages are too many, they are exact for those that are likely near, see `TextVectors.cosines`. Else all
        vectors are read block by block.
        """
        if self._passage_vectors is not None:
            return self._live.columns(self._passage_vectors.cosines(vectors, temperature=TEMPERATURE))
        scores = np.empty((len(vectors), len(self._vectors)), np.float32)
        start = 0
        for block in self._vectors.blocks(np.arange(len(self._vectors))):
            np.matmul(vectors, block.T, out=scores[:, start : start + len(block)])
            start += len(block)
        return self._live.columns(scores)

    def names(self, entities: Sequence[int]) -> list[str]:
        """Return the names of entities."""
        names = [row["name"] for row in self._texts("entities", entities)]
        return self._live.names(entities, names, self.read)

    def facts(self, facts: Sequence[int]) -> list[tuple[str, str, str]]:
        """Return subject, predicate and object of facts."""
        return [(row["subject"], row["predicate"], row["object"]) for row in self._texts("facts", facts)]

    def _texts(self, table: Counted, numbers: Sequence[int]) -> list[dict[str, str]]:
        if not numbers:
            return []
        places = self._live.places(table, np.array(numbers, np.int64))
        rows: list[dict[str, str]] = self._tables[table].take(to_column(places, pa.int64())).to_pylist()
        return rows

    @cached_property
    def _tables(self) -> dict[str, pa.Table]:
        """The texts of entities and facts, mapped."""
        assert self._folder is not None  # noqa: S101 - without an index there are no entities and facts
        tables = {name: read_arrow(self._folder / f"{name}.arrow") for name in ("entities", "facts")}
        agree = all(len(tables[name]) == self._live.count(name) for name in ("entities", "facts"))
        check_arrays(agree, self._folder, "the texts and the arrays of the graph")
        return tables

    def read(self, passages: Sequence[int]) -> list[Passage]:
        """Return title and text of passages."""
        numbers = np.asarray(passages, np.int64)
        partitions = self.rows.partition[numbers]
        texts: dict[int, Passage] = {}
        for partition in np.unique(partitions):
            inside = numbers[partitions == partition]
            label = self.rows.labels[int(partition)]
            table = self._memory.snapshot.take(CHUNKS.label, label, self.rows.row[inside].tolist(), ["title", "text"])
            texts.update(zip(inside.tolist(), (Passage(**row) for row in table.to_pylist()), strict=True))
        if self._unread is not None:
            texts.update((number, Passage("", "")) for number in numbers[self._unread[numbers]].tolist())
        return [texts[number] for number in numbers.tolist()]


def _without_edges(chunk_ids: Int64s) -> Graph:
    """Return the graph of passages that nothing joins."""
    none, weights, no_ids = np.zeros(0, np.int32), np.zeros(0, np.float32), np.zeros(0, np.int64)
    zeros = np.zeros(len(chunk_ids) + 1, np.int64)
    return Graph(no_ids, chunk_ids, zeros, none, weights, weights, weights, none, none, zeros, none, none)
