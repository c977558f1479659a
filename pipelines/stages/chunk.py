"""Documents become chunks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import numpy as np
import pyarrow as pa

from mnemodex.indexers.models.tokenizers import token_offsets, tokenizer
from mnemodex.pipelines.chunkers import make_chunker
from mnemodex.pipelines.ops.base import Stage
from mnemodex.schemas.embedding import DEFAULT_MODEL
from mnemodex.schemas.errors import SourceError, StageFailedError
from mnemodex.schemas.ids import hash_columns
from mnemodex.schemas.kinds import CHUNKERS, AnyChunker
from mnemodex.schemas.manifest import Stats
from mnemodex.schemas.spec import ModelRef, Spec
from mnemodex.schemas.steps import Each, Read, Step
from mnemodex.schemas.tables import CHUNKS, DOCUMENTS, spec_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from mnemodex.pipelines.ops.base import Finished, Work
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
    """Cuts documents into chunks and counts their tokens.

    A document whose title and text are both blank gives no chunk.
    """

    version: ClassVar[int] = 1
    Settings: ClassVar[type[Spec]] = ChunkSettings
    columns: ClassVar[tuple[str, ...]] = ("doc_id", "title", "text")
    seconds_per_megabyte: ClassVar[float] = 0.6
    table = spec_of(CHUNKS)

    def __init__(self, settings: ChunkSettings) -> None:
        self._settings = settings
        self._blank = 0

    def setup(self, work: Work) -> None:
        """See `Stage`."""
        self._chunker = make_chunker(self._settings.chunker, work.objects)
        self._tokenizer = tokenizer(self._settings.counted_by)

    def run(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """See `Stage`."""
        self._blank = 0
        for batch in batches:
            yield self._chunk(batch)

    def stats(self) -> ChunkStats:
        """See `Stage`."""
        return ChunkStats(blank=self._blank)

    @classmethod
    def complete(cls, finished: Finished) -> list[str]:
        """Refuse documents without any text."""
        if not finished.rows:
            msg = "chunks: no document has any text; check `source.fields.text`"
            raise SourceError(msg)
        return []

    def _chunk(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        titles, texts = batch["title"].to_pylist(), batch["text"].to_pylist()
        spans = [
            span if title.strip() or text.strip() else span[:0]
            for span, title, text in zip(self._spans(texts), titles, texts, strict=True)
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
            "chunk_id": hash_columns([doc_ids, bounds[:, 0], bounds[:, 1]], salt=self._settings.id_salt),
            "doc_id": doc_ids,
            "ordinal": (np.arange(len(document)) - first[document]).astype(np.int32),
            "start": bounds[:, 0],
            "end": bounds[:, 1],
            "title": batch["title"].take(pa.array(document)),
            "text": pa.array(pieces, pa.string()),
            "tokens": self._count(pieces),
        }
        return pa.record_batch(list(columns.values()), schema=self.table.schema)

    def _spans(self, texts: list[str]) -> list[NDArray[np.int64]]:
        """Return the chunker's spans.

        Raises:
            StageFailedError: they are not what a chunker gives.
        """
        found: Any = self._chunker.spans(texts)
        name = type(self._chunker).__name__
        if not isinstance(found, list | tuple) or len(found) != len(texts):
            many = f"{len(found)} arrays" if isinstance(found, list | tuple) else f"a {type(found).__name__}"
            msg = f"chunker {name} gives {many} for {len(texts)} texts; correct it: one array for each text"
            raise StageFailedError(msg)
        for span, text in zip(found, texts, strict=True):
            if not isinstance(span, np.ndarray) or span.dtype.kind not in "iu" or span.shape[1:] != (2,):
                msg = f"chunker {name} gives spans that are no integers of shape (chunks, 2); correct it"
                raise StageFailedError(msg)
            if not _in_order(span, len(text)):
                msg = (
                    f"chunker {name} gives spans that are not in order, or beyond a text of {len(text)} characters: "
                    f"{span[:5].tolist()}; correct it"
                )
                raise StageFailedError(msg)
        return list(found)

    def _count(self, texts: list[str]) -> np.ndarray[Any, np.dtype[np.int32]]:
        return np.fromiter(map(len, token_offsets(self._tokenizer, texts)), np.int32, len(texts))


def _in_order(spans: NDArray[np.int64], length: int) -> bool:
    """Whether spans lie in a text of some length, each once, and ascend."""
    start, end = spans[:, 0], spans[:, 1]
    inside = bool((start >= 0).all() and (start <= end).all() and (end <= length).all())
    later = (np.diff(start) > 0) | ((np.diff(start) == 0) & (np.diff(end) > 0))
    return inside and bool(later.all())


def chunk_steps(context: PlanContext) -> Iterator[Step]:
    """Cut every partition of the documents."""
    recipe = context.recipe
    settings = ChunkSettings(chunker=recipe.chunks, id_salt=recipe.id_salt)
    by: Any = getattr(recipe.chunks, "by", None)
    yield Step(
        "chunks",
        "mnemodex.pipelines.stages.chunk:ChunkStage",
        (Read(DOCUMENTS, Each(), ChunkStage.columns),),
        (CHUNKS,),
        settings,
        identity=[settings.identity(digest=context.digest), CHUNKERS.find(by).version],
    )
