"""Searches as calls."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from mnemodex.retrievers.base import check, check_where
from mnemodex.retrievers.remote.calls import Call, Request, batches
from mnemodex.retrievers.remote.received import read_hits, read_reasons, same_snapshot
from mnemodex.schemas.errors import ServerError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnemodex.retrievers.hits import Hits, Reason
    from mnemodex.retrievers.remote.catalogue import Catalogue


@dataclass(frozen=True)
class Search:
    """A search whose arguments are checked.

    Attributes:
        catalogue: of the memory.
        index: that is searched.
        kind: of the hits.
        queries: the questions.
        k: hits of each.
        where: the filter.
        newest: whether superseded facts are left out.
    """

    catalogue: Catalogue
    index: str
    kind: str
    queries: list[str]
    k: int
    where: str | None
    newest: bool

    def hits(self, *, explain: bool) -> Call[Hits]:
        """Return the call that has the hits as its result, with their evidence if that is asked for."""

        def read(bodies: list[Any]) -> Hits:
            hits = read_hits(bodies, self.kind, self.k).first(len(self.queries), self.k)
            if not explain:
                return hits
            reasons = read_reasons(bodies)
            return replace(hits, explain=lambda: reasons)

        return Call(self._requests(explain=explain), read)

    def reasons(self, hits: Hits) -> Call[list[list[list[Reason]]]]:
        """Return the call that has the evidence for the hits of this search as its result.

        Its reading raises `ServerError` where the server has another snapshot by now, or other hits.
        """

        def read(bodies: list[Any]) -> list[list[list[Reason]]]:
            again = read_hits(bodies, self.kind, self.k).first(len(self.queries), self.k)
            if same_snapshot(bodies) != hits.snapshot.name or not np.array_equal(again.ids, hits.ids):
                raise ServerError(
                    f"index {self.index!r}: the hits are not the server's any more, so that it knows no reasons for "
                    "them. Search again, with explain=True"
                )
            return read_reasons(bodies)[: len(self.queries)]

        return Call(self._requests(explain=True), read)

    def _requests(self, *, explain: bool) -> list[Request]:
        # A blank question has no hits; it stands for none at all, so that index and filter are checked.
        queries = self.queries or [""]
        body = {
            "memory": self.catalogue.name,
            "index": self.index,
            "k": int(self.k),
            "where": self.where,
            "explain": explain,
            "kind": self.kind,
            **({"newest": True} if self.newest else {}),
        }
        return [
            Request("/v1/search", {**body, "queries": list(batch)}) for batch in batches(queries, self.catalogue.limits)
        ]


def make_search(
    catalogue: Catalogue,
    index: str,
    kind: str,
    queries: Sequence[str],
    k: int,
    where: str | None,
    *,
    newest: bool = False,
) -> Search:
    """Return a search.

    Raises:
        QueryError: k is below 1, a question is no text, or the filter is none.
    """
    checked = check(queries, k)
    return Search(catalogue, index, kind, checked, k, None if where is None else check_where(where), newest)
