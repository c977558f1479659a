"""The n-gram index of a recipe: documents become shards of an FM-index, and a map from tokens to chunks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from typing_extensions import override

from mnemodex.indexers.arrays import begins
from mnemodex.indexers.base import Indexer, IndexStats
from mnemodex.indexers.models.tokenizers import tokenize, tokenizer, tokenizer_hash
from mnemodex.indexers.ngram.chunk_map import ChunkMap
from mnemodex.indexers.ngram.ragged import Ragged
from mnemodex.indexers.rows import Rows
from mnemodex.schemas.store import parquet
from mnemodex.schemas.store.columns import numbers
from mnemodex.schemas.tables import CHUNKS, DOCUMENTS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tokenizers import Tokenizer

    from mnemodex.indexers.base import InputPartition
    from mnemodex.indexers.settings import NgramSettings
    from mnemodex.schemas.tables import TableKey

_LARGEST_SHARD = 1 << 26
"""Tokens and documents of one FM-index. Building one takes at most 15 bytes each: 1 GB."""

_BATCH = 256
"""Documents that are tokenised at once."""


class NgramStats(IndexStats):
    """Tokens of the texts and titles, and the hash of the tokenizer that cut them."""

    tokens: int
    title_tokens: int
    tokenizer_sha256: str


class NgramIndexer(Indexer):
    """Indexes the body and, as a field of its own, the title of every document; each token once.

    A shard's folder holds one FM-index for each field, `00000/body` and `00000/title` (with a second one, `00001`,
    where the first would have become too large), the rows of its documents, those of its chunks in `chunks`, and the
    map from tokens to chunks.
    """

    version: ClassVar[int] = 2
    grows: ClassVar[bool] = True
    takes_off: ClassVar[bool] = True
    settings: NgramSettings
    id_column: ClassVar[str] = "doc_id"
    # A text takes a third of its size in Parquet and gives a token for every four or so of its characters.
    shard_bytes = 64 << 20
    memory = 15 * _LARGEST_SHARD

    @staticmethod
    @override
    def table(settings: Any) -> TableKey:
        # Overlapping chunks would count tokens twice.
        return DOCUMENTS

    @staticmethod
    @override
    def aligned(settings: Any) -> tuple[TableKey, ...]:
        return (CHUNKS,)

    @override
    def build_left_out(self, partition: InputPartition, out: Path) -> None:
        self.build([partition], out)

    def build(self, partitions: list[InputPartition], out: Path) -> NgramStats:
        """Index the documents of some partitions; see the class for what is written."""
        from mnemodex.indexers.ngram.build import BuildOptions, build

        model = tokenizer(self.settings.tokenizer)
        # Every token id that it can give, added tokens included.
        vocabulary = sorted(set(model.get_vocab(with_added_tokens=True).values()))
        maps: list[ChunkMap] = []
        options = BuildOptions(document_array=self.settings.document_array, shard_rows=_LARGEST_SHARD)
        shards = build(_read(partitions, model, maps), out, vocabulary, options=options)
        ChunkMap.concatenate(maps).save(out)
        rows = Rows.of(partitions, id_column=self.id_column)
        rows.save(out, id_column=self.id_column)
        (out / "chunks").mkdir()
        Rows.of([part.aligned[CHUNKS.label] for part in partitions]).save(out / "chunks")
        return NgramStats(
            rows=len(rows.ids),
            tokens=sum(shard["body"]["tokens"] for shard in shards),
            title_tokens=sum(shard["title"]["tokens"] for shard in shards),
            tokenizer_sha256=tokenizer_hash(self.settings.tokenizer),
        )


def _read(partitions: list[InputPartition], model: Tokenizer, maps: list[ChunkMap]) -> Iterator[dict[str, Ragged]]:
    """Yield the tokens of all documents, in batches; the map of each batch is put into `maps`."""
    for part in partitions:
        aligned = part.aligned[CHUNKS.label]
        chunks = parquet.read(aligned.files["parquet"], columns=["doc_id", "end"])
        chunk_documents, ends = (numbers(chunks[name])[aligned.start :] for name in ("doc_id", "end"))
        # Chunks are in the order of their documents; a document may have none.
        starts = begins(chunk_documents)
        sizes = dict(zip(chunk_documents[starts].tolist(), np.diff(starts, append=len(ends)).tolist(), strict=True))
        used, skipped = 0, 0
        for rows in parquet.read_batches(part.files["parquet"], columns=["doc_id", "title", "text"], rows=_BATCH):
            batch = rows.slice(min(part.start - skipped, rows.num_rows))
            skipped += rows.num_rows - batch.num_rows
            if not batch.num_rows:
                continue
            body = tokenize(model, batch["text"].to_pylist())
            title = tokenize(model, batch["title"].to_pylist())
            counts = np.array([sizes.get(doc_id, 0) for doc_id in batch["doc_id"].to_pylist()], np.int64)
            first, used = used, used + int(counts.sum())
            document = np.repeat(np.arange(len(counts)), counts)
            maps.append(ChunkMap.of([text.offsets[:, 0] for text in body], document, ends[first:used]))
            yield {"body": Ragged.of([text.ids for text in body]), "title": Ragged.of([text.ids for text in title])}
