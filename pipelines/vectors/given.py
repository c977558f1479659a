"""Vectors that were made elsewhere become the table of an embedding: each is given to the chunk that its id names."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from itertools import chain
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import numpy as np
import pyarrow as pa
from typing_extensions import override

from mnemodex.indexers.encoders.base import normalize
from mnemodex.pipelines.ops.base import Finished, NoSettings, Op
from mnemodex.pipelines.vectors.directory import ChunkDirectory
from mnemodex.pipelines.vectors.files import read_headers, read_vectors, vector_files
from mnemodex.retrievers.tombstones import read_tombstones
from mnemodex.schemas.errors import SourceError
from mnemodex.schemas.manifest import Stats
from mnemodex.schemas.spec import RunOnly, Spec
from mnemodex.schemas.steps import All, Part, Read, Step
from mnemodex.schemas.store.columns import to_column, to_table
from mnemodex.schemas.tables import CHUNKS, DOCUMENTS, TableKey, spec_of
from mnemodex.schemas.vector_sections import VectorFile

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from mnemodex.indexers.arrays import Float32s, Int64s
    from mnemodex.indexers.base import InputPartition
    from mnemodex.pipelines.ops.inputs import Inputs
    from mnemodex.pipelines.ops.output import Output
    from mnemodex.pipelines.plan import PlanContext
    from mnemodex.pipelines.vectors.block import Block

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


@dataclass(slots=True)
class _Counts:
    """What was sorted so far: the fields are those of `SortStats`."""

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
        form = next(header.form for header in read_headers(spec) if header.rows)
        blocks = read_vectors(spec)
        first = next(block for block in blocks if len(block.ids))
        chunks = inputs.partitions(0, aligned=("documents",))
        tombstones = read_tombstones(self.work.store, map(self.work.store.checked, self.settings.tombstones))
        directory = ChunkDirectory(chunks, form, self.settings.name, tombstones)
        matrices = _Matrices(output.folder, chunks, first.vectors.shape[1])
        counts = _Counts()
        for block in chain([first], blocks):
            self._sort(block, directory, matrices, counts)
            output.progress(counts.vectors - counts.unused)
        directory.check_complete(first.path)
        output.rows = len(directory)
        return SortStats(**asdict(counts), dimension=first.vectors.shape[1])

    def _sort(self, block: Block, directory: ChunkDirectory, matrices: _Matrices, counts: _Counts) -> None:
        rows, places = directory.find(block, counts.vectors)
        unused = len(block.ids) - len(rows)
        if unused and not counts.unused:
            # Not its id: a document may have been purged, whose key is not to be kept.
            missing = np.setdiff1d(np.arange(len(block.ids)), rows)[0]
            counts.example = f"row {block.first + missing + 1} of {block.path.rpartition('/')[2]}"
        counts.vectors += len(block.ids)
        counts.unused += unused
        matrices.write(places, self._checked(block, rows))

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
