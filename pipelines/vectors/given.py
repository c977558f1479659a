"""Vectors that were made elsewhere become the table of an embedding: each is given to the chunk that its id names."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from typing_extensions import override

from mnemodex.indexers.encoders.base import normalize
from mnemodex.pipelines.ops.base import Finished, NoSettings, Op
from mnemodex.pipelines.vectors.files import Block, hash_id, hash_place, look_at, read_vectors, vector_files
from mnemodex.retrievers.tombstones import read_tombstones
from mnemodex.schemas.errors import SourceError
from mnemodex.schemas.manifest import Stats
from mnemodex.schemas.spec import RunOnly, Spec
from mnemodex.schemas.steps import All, Part, Read, Step
from mnemodex.schemas.store import parquet
from mnemodex.schemas.store.columns import numbers, to_column, to_table
from mnemodex.schemas.tables import CHUNKS, DOCUMENTS, TableKey, spec_of
from mnemodex.schemas.vector_sections import VectorFile

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from mnemodex.indexers.arrays import Bools, Float32s, Int64s
    from mnemodex.indexers.base import InputPartition
    from mnemodex.pipelines.ops.inputs import Inputs
    from mnemodex.pipelines.ops.output import Output
    from mnemodex.pipelines.plan import PlanContext
    from mnemodex.retrievers.tombstones import Tombstones

_UNIT = 0.01
"""How much a length of half precision may differ from 1."""
_WRITTEN = 65_536
"""Rows of a table that are written at once."""


class GivenSettings(Spec):
    """Files of vectors, the embedding's name in messages, and the places of tombstones."""

    vectors: VectorFile
    name: Annotated[str, RunOnly()] = ""
    tombstones: Annotated[tuple[str, ...], RunOnly()] = ()


class SortStats(Stats):
    """Vectors of the files, those whose id is of no chunk, and where the first of these is."""

    vectors: int = 0
    unused: int = 0
    example: str = ""


class SortVectors(Op):
    """Writes the vectors of all files into one matrix a partition of chunks, `LABEL.npy` of float32, in their order.

    A chunk that a tombstone names needs no vector, and may have one key with another chunk, as after an update; without
    a vector it gets zeros, which no search sees.

    Memory: 24 bytes a chunk, and a block of vectors. A partition's matrix is the same wherever its vectors are in the
    files, so only partitions with other vectors, or other chunks, are made again by later steps.
    """

    Settings = GivenSettings
    seconds_per_megabyte = 0.02
    settings: GivenSettings

    @override
    def run(self, inputs: Inputs, output: Output) -> Stats:
        spec = self.settings.vectors
        look_at(spec)
        blocks = read_vectors(spec)
        first = next(block for block in blocks if len(block.ids))
        chunks = inputs.partitions(0, aligned=("documents",))
        tombstones = read_tombstones(self.work.store, map(self.work.store.checked, self.settings.tombstones))
        directory = _Directory(chunks, _id_form(spec, first), self.settings.name, tombstones)
        matrices = _Matrices(output.folder, chunks, first.vectors.shape[1])
        stats: dict[str, Any] = {"vectors": 0, "unused": 0, "example": ""}
        for block in chain([first], blocks):
            self._sort(block, directory, matrices, stats)
            output.progress(stats["vectors"] - stats["unused"])
        directory.check_complete(first.path)
        output.rows = len(directory)
        return SortStats(**stats, dimension=first.vectors.shape[1])

    def _sort(self, block: Block, directory: _Directory, matrices: _Matrices, stats: dict[str, Any]) -> None:
        rows, places = directory.find(block, stats["vectors"])
        unused = len(block.ids) - len(rows)
        if unused and not stats["unused"]:
            # Not its id: a document may have been purged, whose key is not to be kept.
            missing = np.setdiff1d(np.arange(len(block.ids)), rows)[0]
            stats["example"] = f"row {block.first + missing + 1} of {block.path.rpartition('/')[2]}"
        stats["vectors"] += len(block.ids)
        stats["unused"] += unused
        vectors = self._checked(block, rows)
        matrices.write(places, vectors)

    def _checked(self, block: Block, rows: Int64s) -> Float32s:
        """Return the vectors of some rows as float32; refuse those that no index can hold."""
        spec = self.settings.vectors
        with np.errstate(over="ignore"):
            vectors = np.ascontiguousarray(block.vectors[rows], np.float32)

        def refuse(bad: Any, problem: str) -> NoReturn:
            count = int(bad.sum())
            more = f" and {count - 1} more of the {len(rows)} around it" if count > 1 else ""
            raise SourceError(f"{block.path}: row {block.first + rows[np.argmax(bad)] + 1}{more}: {problem}")

        finite = np.isfinite(vectors).all(axis=1)
        if not finite.all():
            refuse(~finite, "the vector holds NaN, infinity or what float32 cannot hold; encode the text again")
        lengths = np.linalg.norm(vectors, axis=1)
        if spec.normalize is False:
            return vectors
        if not lengths.all():
            problem = "the vector is zero, which has no direction; encode the text again"
            refuse(lengths == 0, f"{problem}, or set `normalize: false` in embed.{self.settings.name}")
        if spec.normalize:
            return normalize(vectors)
        other = np.abs(lengths - 1) > _UNIT
        if other.any():
            problem = f"the vector's length is {lengths[np.argmax(other)]:.4g}; say in embed.{self.settings.name} how"
            refuse(
                other,
                f"{problem} vectors are compared: `normalize: true` for cosines, `normalize: false` for inner "
                "products, or with `metric: l2` in the index for Euclidean distances",
            )
        return vectors

    @override
    @classmethod
    def complete(cls, finished: Finished) -> list[str]:
        stats = finished.parts[0].stats.of(SortStats)
        settings: Any = finished.step.settings
        if not stats.unused:
            return []
        return [
            f"embed.{settings.name}: {stats.unused} of {stats.vectors} vectors are of no chunk (the first: "
            f"{stats.example}); their ids are the documents' keys"
        ]


