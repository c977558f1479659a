"""Documents become tokens of a language model, and a plan of how it will read them."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

import numpy as np
import pyarrow as pa

from mnemodex.indexers.lm.reader import windows
from mnemodex.indexers.models.tokenizers import text_prefix, tokenize, tokenizer, tokenizer_hash
from mnemodex.pipelines.ops.base import Stage
from mnemodex.schemas.errors import SourceError
from mnemodex.schemas.lm import LmStates
from mnemodex.schemas.manifest import Stats
from mnemodex.schemas.tables import TableKey, spec_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mnemodex.indexers.models.tokenizers import Tokens
    from mnemodex.pipelines.ops.base import Finished, Work
    from mnemodex.schemas.spec import Spec

UNIT_TOKENS = 32_768
"""Tokens that a model reads as one unit of work: minutes on a CPU, and below 256 MiB of keys of 4,096 dimensions."""


class TokenStats(Stats):
    """What tokenising a partition gave.

    Attributes:
        tokens: of the documents.
        predicted: those that a model predicts.
        short: documents with too few tokens to predict one.
        prefix: the tokens that precede every text.
        tokenizer_sha256: of what decides the tokens.
    """

    tokens: int = 0
    predicted: int = 0
    short: int = 0
    prefix: tuple[int, ...] = ()
    tokenizer_sha256: str = ""


class LmTokenStage(Stage):
    """Tokenises documents, and cuts the windows over them into pieces of about `UNIT_TOKENS` tokens.

    Titles are not read, and a document without text has no tokens.
    """

    version: ClassVar[int] = 1
    Settings: ClassVar[type[Spec]] = LmStates
    columns: ClassVar[tuple[str, ...]] = ("doc_id", "text")
    seconds_per_megabyte: ClassVar[float] = 0.6
    table = spec_of(TableKey("lm_tokens", "any"))

    def __init__(self, settings: LmStates) -> None:
        self._spec = settings

    def setup(self, work: Work) -> None:
        """See `Stage`."""
        self._tokenizer = tokenizer(self._spec.model)
        self._prefix = text_prefix(self._tokenizer)

    def run(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """See `Stage`."""
        self._lengths: list[int] = []
        for batch in batches:
            texts = [text if text.strip() else "" for text in batch["text"].to_pylist()]
            read = tokenize(self._tokenizer, texts)
            self._lengths += [len(tokens.ids) for tokens in read]
            yield pa.record_batch([batch["doc_id"], *_lists(read)], schema=self.table.schema)

    def stats(self) -> TokenStats:
        """See `Stage`; a piece of the partition begins with the first window beyond each multiple of its size."""
        lengths = np.array(self._lengths, np.int64)
        spec = self._spec
        planned = windows(lengths, window=spec.window, overlap=spec.overlap, prefix=len(self._prefix))
        before = np.concatenate([[0], np.cumsum(planned.predicted)])
        goals = np.arange(0, before[-1], UNIT_TOKENS)
        cuts = np.unique([*np.searchsorted(before, goals), len(planned)])
        return TokenStats(
            tokens=int(lengths.sum()),
            predicted=int(before[-1]),
            short=int((lengths < (1 if self._prefix else 2)).sum()),
            pieces=tuple(cuts.tolist()),
            prefix=self._prefix,
            tokenizer_sha256=tokenizer_hash(spec.model),
        )

    @classmethod
    def complete(cls, finished: Finished) -> list[str]:
        """Refuse documents of which nothing can be predicted."""
        if not sum(part.stats.of(TokenStats).predicted for part in finished.parts):
            name = finished.step.result.label.partition("/")[2]
            msg = (
                f"lm.{name}: no document has the two tokens that it takes to predict one; check `source.fields.text`, "
                f"or leave `lm.{name}` out"
            )
            raise SourceError(msg)
        return []


def _lists(read: Sequence[Tokens]) -> tuple[pa.Array, pa.Array]:
    """Return token ids and first characters as lists, one a document."""
    offsets = np.cumsum([0, *(len(tokens.ids) for tokens in read)]).astype(np.int32)
    ids = np.concatenate([tokens.ids for tokens in read])
    starts = np.concatenate([tokens.offsets[:, 0] for tokens in read]).astype(np.int32)
    return pa.ListArray.from_arrays(offsets, ids), pa.ListArray.from_arrays(offsets, starts)
