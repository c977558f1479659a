"""Questions about phrases as calls."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from mnemodex.retrievers.base import check
from mnemodex.retrievers.ngram.results import Located, NextTokens
from mnemodex.retrievers.remote.calls import Call, Request, batches
from mnemodex.retrievers.remote.received import same_snapshot
from mnemodex.schemas.errors import LimitError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnemodex.indexers.arrays import Int64s
    from mnemodex.retrievers.remote.catalogue import Catalogue


@dataclass(frozen=True)
class PhraseCalls:
    """The calls of an n-gram index, which give what `NgramIndex` gives.

    Attributes:
        catalogue: of the memory.
        index: the index's name.
    """

    catalogue: Catalogue
    index: str

    def count(self, phrases: Sequence[str]) -> Call[Int64s]:
        """Return the call for how often each phrase occurs: int64 of shape (phrases,)."""

        def read(bodies: list[Any]) -> Int64s:
            return _joined(bodies, "counts")

        return Call(self._requests("count", phrases, 1), read)

    def locate(self, phrases: Sequence[str], limit: int | None) -> Call[Located]:
        """Return the call for where each phrase occurs, with a limit the first occurrences of each.

        Its reading raises `LimitError` where there is no limit and a phrase occurs more often than the server says.
        """

        def read(bodies: list[Any]) -> Located:
            rows = _of(bodies, "places")
            counts = _joined(bodies, "counts")
            for number, row in enumerate(rows):
                if limit is None and len(row) < counts[number]:
                    raise LimitError(
                        f"phrase {number}: occurs {counts[number]:,} times, and the server gives the first "
                        f"{len(row):,} places. Pass limit={len(row)} for these"
                    )
            places = list(chain(*rows))
            chunk_ids = [-1 if place["chunk_id"] is None else int(place["chunk_id"]) for place in places]
            documents, tokens, lengths = (
                np.array([place[name] for place in places], np.int64) for name in ("document", "token", "tokens")
            )
            return Located(_offsets(rows), np.array(chunk_ids, np.int64), documents, tokens, lengths)

        return Call(self._requests("locate", phrases, limit or self.catalogue.limits.k), read)

    def continuations(self, phrases: Sequence[str], limit: int | None) -> Call[NextTokens]:
        """Return the call for the tokens that follow each phrase, at most as many as the server gives."""

        def read(bodies: list[Any]) -> NextTokens:
            rows = _of(bodies, "continuations")
            following = list(chain(*rows))
            tokens, counts = (np.array([one[name] for one in following], np.int64) for name in ("token", "count"))
            return NextTokens(_offsets(rows), tokens, counts, [one["text"] for one in following])

        return Call(self._requests("continuations", phrases, limit or self.catalogue.limits.k), read)

    def _requests(self, what: str, phrases: Sequence[str], limit: int) -> list[Request]:
        texts = check(phrases, limit)
        body = {"memory": self.catalogue.name, "index": self.index, "what": what, "limit": limit}
        limits = self.catalogue.limits
        return [Request("/v1/ngrams", {**body, "phrases": list(batch)}) for batch in batches(texts, limits)]


def _of(bodies: list[Any], name: str) -> list[Any]:
    """Return what the answers have for each phrase."""
    if bodies:
        same_snapshot(bodies)
    return [row for body in bodies for row in body[name]]


def _joined(bodies: list[Any], name: str) -> Int64s:
    return np.array(_of(bodies, name), np.int64)


def _offsets(rows: list[list[Any]]) -> Int64s:
    return np.cumsum([0, *map(len, rows)]).astype(np.int64)