def _id_form(spec: VectorFile, block: Block) -> str:
    """Return by what the rows of the files name chunks: `chunk_id`, `place` or `text`."""
    if spec.ids is not None:
        return "text"
    import pyarrow.parquet as pq

    names = pq.read_schema(block.path).names
    if spec.column("chunk_id") in names:
        return "chunk_id"
    return "place" if spec.column("ordinal") in names else "text"


class _Directory:
    """The chunks of all partitions by the hashes of what names them, and which row of the files each has."""

    def __init__(self, chunks: Sequence[InputPartition], form: str, name: str, tombstones: Tombstones) -> None:
        self._chunks = chunks
        self._name = name
        ids = np.concatenate([np.zeros(0, np.int64), *(_chunk_names(part, form) for part in chunks)])
        self._masked = _masked(chunks, tombstones)
        # Chunks that readers see precede those of one name that they do not.
        self._order = np.lexsort((self._masked, ids)) if self._masked is not None else np.argsort(ids, kind="stable")
        self._ids = ids[self._order]
        self._taken = np.full(len(ids), -1, np.int64)

    def __len__(self) -> int:
        return len(self._ids)

    def find(self, block: Block, before: int) -> tuple[Int64s, Int64s]:
        """Return the rows of a block that are of chunks, and these chunks' numbers; `before` rows were read already.

        Raises:
            SourceError: two rows are of one chunk, or an id is of two chunks.
        """
        places, known = self._places(block.ids)
        ending = np.flatnonzero(~known & (block.bare >= 0))
        if len(ending):
            places[ending], known[ending] = self._places(block.bare[ending])
        rows = np.flatnonzero(known)
        places = places[rows]
        self._refuse_ambiguous(block, rows, places)
        earlier = self._taken[places]
        # Of several rows of the block with one id, the first is the earlier one.
        _, first, same = np.unique(places, return_index=True, return_inverse=True)
        within = first[same] != np.arange(len(places))
        again = (earlier >= 0) | within
        if again.any():
            bad = int(np.argmax(again))
            other = earlier[bad] if earlier[bad] >= 0 else before + rows[first[same[bad]]]
            raise SourceError(
                f"{block.path}: row {block.first + rows[bad] + 1} has the id of row {other + 1} of the files; leave "
                "one of them out"
            )
        self._taken[places] = before + rows
        return rows, self._order[places]

    def _refuse_ambiguous(self, block: Block, rows: Int64s, places: Int64s) -> None:
        """Refuse ids of two chunks that readers see."""
        following = np.minimum(places + 1, len(self._ids) - 1)
        twice = (following > places) & (self._ids[following] == self._ids[places])
        if self._masked is not None:
            twice &= ~self._masked[self._order[following]]
        if twice.any():
            raise SourceError(
                f"{block.path}: the id of row {block.first + rows[np.argmax(twice)] + 1} is the key of a document and "
                "KEY#ORDINAL of another's chunk; give a Parquet file with the columns key and ordinal"
            )

    def check_complete(self, path: str) -> None:
        """Refuse chunks without a vector.

        Raises:
            SourceError: names one of them, and counts them.
        """
        missing = self._order[self._taken < 0]
        if self._masked is not None:
            missing = missing[~self._masked[missing]]
        if not len(missing):
            return
        number = int(missing.min())
        if len(missing) == len(self):
            raise SourceError(
                f"{path}: none of its ids is of a chunk of the memory, the first of which is {self._shown(number)}; "
                "ids are the keys of documents, KEY#ORDINAL where these have several chunks, or chunk_id"
            )
        raise SourceError(
            f"embed.{self._name}: {len(missing)} of {len(self)} chunks have no vector, the first is "
            f"{self._shown(number)}; add their vectors to {path}, or a file of them to `from`, or leave the documents "
            "out of the source"
        )

    def _shown(self, number: int) -> str:
        for part in self._chunks:
            if number < part.rows:
                break
            number -= part.rows
        row = parquet.read(part.files["parquet"], columns=["doc_id", "ordinal"]).slice(number, 1).to_pylist()[0]
        documents = parquet.read(part.aligned["documents"].files["parquet"], columns=["doc_id", "key"])
        key = documents.filter(pc.equal(documents["doc_id"], row["doc_id"]))["key"][0].as_py()
        return f"chunk {row['ordinal']} of document {key!r}"

    def _places(self, ids: Int64s) -> tuple[Int64s, Any]:
        places = np.minimum(np.searchsorted(self._ids, ids), len(self._ids) - 1)
        return places, self._ids[places] == ids


