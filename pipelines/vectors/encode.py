"""Encoding: chunks, facts and names of entities become vectors."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

import numpy as np
import pyarrow as pa

from mnemodex.indexers.encoders import Window, open_encoder
from mnemodex.indexers.text import passages
from mnemodex.pipelines.ops.base import Op
from mnemodex.schemas.errors import NotFiniteError
from mnemodex.schemas.kinds import AnyEncoder
from mnemodex.schemas.manifest import Stats
from mnemodex.schemas.spec import RunOnly, Spec
from mnemodex.schemas.store import parquet
from mnemodex.schemas.tables import TableKey, spec_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from mnemodex.pipelines.ops.base import Finished, Work
    from mnemodex.pipelines.ops.checkpoint import Checkpoint
    from mnemodex.pipelines.ops.inputs import Inputs
    from mnemodex.pipelines.ops.output import Output

Of = Literal["chunks", "facts", "entities"]

_COLUMNS: dict[Of, tuple[str, ...]] = {
    "chunks": ("chunk_id", "title", "text"),
    "facts": ("fact_id", "subject", "predicate", "object"),
    "entities": ("entity_id", "normalized"),
}
"""The id of each table, and the columns whose words are encoded."""

_WINDOW: dict[Of, int] = {"chunks": 2048, "facts": 4096, "entities": 4096}
"""Texts that are sorted by length together."""


class EncodeSettings(Spec):
    """An encoder, what it encodes, and what messages call it."""

    encoder: AnyEncoder
    of: Of
    name: Annotated[str, RunOnly()] = ""


class EncodeOutcome(Stats):
    """What encoding a partition gave.

    Attributes:
        texts: that the model read.
        tokens: of them.
        padded: tokens with padding.
        truncated: texts that were cut at the model's limit.
        max_length: that limit.
    """

    texts: int = 0
    tokens: int = 0
    padded: int = 0
    truncated: int = 0
    max_length: int | None = None


class EncodeOp(Op):
    """Encodes one partition; vectors of the current snapshot and of a former try are taken over."""

    Settings: ClassVar[type[Spec]] = EncodeSettings
    seconds_per_megabyte: ClassVar[float] = 90.0
    settings: EncodeSettings

    def __init__(self, settings: EncodeSettings, work: Work) -> None:
        super().__init__(settings, work)
        self._encoder = open_encoder(settings.encoder, threads=work.cpus, objects=work.objects)

    def run(self, inputs: Inputs, output: Output) -> Stats:
        """See `Op`.

        Raises:
            NotFiniteError: a vector holds NaN or infinity.
        """
        path = inputs.partition(0).files["parquet"]
        id_column = _COLUMNS[self.settings.of][0]
        ids = parquet.read(path, columns=[id_column])[id_column].to_numpy()
        vectors = np.zeros((len(ids), self._encoder.dimension), np.float32)
        reused = inputs.former.fill(inputs.former.find(ids), vectors) if inputs.former else np.zeros(len(ids), np.bool_)
        before = asdict(self._encoder.stats)
        self._encode(path, vectors, reused, output)
        part = "" if self.settings.of == "chunks" else self.settings.of
        table = spec_of(TableKey("embeddings", "any", part)).sized(vectors.shape[1])
        output.write(table, self._batches(table.schema, ids, vectors))
        spent = {key: value - before[key] for key, value in asdict(self._encoder.stats).items()}
        return EncodeOutcome(
            **spent, reused=int(reused.sum()), dimension=vectors.shape[1], max_length=self._encoder.max_length
        )

    @classmethod
    def complete(cls, finished: Finished) -> list[str]:
        """Tell of chunks that were cut."""
        stats = [part.stats.of(EncodeOutcome) for part in finished.parts]
        cut = sum(one.truncated for one in stats)
        settings: Any = finished.step.settings
        if not cut or settings.of != "chunks":
            return []
        return [
            f"{cut} of {finished.rows} chunks have more than the {stats[0].max_length} tokens that "
            f"{settings.encoder.model} reads; the rest of them is not embedded"
        ]

    def _encode(self, path: Path, vectors: NDArray[np.float32], known: NDArray[np.bool_], output: Output) -> None:
        """Fill in the vectors that are not known."""
        done = _resume(output.checkpoint, vectors, known)
        rows: list[NDArray[np.int64]] = []

        def windows() -> Iterator[Window]:
            start = 0
            for batch in parquet.read_batches(path, columns=_COLUMNS[self.settings.of], rows=_WINDOW[self.settings.of]):
                here = np.arange(start, start + batch.num_rows)
                start += batch.num_rows
                rows.append(here[~known[here]])
                yield Window(self._texts(batch.filter(pa.array(~known[here]))), done[rows[-1]])

        count = int(known.sum() + done.sum())
        for part in self._encoder.stream(windows()):
            here = rows[part.window][part.rows]
            vectors[here] = part.vectors
            if np.isfinite(part.vectors).all():
                output.checkpoint.add(_kept(here, part.vectors))
            count += len(here)
            output.progress(count)

    def _texts(self, batch: pa.RecordBatch) -> list[str]:
        settings: Any = self.settings.encoder
        if self.settings.of == "chunks":
            texts = passages(batch, with_title=settings.with_title)
        else:
            words = (batch[name].to_pylist() for name in _COLUMNS[self.settings.of][1:])
            texts = [" ".join(parts) for parts in zip(*words, strict=True)]
        prefix = settings.passage_prefix
        return [prefix + text for text in texts] if prefix else texts

    def _batches(
        self, schema: pa.Schema, ids: NDArray[np.int64], vectors: NDArray[np.float32]
    ) -> Iterator[pa.RecordBatch]:
        bad = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
        if len(bad):
            model = getattr(self.settings.encoder, "model", self.settings.encoder)
            msg = (
                f"embedding {self.settings.name!r}: model {model!r} gives NaN or infinity for "
                f"{schema.names[0].removesuffix('_id')} {ids[bad[0]]} and {len(bad) - 1} more; try `dtype: float32`, "
                "or another model"
            )
            raise NotFiniteError(msg)
        size = _WINDOW[self.settings.of]
        for start in range(0, len(ids), size):
            some = slice(start, start + size)
            flat = pa.array(vectors[some].reshape(-1), pa.float32())
            yield pa.record_batch(
                [pa.array(ids[some]), pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1])], schema=schema
            )


def _kept(rows: NDArray[np.int64], vectors: NDArray[np.float32]) -> pa.RecordBatch:
    """Return vectors as a checkpoint keeps them: with their rows in the partition."""
    flat = pa.array(vectors.reshape(-1), pa.float32())
    return pa.record_batch({"row": pa.array(rows), "vector": pa.FixedSizeListArray.from_arrays(flat, vectors.shape[1])})


def _resume(checkpoint: Checkpoint, vectors: NDArray[np.float32], known: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Fill in the vectors of a former try of the unit; return which rows these are."""
    done = np.zeros(len(known), np.bool_)
    for batch in checkpoint.load():
        rows = batch["row"].to_numpy()
        vectors[rows] = batch["vector"].flatten().to_numpy().reshape(len(rows), -1)
        done[rows] = True
    return done
