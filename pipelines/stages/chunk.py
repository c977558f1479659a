"""Documents become chunks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyarrow as pa

from mnemodex.indexers.models import tokenizer
from mnemodex.indexers.tokens import token_offsets
from mnemodex.pipelines.chunkers import chunker_for
from mnemodex.schemas.ids import hash_columns
from mnemodex.schemas.recipe import DEFAULT_MODEL
from mnemodex.schemas.tables import CHUNKS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mnemodex.schemas.tables import Table


class ChunkStage:
    """Cuts documents into chunks and counts their tokens.

    Settings: `chunks` (of the chunker), `id_salt`. A document whose title and text are both blank gives no chunk.
    """

    version: ClassVar[int] = 1
    columns: ClassVar[tuple[str, ...]] = ("doc_id", "title", "text")
    table: Table = CHUNKS

    def __init__(self, settings: dict[str, Any]) -> None:
        self._salt: str = settings["id_salt"]
        self._settings = settings["chunks"]
        self._blank = 0

    def setup(self, cpus: int) -> None:
        """See `Stage.setup`."""
        self._chunker = chunker_for(self._settings)
        self._tokenizer = tokenizer(DEFAULT_MODEL)

    def run(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """See `Stage.run`."""
        self._blank = 0
        for batch in batches:
            yield self._chunk(batch)

    def facts(self) -> dict[str, Any]:
        """See `Stage.facts`: documents without a chunk."""
        return {"blank": self._blank}

    def _chunk(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        titles, texts = batch["title"].to_pylist(), batch["text"].to_pylist()
        spans = [
            span if title.strip() or text.strip() else span[:0]
            for span, title, text in zip(self._chunker.spans(texts), titles, texts, strict=True)
        ]
        sizes = np.array([len(span) for span in spans], np.int64)
        self._blank += int((sizes == 0).sum())
        document = np.repeat(np.arange(len(spans)), sizes)
        bounds = np.concatenate([*spans, np.zeros((0, 2), np.int64)])
        doc_ids = batch["doc_id"].to_numpy()[document]
        pieces = [
            texts[place][start:end] for place, (start, end) in zip(document.tolist(), bounds.tolist(), strict=True)
        ]
        first = np.concatenate([[0], np.cumsum(sizes)])[:-1]
        columns = {
            "chunk_id": hash_columns([doc_ids, bounds[:, 0], bounds[:, 1]], salt=self._salt),
            "doc_id": doc_ids,
            "ordinal": (np.arange(len(document)) - first[document]).astype(np.int32),
            "start": bounds[:, 0],
            "end": bounds[:, 1],
            "title": batch["title"].take(pa.array(document)),
            "text": pa.array(pieces, pa.string()),
            "tokens": self._count(pieces),
        }
        return pa.record_batch(list(columns.values()), schema=CHUNKS.schema)

    def _count(self, texts: list[str]) -> np.ndarray[Any, np.dtype[np.int32]]:
        return np.fromiter(map(len, token_offsets(self._tokenizer, texts)), np.int32, len(texts))