def _masked(chunks: Sequence[InputPartition], tombstones: Tombstones) -> Bools | None:
    """Return which chunks tombstones name, of shape (chunks,); None where there are none."""
    if not len(tombstones.chunk_id):
        return None
    ids = (parquet.column(part.files["parquet"], "chunk_id") for part in chunks)
    return np.concatenate([tombstones.mask("chunk_id", part) for part in ids])


def _chunk_names(part: InputPartition, form: str) -> Int64s:
    """Return the hash of what names each chunk of a partition, int64; or its id."""
    if form == "chunk_id":
        ids: Int64s = parquet.column(part.files["parquet"], "chunk_id")
        return ids
    chunks = parquet.read(part.files["parquet"], columns=["doc_id", "ordinal"])
    documents = parquet.read(part.aligned["documents"].files["parquet"], columns=["doc_id", "key"])
    doc_ids, ordinals = numbers(chunks["doc_id"]), numbers(chunks["ordinal"]).astype(np.int64)
    order = np.argsort(numbers(documents["doc_id"]))
    rows = order[np.searchsorted(numbers(documents["doc_id"])[order], doc_ids)]
    keys = documents["key"].combine_chunks().take(to_column(rows, pa.int64()))
    if form == "place":
        return hash_place(keys, ordinals)
    _, inverse, counts = np.unique(doc_ids, return_inverse=True, return_counts=True)
    several = counts[inverse] > 1
    if not several.any():
        return hash_id(keys)
    named = pc.binary_join_element_wise(keys, to_column(ordinals, pa.int64()).cast(pa.string()), "#")
    return np.where(several, hash_id(named), hash_id(keys))


