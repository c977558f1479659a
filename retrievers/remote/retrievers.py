"""Retrievers of a connected memory, which answer as those of an opened one."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from typing_extensions import override

from mnemodex.retrievers.base import Retriever
from mnemodex.retrievers.remote.searching import Search

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnemodex.retrievers.hits import Hits
    from mnemodex.retrievers.remote.catalogue import Catalogue
    from mnemodex.retrievers.remote.connection import Connection


class RemoteRetriever(Retriever):
    """An index of a server's memory.

    Attributes:
        name: the index's name.
        kind: of its hits: "chunk", "pair" or "position".
    """

    def __init__(self, connection: Connection, catalogue: Catalogue, name: str, *, kind: str | None = None) -> None:
        self.name = name
        self.kind = kind or catalogue.index(name).kind
        self._connection = connection
        self._catalogue = catalogue

    @override
    def search(self, queries: Sequence[str], k: int = 10, *, where: str | None = None, explain: bool = False) -> Hits:
        """Return the best hits of each question, with the texts of their chunks.

        Args:
            queries: the questions; more than the server takes at once are sent in several requests.
            k: hits for each.
            where: see `Retriever.search`.
            explain: whether the evidence comes along. Without it, `Hits.reasons()` asks the server for it.

        Raises:
            QueryError: see `Retriever.search`.
            LimitError: the server gives no such k, or takes no question as long.
            ServerError: the server cannot be reached, or took over another snapshot meanwhile.
        """
        search = Search(self._catalogue, self.name, self.kind, queries, k, where)
        hits = self._connection.ask(search.hits(explain=explain))
        if explain:
            return hits
        bare = hits
        return replace(hits, explain=lambda: self._connection.ask(search.reasons(bare)))


class RemoteQARetriever(RemoteRetriever):
    """An index of question-answer pairs of a server's memory."""

    def by_chunk(self) -> RemoteRetriever:
        """Return a retriever of chunks, as `QARetriever.by_chunk`."""
        return RemoteRetriever(self._connection, self._catalogue, self.name, kind="chunk")


RETRIEVERS: dict[str, type[RemoteRetriever]] = {"qa": RemoteQARetriever}
"""Retrievers of indexes that answer more than searches, by the type of the index."""
