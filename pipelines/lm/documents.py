"""The documents of a unit: their tokens, and the chunks that these belong to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mnemodex.indexers.lm.reader import Windows, windows
from mnemodex.indexers.ngram.chunk_map import ChunkMap
from mnemodex.pipelines.stages.lm_tokens import TokenStats
from mnemodex.schemas.ids import token_positions
from mnemodex.schemas.store import parquet

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mnemodex.indexers.base import InputPartition
    from mnemodex.schemas.lm import LmStates


class Documents:
    """Documents of one partition.

    Args:
        tokens: a partition of `lm_tokens`.
        chunks: the partition of chunks of the same label.

    Attributes:
        ids: of the documents, int64 of shape (documents,).
        prefix: tokens that precede every window, int32.
    """

    def __init__(self, tokens: InputPartition, chunks: InputPartition) -> None:
        self.prefix = np.array(tokens.stats.of(TokenStats).prefix, np.int32)
        rows = parquet.read(tokens.files["parquet"])
        cut = parquet.read(chunks.files["parquet"], columns=["chunk_id", "doc_id", "end"])
        self.ids: NDArray[np.int64] = rows["doc_id"].to_numpy()
        lists = rows["tokens"].combine_chunks()
        self._tokens: NDArray[np.int32] = lists.flatten().to_numpy()
        self._offsets = lists.offsets.to_numpy().astype(np.int64)
        starts = rows["starts"].combine_chunks().flatten().to_numpy().astype(np.int64)
        order = np.argsort(self.ids)
        document = order[np.searchsorted(self.ids, cut["doc_id"].to_numpy(), sorter=order)]
        self._chunk_ids: NDArray[np.int64] = cut["chunk_id"].to_numpy()
        self._map = ChunkMap.of(np.split(starts, self._offsets[1:-1]), document, cut["end"].to_numpy())

    def windows(self, spec: LmStates, which: slice) -> Windows:
        """Return some of the windows over the documents."""
        planned = windows(np.diff(self._offsets), window=spec.window, overlap=spec.overlap, prefix=len(self.prefix))
        return Windows(planned.text[which], planned.start[which], planned.first[which], planned.stop[which])

    def places(self, here: Windows) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return document and number in it of every token that is predicted, in the order of the windows."""
        sizes = here.predicted
        first = np.repeat(np.cumsum(sizes) - sizes, sizes)
        text = np.repeat(here.text, sizes)
        return text, np.arange(len(text)) - first + np.repeat(here.first, sizes)

    def positions(self, here: Windows) -> NDArray[np.int64]:
        """Return the positions of every token that is predicted."""
        text, offset = self.places(here)
        return token_positions(self.ids[text], offset)

    def texts(self, here: Windows) -> list[NDArray[np.int32]]:
        """Return the tokens of each window."""
        before = self._offsets[here.text]
        bounds = zip((before + here.start).tolist(), (before + here.stop).tolist(), strict=True)
        return [self._tokens[start:stop] for start, stop in bounds]

    def values(self, text: NDArray[np.int64], offset: NDArray[np.int64]) -> NDArray[np.int32]:
        """Return tokens by their documents and numbers in them."""
        found: NDArray[np.int32] = self._tokens[self._offsets[text] + offset]
        return found

    def chunks_of(self, text: NDArray[np.int64], offset: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the chunks of tokens: the first one that covers a token's first character."""
        return self._chunk_ids[self._map.find(text, offset)]
