"""Documents become tokens of a language model, and a plan of how it will read them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pyarrow as pa

from mnemodex.indexers.lm.windows import windows
from mnemodex.indexers.models import tokenizer, tokenizer_hash
from mnemodex.indexers.tokens import text_prefix, tokenize
from mnemodex.schemas.lm import LmStates
from mnemodex.schemas.tables import lm_tokens

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mnemodex.indexers.tokens import Tokens
    from mnemodex.schemas.tables import Table

UNIT_TOKENS = 32_768
"""Tokens that a model reads as one unit of work: minutes on a CPU, and below 256 MiB of keys of 4,096 dimensions."""


class LmTokenStage:
    """Tokenises documents, and cuts the windows over them into units of about `UNIT_TOKENS` tokens.

    Titles are not read, and a document without text has no tokens.

    Settings: `name` and `spec` of the language model.
    """

    version: ClassVar[int] = 1
    columns: ClassVar[tuple[str, ...]] = ("doc_id", "text")
    table: Table

    def __init__(self, settings: dict[str, Any]) -> None:
        self._spec = LmStates.model_validate(settings["spec"])
        self.table = lm_tokens(settings["name"])

    def setup(self, cpus: int) -> None:
        """See `Stage.setup`."""
        self._tokenizer = tokenizer(self._spec.model)
        self._prefix = text_prefix(self._tokenizer)

    def run(self, batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        """See `Stage.run`."""
        self._lengths: list[int] = []
        for batch in batches:
            texts = [text if text.strip() else "" for text in batch["text"].to_pylist()]
            read = tokenize(self._tokenizer, texts)
            self._lengths += [len(tokens.ids) for tokens in read]
            yield pa.record_batch([batch["doc_id"], *_lists(read)], schema=self.table.schema)

    def facts(self) -> dict[str, Any]:
        """See `Stage.facts`.

        `tokens` of the documents; `short` documents have too few of them to predict one. `cuts` are the first windows
        of the units, and the number of windows. `prefix` and `tokenizer_sha256` are the tokenizer's.
        """
        lengths = np.array(self._lengths, np.int64)
        spec = self._spec
        planned = windows(lengths, window=spec.window, overlap=spec.overlap, prefix=len(self._prefix))
        before = np.concatenate([[0], np.cumsum(planned.predicted)])
        # A unit begins with the first window that begins beyond each multiple of its size.
        goals = np.arange(0, before[-1], UNIT_TOKENS)
        cuts = np.unique([*np.searchsorted(before, goals), len(planned)])
        return {
            "tokens": int(lengths.sum()),
            "predicted": int(before[-1]),
            "short": int((lengths < (1 if self._prefix else 2)).sum()),
            "cuts": cuts.tolist(),
            "prefix": list(self._prefix),
            "tokenizer_sha256": tokenizer_hash(spec.model),
        }


def _lists(read: Sequence[Tokens]) -> tuple[pa.Array, pa.Array]:
    """Token ids and first characters as lists, one a document."""
    offsets = np.cumsum([0, *(len(tokens.ids) for tokens in read)]).astype(np.int32)
    ids = np.concatenate([tokens.ids for tokens in read])
    starts = np.concatenate([tokens.offsets[:, 0] for tokens in read]).astype(np.int32)
    return pa.ListArray.from_arrays(offsets, ids), pa.ListArray.from_arrays(offsets, starts)
