"""The graph index of a recipe: the graph's tables become arrays that are mapped."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from typing_extensions import override

from mnemodex.indexers.arrays import read_arrow, save_arrays, write_arrow
from mnemodex.indexers.base import Indexer, IndexStats
from mnemodex.indexers.graph.graph import Graph
from mnemodex.indexers.graph.passages import read_names, write_words
from mnemodex.indexers.graph.words import WordCounts
from mnemodex.indexers.rows import Rows
from mnemodex.schemas.store import parquet
from mnemodex.schemas.tables import CHUNKS, EDGES, ENTITIES, FACT_TEXTS, FACTS, NAME_TEXTS, PASSAGE_WORDS, TRIPLES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from mnemodex.indexers.arrays import Int32s, Int64s
    from mnemodex.indexers.base import InputPartition
    from mnemodex.indexers.graph.adjacency import Edges
    from mnemodex.indexers.graph.numbering import Numbering
    from mnemodex.indexers.graph.passages import Mentioned
    from mnemodex.indexers.settings import GraphSettings
    from mnemodex.schemas.tables import TableKey

    Tables = dict[str, list[InputPartition]]
    Numbers = Callable[[Int64s], Int64s]

_EVERYTHING = 1 << 62
_FACT = ("subject", "predicate", "object")


class GraphStats(IndexStats):
    """The sizes of a graph."""

    entities: int
    facts: int
    edges: int


class GraphIndexer(Indexer):
    """Writes one shard: the arrays of `Graph`, the passages' rows and words, and the texts of entities and facts.

    `fact_numbers` and `entity_numbers`, int32, are the numbers of the facts and entities that the rows of their vectors
    belong to.

    With the method bridge-lite, entities are the names that passages write with capitals, and there are no facts.
    Building takes some 60 bytes an edge besides the tables' columns.
    """

    version: ClassVar[int] = 2
    settings: GraphSettings
    shard_rows = _EVERYTHING
    takes_off: ClassVar[bool] = True

    @staticmethod
    @override
    def table(settings: Any) -> TableKey | None:
        return None if settings.of is not None else CHUNKS

    @staticmethod
    @override
    def whole(settings: Any) -> tuple[TableKey, ...]:
        if settings.of is not None:
            return ()
        graph = (ENTITIES, FACTS, EDGES, TRIPLES, FACT_TEXTS, NAME_TEXTS) if settings.has_facts else ()
        return (PASSAGE_WORDS, *graph)

    def build(self, partitions: list[InputPartition], out: Path, *, tables: Tables) -> GraphStats:
        """Make the arrays; see the class for what is written."""
        rows = Rows.of(partitions)
        rows.save(out)
        words = [part.folder for part in tables[PASSAGE_WORDS.label] if part.folder is not None]
        if self.settings.has_facts:
            graph = _of_tables(rows.ids, tables, out)
        else:
            graph = _of_names(rows.ids, read_names(words, [part.rows for part in partitions]), out)
        graph.save(out)
        WordCounts.sum([WordCounts.open(folder) for folder in words]).save(out)
        return GraphStats(
            rows=graph.passages, entities=graph.entities, facts=len(graph.subjects), edges=len(graph.indices) // 2
        )

    @override
    def build_left_out(self, partition: InputPartition, out: Path) -> None:
        write_words(partition.files["parquet"], out)


def _of_tables(chunk_ids: Int64s, tables: Tables, out: Path) -> Graph:
    from mnemodex.indexers.graph.adjacency import adjacency
    from mnemodex.indexers.graph.numbering import Numbering

    entities = _read(tables[ENTITIES.label], ["entity_id", "name", "chunks"])
    facts = _read(tables[FACTS.label], ["fact_id", "subject_id", "object_id", *_FACT])
    _write_texts(out / "entities.arrow", entities.select(["name"]))
    _write_texts(out / "facts.arrow", facts.select(list(_FACT)))
    entity_ids, fact_ids = entities["entity_id"].to_numpy(), facts["fact_id"].to_numpy()
    entity, fact = Numbering(entity_ids), Numbering(fact_ids)
    save_arrays(
        out,
        fact_numbers=_numbers(tables[FACT_TEXTS.label], fact),
        entity_numbers=_numbers(tables[NAME_TEXTS.label], entity),
    )
    # Unlike the other ids, those of passages are in no order.
    order = np.argsort(chunk_ids)
    in_order = Numbering(chunk_ids[order])

    def passages(ids: Int64s) -> Int64s:
        return order[in_order(ids)]

    return Graph(
        entity_ids,
        chunk_ids,
        *adjacency(len(entity_ids), len(chunk_ids), **_edges(tables[EDGES.label], entity, passages)),
        entity(facts["subject_id"].to_numpy()).astype(np.int32),
        entity(facts["object_id"].to_numpy()).astype(np.int32),
        *_stated(tables["triples"], fact, passages, len(chunk_ids)),
        entities["chunks"].to_numpy().astype(np.int32),
    )


def _numbers(partitions: list[InputPartition], numbers: Numbering) -> Int32s:
    """Return the numbers of the rows of vectors of texts: segment by segment, and in these by ascending id."""
    files = sorted((path.name, number, path) for number, part in enumerate(partitions) for path in _files(part))
    rows = [np.zeros(0, np.int64), *(read_arrow(path).column(0).to_numpy() for *_, path in files)]
    return numbers(np.concatenate(rows)).astype(np.int32)


def _files(part: InputPartition) -> Iterator[Path]:
    return part.folder.glob("*.arrow") if part.folder is not None else iter(())


def _edges(partitions: list[InputPartition], entity: Numbering, passages: Numbers) -> dict[str, Edges]:
    """Return the edges of each kind, by the numbers of entities and of passages."""
    from mnemodex.indexers.graph.adjacency import Edges
    from mnemodex.indexers.graph.pruning import NO_EDGES

    kinds: dict[str, list[Edges]] = {kind: [NO_EDGES] for kind in ("fact", "mention", "synonym")}
    for batch in _batches(partitions, ["source_id", "target_id", "kind", "weight"]):
        for kind, parts in kinds.items():
            rows = batch.filter(pc.equal(batch["kind"], kind))
            source, target, weight = (rows[name].to_numpy() for name in ("source_id", "target_id", "weight"))
            parts.append(Edges(entity(source), passages(target) if kind == "mention" else entity(target), weight))
    return {f"{kind}s": Edges(*map(np.concatenate, zip(*parts, strict=True))) for kind, parts in kinds.items()}


def _stated(triples: list[InputPartition], fact: Numbering, passages: Numbers, count: int) -> tuple[Int64s, Int32s]:
    """Return the facts of each passage: where they begin, and their numbers."""
    parts = [np.zeros(0, np.int64)]
    columns = (
        [batch[name].to_numpy() for name in ("chunk_id", "fact_id")]
        for batch in _batches(triples, ["chunk_id", "fact_id"])
    )
    parts += (passages(chunk_ids) << 32 | fact(fact_ids) for chunk_ids, fact_ids in columns)
    pairs = np.sort(np.concatenate(parts))
    offsets = np.concatenate([np.zeros(1, np.int64), np.cumsum(np.bincount(pairs >> 32, minlength=count))])
    return offsets, pairs.astype(np.int32)


def _of_names(chunk_ids: Int64s, mentioned: Mentioned, out: Path) -> Graph:
    """Return the graph of the names that passages write with capitals."""
    from mnemodex.indexers.graph.adjacency import Edges, adjacency

    count = len(mentioned.entity_ids)
    _write_texts(out / "entities.arrow", pa.table({"name": mentioned.names}))
    _write_texts(out / "facts.arrow", pa.table({name: pa.array([], pa.string()) for name in _FACT}))
    none = np.zeros(0, np.int64)
    nothing = Edges(none, none, np.zeros(0, np.float32))
    mentions = Edges(mentioned.entities, mentioned.passages, np.ones(len(mentioned.entities), np.float32))
    return Graph(
        mentioned.entity_ids,
        chunk_ids,
        *adjacency(count, len(chunk_ids), facts=nothing, mentions=mentions, synonyms=nothing),
        np.zeros(0, np.int32),
        np.zeros(0, np.int32),
        np.zeros(len(chunk_ids) + 1, np.int64),
        np.zeros(0, np.int32),
        np.bincount(mentioned.entities, minlength=count).astype(np.int32),
    )


def _batches(partitions: list[InputPartition], columns: list[str]) -> Iterator[pa.RecordBatch]:
    for part in partitions:
        yield from parquet.read_batches(part.files["parquet"], columns=columns, rows=65_536)


def _read(partitions: list[InputPartition], columns: list[str]) -> pa.Table:
    return pa.concat_tables([parquet.read(part.files["parquet"], columns=columns) for part in partitions])


def _write_texts(path: Path, table: pa.Table) -> None:
    """Write strings of any length in all."""
    write_arrow(path, table.cast(pa.schema([(name, pa.large_string()) for name in table.schema.names])))
