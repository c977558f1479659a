"""Chunks become vectors."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyarrow as pa

from mnemodex.indexers.encoder import Encoder, EncodeStats
from mnemodex.indexers.text import passages
from mnemodex.schemas.errors import NotFiniteError
from mnemodex.schemas.recipe import Embedding
from mnemodex.schemas.tables import embeddings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from mnemodex.schemas.tables import Table


class EmbedStage:
    """Encodes chunks with a model that is loaded once an actor.

    Settings: `name` and `spec` of the embedding.
    """

    version: ClassVar[int] = 1
    columns: ClassVar[tuple[str, ...]] = ("chunk_id", "title", "text")
    table: Table

    def __init__(self, settings: dict[str, Any]) -> None:
        self._name: str = settings["name"]
        self._spec = Embedding.model_validate(settings["spec"])

    def setup(self, cpus: int) -> None:
        """See `Stage.setup`."""
        self._encoder = Encoder(self._spec, threads=cpus)
        self.table = embeddings(self._name, self._encoder.dimension)

    def run(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """See `Stage.run`; a batch is the window within which texts are sorted by length."""
        self._encoder.stats = EncodeStats()
        ids: list[pa.Array] = []

        def windows() -> Iterator[list[str]]:
            for batch in batches:
                ids.append(batch["chunk_id"])
                prefix = self._spec.passage_prefix
                texts = passages(batch, with_title=self._spec.with_title)
                yield [prefix + text for text in texts] if prefix else texts

        for vectors in self._encoder.encode_windows(windows()):
            yield self._batch(ids.pop(0), vectors)

    def facts(self) -> dict[str, Any]:
        """See `Stage.facts`: texts, tokens, padded tokens, texts cut at the model's limit, and the model's shape."""
        stats = asdict(self._encoder.stats)
        return {**stats, "dimension": self._encoder.dimension, "max_length": self._encoder.max_length}

    def _batch(self, ids: pa.Array, vectors: NDArray[np.float32]) -> pa.RecordBatch:
        return vector_batch(self.table.schema, ids, vectors, name=self._name, model=self._spec.model)


def vector_batch(
    schema: pa.Schema, ids: pa.Array, vectors: NDArray[np.float32], *, name: str, model: str
) -> pa.RecordBatch:
    """Ids and their vectors as rows of a table.

    Args:
        schema: the table's: ids, and vectors.
        ids: what the vectors are of, int64.
        vectors: float32 of shape (ids, dimension).
        name: the embedding's, for the message.
        model: the model's.

    Raises:
        NotFiniteError: a vector holds NaN or infinity.
    """
    bad = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if len(bad):
        msg = (
            f"embedding {name!r}: model {model!r} gives NaN or infinity for {schema.names[0].removesuffix('_id')} "
            f"{ids[int(bad[0])]} and {len(bad) - 1} more; try `dtype: float32`, or another model"
        )
        raise NotFiniteError(msg)
    flat = pa.array(vectors.reshape(-1), pa.float32())
    return pa.record_batch([ids, pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1])], schema=schema)
