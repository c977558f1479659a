"""Near copies: a signature of every chunk, and an index of signatures.

MinHash (Broder, 1997): two chunks agree at each place of their signatures with the probability of their Jaccard
similarity over runs of words.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
import pyarrow as pa
from pydantic import Field
from typing_extensions import override

from mnemodex.indexers.rows import Rows
from mnemodex.pipelines.ops.base import Op, Stage
from mnemodex.schemas.manifest import Stats
from mnemodex.schemas.recipe import IndexSettings
from mnemodex.schemas.spec import ReadBy, SearchOnly
from mnemodex.schemas.steps import All, Each, IndexKey, Read, Step
from mnemodex.schemas.store import parquet
from mnemodex.schemas.tables import CHUNKS, TableKey, TableSpec

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from mnemodex.pipelines.ops.inputs import Inputs
    from mnemodex.pipelines.ops.output import Output
    from mnemodex.pipelines.plan import PlanContext

_PRIME = np.uint64((1 << 61) - 1)


class CopiesSettings(IndexSettings):
    """Settings of `type: copies`.

    Attributes:
        words: words of a run.
        hashes: numbers of a signature.
        least: similarity below which a chunk is no hit.
    """

    type: Literal["copies"] = "copies"
    words: Annotated[int, ReadBy("signatures")] = Field(default=3, ge=1)
    hashes: Annotated[int, ReadBy("signatures")] = Field(default=64, ge=1)
    least: Annotated[float, SearchOnly()] = Field(default=0.1, ge=0, le=1)


def signatures(texts: Sequence[str], settings: CopiesSettings) -> NDArray[np.uint32]:
    """Return the signatures of texts, uint32 of shape (texts, hashes)."""
    rng = np.random.default_rng(0)
    factor, addend = (rng.integers(1, 1 << 31, settings.hashes, np.uint64) for _ in range(2))
    matrix = np.full((len(texts), settings.hashes), np.iinfo(np.uint32).max, np.uint32)
    for number, text in enumerate(texts):
        words = text.casefold().split()
        runs = {" ".join(words[at : at + settings.words]) for at in range(max(len(words) - settings.words + 1, 1))}
        hashed = np.array([zlib.crc32(run.encode()) for run in runs if run], np.uint64)
        if len(hashed):
            matrix[number] = ((hashed[:, None] * factor + addend) % _PRIME).min(axis=0).astype(np.uint32)
    return matrix


def _spec(hashes: int) -> TableSpec:
    columns = [
        pa.field("chunk_id", pa.int64(), nullable=False),
        pa.field("signature", pa.list_(pa.uint32(), hashes), nullable=False),
    ]
    return TableSpec(pa.schema(columns), id_column="chunk_id", parents={"chunk_id": "chunks"})


class SignatureStage(Stage):
    """Computes the signatures of a partition of chunks."""

    Settings = CopiesSettings
    columns = ("chunk_id", "text")
    settings: CopiesSettings

    def __init__(self, settings: CopiesSettings) -> None:
        super().__init__(settings)
        self.table = _spec(settings.hashes)

    @override
    def run(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            matrix = signatures(batch["text"].to_pylist(), self.settings)
            column = pa.FixedSizeListArray.from_arrays(pa.array(matrix.reshape(-1)), self.settings.hashes)
            yield pa.record_batch([batch["chunk_id"], column], schema=self.table.schema)


class CopiesOp(Op):
    """Puts the signatures of all chunks into one array, with where each chunk is."""

    Settings = CopiesSettings
    settings: CopiesSettings

    @override
    def run(self, inputs: Inputs, output: Output) -> Stats:
        parts = inputs.partitions(0)
        columns = [parquet.read(part.files["parquet"], columns=["signature"])["signature"] for part in parts]
        numbers = [column.combine_chunks().flatten().to_numpy() for column in columns]
        matrix = np.concatenate([np.zeros(0, np.uint32), *numbers]).reshape(-1, self.settings.hashes)
        np.save(output.folder / "signatures.npy", matrix, allow_pickle=False)
        Rows.of(parts).save(output.folder)
        output.rows = len(matrix)
        return Stats()


def tables(name: str, settings: CopiesSettings) -> dict[TableKey, TableSpec]:
    """Return the table of an index."""
    return {TableKey("signatures", name): _spec(settings.hashes)}


def steps(context: PlanContext, name: str, settings: CopiesSettings) -> Iterator[Step]:
    """Yield the steps of an index: signatures partition by partition, then one shard."""
    key = TableKey("signatures", name)
    module = "mnemodex_example.copies"
    yield Step(
        key.label,
        f"{module}:SignatureStage",
        (Read(CHUNKS, Each(), SignatureStage.columns),),
        (key,),
        settings,
        identity=settings.identity(step="signatures"),
        reuse="chunk_id",
    )
    yield Step(
        name,
        f"{module}:CopiesOp",
        (Read(key, All()),),
        (IndexKey(name),),
        settings,
        identity=settings.identity(step="copies"),
    )