class _Matrices:
    """The matrices of all partitions, as files that are written in any order, one at a time."""

    def __init__(self, folder: Path, chunks: Sequence[InputPartition], dimension: int) -> None:
        self._paths = [folder / f"{part.label}.npy" for part in chunks]
        self._starts = np.cumsum([0, *(part.rows for part in chunks)])
        for path, part in zip(self._paths, chunks, strict=True):
            if part.rows:
                np.lib.format.open_memmap(path, "w+", np.float32, (part.rows, dimension))
            else:
                np.save(path, np.zeros((0, dimension), np.float32), allow_pickle=False)

    def write(self, chunks: Int64s, vectors: Float32s) -> None:
        """Write the vectors of some chunks, by their numbers among those of all partitions."""
        order = np.argsort(chunks, kind="stable")
        ordered = chunks[order]
        parts = np.searchsorted(self._starts, ordered, side="right") - 1
        bounds = np.flatnonzero(np.diff(parts)) + 1
        for rows in np.split(np.arange(len(order)), bounds):
            if len(rows):
                part = parts[rows[0]]
                matrix = np.load(self._paths[part], mmap_mode="r+", allow_pickle=False)
                matrix[ordered[rows] - self._starts[part]] = vectors[order[rows]]


class GivenOp(Op):
    """Writes the vectors of one partition of chunks, which `SortVectors` set aside, as a partition of the embedding."""

    seconds_per_megabyte = 0.05

    @override
    def run(self, inputs: Inputs, output: Output) -> Stats:
        path = inputs.part(1)
        assert path is not None  # noqa: S101 - there is one for every partition
        vectors = np.load(path, mmap_mode="r", allow_pickle=False)
        ids = inputs.ids(0, "chunk_id")
        dimension = vectors.shape[1]
        table = spec_of(TableKey("embeddings", "any")).sized(dimension)
        lists = pa.FixedSizeListArray.from_arrays(to_column(vectors.reshape(-1), pa.float32()), dimension)
        output.write(table, to_table([ids, lists], table.schema).to_batches(max_chunksize=_WRITTEN))
        return Stats(dimension=dimension)


def given_steps(context: PlanContext, name: str, tombstones: Sequence[str]) -> Iterator[Step]:
    """Sort the vectors of files by partitions of chunks, and make a partition of the embedding of each.

    Tombstones are given by their places.
    """
    spec = context.recipe.embed[name]
    assert isinstance(spec, VectorFile)  # noqa: S101 - others are encoded
    files = vector_files(spec)
    content = [[context.content(path) for path in pair if path is not None] for pair in files]
    ids = tuple(ids for _, ids in files if ids is not None)
    # Workers read the files that are hashed here, whatever a pattern matches by then.
    listed = spec.model_copy(update={"path": tuple(path for path, _ in files), "ids": ids or None})
    sorted_vectors = TableKey("given_vectors", name, draft=True)
    yield Step(
        f"embeddings/{name}: sort",
        "mnemodex.pipelines.vectors.given:SortVectors",
        (Read(CHUNKS, All(), ("chunk_id", "doc_id", "ordinal")), Read(DOCUMENTS, All(), ("doc_id", "key"))),
        (sorted_vectors,),
        GivenSettings(vectors=listed, name=name, tombstones=tuple(tombstones)),
        identity=[spec.identity(step="embeddings"), content, *tombstones],
    )
    yield Step(
        TableKey("embeddings", name).label,
        "mnemodex.pipelines.vectors.given:GivenOp",
        (Read(CHUNKS, columns=("chunk_id",)), Read(sorted_vectors, Part())),
        (TableKey("embeddings", name),),
        NoSettings(),
        id_decides=False,
    )
