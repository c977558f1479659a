"""Documents become tokens of a language model, and a plan of how it will read them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from typing_extensions import override

from mnemodex.indexers.lm.reader import windows
from mnemodex.indexers.models.tokenizers import text_prefix, tokenize, tokenizer, tokenizer_hash
from mnemodex.pipelines.ops.base import Finished, Stage, Work
from mnemodex.schemas.errors import SourceError
from mnemodex.schemas.manifest import Stats
from mnemodex.schemas.sections import LmStates
from mnemodex.schemas.tables import TableKey, spec_of

if TYPE_CHECKING:
    from collections.abc import Iterator


UNIT_TOKENS = 32_768
"""Tokens that a model reads as one unit of work: minutes on a CPU, and below 256 MiB of keys of 4,096 dimensions."""


class TokenStats(Stats):
    """Tokens, those that a model predicts, documents too short for that, and the tokens that precede every text."""

    tokens: int = 0
    predicted: int = 0
    short: int = 0
    prefix: tuple[int, ...] = ()
    tokenizer_sha256: str = ""


class LmTokenStage(Stage):
    """Tokenises documents, and cuts the windows over them into pieces of about `UNIT_TOKENS` tokens.

    Titles are not read, and a document without text has no tokens.
    """

    Settings = LmStates
    columns = ("doc_id", "text")
    seconds_per_megabyte = 0.6
    table = spec_of(TableKey("lm_tokens", "any"))
    settings: LmStates

    @override
    def setup(self, work: Work) -> None:
        self._tokenizer = tokenizer(self.settings.model)
        self._prefix = text_prefix(self._tokenizer)

    @override
    def run(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        self._lengths: list[int] = []
        for batch in batches:
            texts = [text if text.strip() else "" for text in batch["text"].to_pylist()]
            documents = tokenize(self._tokenizer, texts)
            lengths = [len(tokens.ids) for tokens in documents]
            self._lengths += lengths
            offsets = np.cumsum([0, *lengths]).astype(np.int32)
            ids = np.concatenate([tokens.ids for tokens in documents])
            starts = np.concatenate([tokens.offsets[:, 0] for tokens in documents]).astype(np.int32)
            lists = [pa.ListArray.from_arrays(offsets, values) for values in (ids, starts)]
            yield pa.record_batch([batch["doc_id"], *lists], schema=self.table.schema)

    @override
    def stats(self) -> TokenStats:
        lengths = np.array(self._lengths, np.int64)
        spec = self.settings
        planned = windows(lengths, window=spec.window, overlap=spec.overlap, prefix=len(self._prefix))
        # A piece begins with the first window beyond each multiple of its size.
        predicted = np.concatenate([[0], np.cumsum(planned.predicted)])
        pieces = np.unique([*np.searchsorted(predicted, np.arange(0, predicted[-1], UNIT_TOKENS)), len(planned)])
        return TokenStats(
            tokens=int(lengths.sum()),
            predicted=int(predicted[-1]),
            short=int((lengths < (1 if self._prefix else 2)).sum()),
            pieces=tuple(pieces.tolist()),
            prefix=self._prefix,
            tokenizer_sha256=tokenizer_hash(spec.model),
        )

    @override
    @classmethod
    def complete(cls, finished: Finished) -> list[str]:
        if not sum(part.stats.of(TokenStats).predicted for part in finished.parts):
            name = finished.step.result.label.partition("/")[2]
            remedy = f"check `source.fields.text`, or remove `lm.{name}`"
            raise SourceError(f"lm.{name}: no document has two tokens, the least to predict one; {remedy}")
        return []
