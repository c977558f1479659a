"""Documents become chunks."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import pyarrow as pa
from typing_extensions import override

from mnemodex.indexers.models.tokenizers import token_offsets, tokenizer
from mnemodex.pipelines.chunkers import make_chunker
from mnemodex.pipelines.ops.base import Finished, Stage, Work
from mnemodex.schemas.errors import SourceError, StageFailedError
from mnemodex.schemas.ids import hash_columns
from mnemodex.schemas.kinds import CHUNKERS, AnyChunker, load
from mnemodex.schemas.manifest import Stats
from mnemodex.schemas.sections import DEFAULT_MODEL
from mnemodex.schemas.spec import ModelRef, Spec
from mnemodex.schemas.steps import Read, Step
from mnemodex.schemas.store.columns import numbers, to_batch, to_column
from mnemodex.schemas.tables import CHUNKS, DOCUMENTS, spec_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mnemodex.indexers.arrays import Int64s
    from mnemodex.pipelines.plan import PlanContext


class ChunkSettings(Spec):
    """How documents are cut, and whose tokens are counted."""

    chunker: AnyChunker
    id_salt: str = ""
    counted_by: Annotated[str, ModelRef("tokenizer")] = DEFAULT_MODEL


class ChunkStats(Stats):
    """Documents without a chunk."""

    blank: int = 0


class ChunkStage(Stage):
    """Cuts documents into chunks and counts their tokens; a document with a blank title and text gives no chunk."""

    Settings = ChunkSettings
    columns = ("doc_id", "title", "text")
    seconds_per_megabyte = 0.6
    table = spec_of(CHUNKS)
    settings: ChunkSettings

    @override
    def setup(self, work: Work) -> None:
        self._chunker = make_chunker(self.settings.chunker, work.objects)
        self._tokenizer = tokenizer(self.settings.counted_by)

    @override
    def run(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        self._blank = 0
        yield from map(self._chunk, batches)

    @override
    def stats(self) -> ChunkStats:
        return ChunkStats(blank=self._blank)

    @override
    @classmethod
    def complete(cls, finished: Finished) -> list[str]:
        if finished.parts and not finished.rows:
            raise SourceError("chunks: no document has any text; check `source.fields.text`")
        return []

    def _chunk(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        titles, texts = batch["title"].to_pylist(), batch["text"].to_pylist()
        rows = zip(self.cut(batch), titles, texts, strict=True)
        spans = [span if title.strip() or text.strip() else span[:0] for span, title, text in rows]
        sizes = np.array([len(span) for span in spans], np.int64)
        self._blank += int((sizes == 0).sum())
        document = np.repeat(np.arange(len(spans)), sizes)
        bounds = np.concatenate([*spans, np.zeros((0, 2), np.int64)])
        doc_ids = numbers(batch["doc_id"])[document]
        numbered = zip(document.tolist(), *bounds.T.tolist(), strict=True)
        chunks = [texts[number][start:end] for number, start, end in numbered]
        first = np.cumsum(sizes) - sizes
        columns = [
            hash_columns([doc_ids, bounds[:, 0], bounds[:, 1]], salt=self.settings.id_salt),
            doc_ids,
            (np.arange(len(document)) - first[document]).astype(np.int32),
            bounds[:, 0],
            bounds[:, 1],
            batch["title"].take(to_column(document, pa.int64())),
            chunks,
            np.fromiter(map(len, token_offsets(self._tokenizer, chunks)), np.int32, len(chunks)),
        ]
        return to_batch(columns, self.table.schema)

    def cut(self, batch: pa.RecordBatch) -> list[Int64s]:
        """Return the chunker's spans of some documents; what no chunker should give is a `StageFailedError`."""
        texts = batch["text"].to_pylist()
        # A list of its own, which it may change.
        spans: Any = self._chunker.spans([*texts])
        name = f"chunker {type(self._chunker).__name__}"
        if not isinstance(spans, list | tuple) or len(spans) != len(texts):
            given = f"{len(spans)} arrays" if isinstance(spans, list | tuple) else f"a {type(spans).__name__}"
            raise StageFailedError(f"{name} gives {given} for {len(texts)} texts; correct it: one array for each text")
        for span, text in zip(spans, texts, strict=True):
            if not isinstance(span, np.ndarray) or span.dtype.kind not in "iu" or span.shape[1:] != (2,):
                raise StageFailedError(f"{name} gives spans that are no integers of shape (chunks, 2); correct it")
            rows = span.tolist()
            inside = all(0 <= start < end <= len(text) or not text for start, end in rows)
            if not inside or not all(map(operator.lt, rows, rows[1:])):
                raise StageFailedError(
                    f"{name} gives spans that are empty, not in order, or beyond a text of {len(text)} characters: "
                    f"{rows[:5]}; correct it"
                )
        return [span.astype(np.int64) for span in spans]


def chunk_steps(context: PlanContext) -> Iterator[Step]:
    """Cut every partition of the documents."""
    recipe = context.recipe
    settings = ChunkSettings(chunker=recipe.chunks, id_salt=recipe.id_salt)
    by: Any = getattr(recipe.chunks, "by", None)
    chunker = CHUNKERS.find(by)
    if chunker.steps:
        yield from load(chunker.steps)(context)
        return
    identity = [settings.identity(digest=context.digest), chunker.version]
    reads = (Read(DOCUMENTS, columns=ChunkStage.columns),)
    stage = "mnemodex.pipelines.stages.chunk:ChunkStage"
    yield Step("chunks", stage, reads, (CHUNKS,), settings, identity=identity, reuse="doc_id")
