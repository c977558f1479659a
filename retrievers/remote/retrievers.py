"""Retrievers of a connected memory, which answer as those of an opened one."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, overload

from typing_extensions import override

from mnemodex.retrievers.base import Retriever, arrange, check, check_one_form
from mnemodex.retrievers.datastore import Datastore, DatastoreInfo, Neighbours
from mnemodex.retrievers.remote.graphs import subgraph_call
from mnemodex.retrievers.remote.neighbours import NeighbourCalls
from mnemodex.retrievers.remote.phrases import PhraseCalls
from mnemodex.retrievers.remote.predicting import predictions_call
from mnemodex.retrievers.remote.searching import make_search

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Unpack

    from mnemodex.indexers.arrays import Float32s, Int64s
    from mnemodex.retrievers.base import Arranged, Narrowing
    from mnemodex.retrievers.graph.subgraph import Subgraph
    from mnemodex.retrievers.grouping import Group, GroupBy
    from mnemodex.retrievers.hits import Hits
    from mnemodex.retrievers.ngram.results import Located, NextTokens
    from mnemodex.retrievers.qa.predictions import Prediction
    from mnemodex.retrievers.remote.catalogue import Catalogue
    from mnemodex.retrievers.remote.connection import Connection
    from mnemodex.retrievers.remote.searching import Search
    from mnemodex.retrievers.spans import Span


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
        self.most_hits = catalogue.limits.k

    @overload
    def search(
        self, queries: Sequence[str], k: int = ..., *, explain: bool = ..., **narrowing: Unpack[Narrowing]
    ) -> Hits: ...

    @overload
    def search(
        self, queries: Sequence[str], k: int = ..., *, group_by: str | GroupBy, **narrowing: Unpack[Narrowing]
    ) -> list[list[Group]]: ...

    @overload
    def search(
        self, queries: Sequence[str], k: int = ..., *, expand: int | tuple[int, int], **narrowing: Unpack[Narrowing]
    ) -> list[list[Span]]: ...

    @override
    def search(
        self,
        queries: Sequence[str],
        k: int = 10,
        *,
        where: str | None = None,
        newest: bool = False,
        group_by: str | GroupBy | None = None,
        expand: int | tuple[int, int] | None = None,
        explain: bool = False,
    ) -> Arranged:
        """Return the best hits of each question, with the texts of their chunks, or their groups.

        Args:
            queries: the questions; more than the server takes at once are sent in several requests.
            k: hits for each, or groups, for which no more hits are looked at than the server gives.
            where: see `Retriever.search`.
            newest: see `Retriever.search`.
            group_by: see `Retriever.search`.
            expand: is refused: a server sends no neighbours of hits.
            explain: whether the evidence comes along. Without it, `Hits.reasons()` asks the server for it.

        Raises:
            QueryError: see `Retriever.search`.
            LimitError: the server gives no such k, or takes no question as long.
            ServerError: the server cannot be reached, or took over another snapshot meanwhile.
        """
        if not explain:
            return arrange(self, check(queries, k), k, where, newest, group_by, expand)
        check_one_form(explain, group_by, expand)
        return self._connection.ask(self._search(queries, k, where, newest=newest).hits(explain=True))

    @override
    def find(self, questions: list[str], k: int, where: str | None) -> Hits:
        return self._find(self._search(questions, k, where))

    @override
    def find_newest(self, questions: list[str], k: int, where: str | None) -> Hits:
        return self._find(self._search(questions, k, where, newest=True))

    def _find(self, search: Search) -> Hits:
        hits = self._connection.ask(search.hits(explain=False))
        return replace(hits, explain=lambda: self._connection.ask(search.reasons(hits)))

    def _search(self, queries: Sequence[str], k: int, where: str | None, *, newest: bool = False) -> Search:
        return make_search(self._catalogue, self.name, self.kind, queries, k, where, newest=newest)


class RemoteNgramIndex(RemoteRetriever):
    """An n-gram index of a server's memory; phrases are texts."""

    def count(self, phrases: Sequence[str]) -> Int64s:
        """Return how often each phrase occurs: int64 of shape (phrases,)."""
        return self._connection.ask(self._phrases.count(phrases))

    def locate(self, phrases: Sequence[str], *, limit: int | None = None) -> Located:
        """Return where each phrase occurs, with a limit the first occurrences of each in the index.

        Raises:
            LimitError: there is no limit, and a phrase occurs more often than the server says.
        """
        return self._connection.ask(self._phrases.locate(phrases, limit))

    def continuations(self, phrases: Sequence[str], *, limit: int | None = None) -> NextTokens:
        """Return the tokens that follow each phrase, with how often; at most as many as the server gives."""
        return self._connection.ask(self._phrases.continuations(phrases, limit))

    @property
    def _phrases(self) -> PhraseCalls:
        return PhraseCalls(self._catalogue, self.name)


class RemoteNextTokenRetriever(RemoteRetriever, Datastore):
    """A next-token datastore of a server's memory: a `KnnLM` on this machine looks up its keys there."""

    @cached_property
    @override
    def info(self) -> DatastoreInfo:
        return self._connection.ask(self._neighbours.info())

    @override
    def nearest(self, keys: Float32s, k: int) -> Neighbours:
        return self._connection.ask(self._neighbours.nearest(keys, k))

    @override
    def measure(self, keys: Float32s, ids: Int64s) -> Neighbours:
        return self._connection.ask(self._neighbours.measure(keys, ids))

    @property
    def _neighbours(self) -> NeighbourCalls:
        return NeighbourCalls(self._catalogue, self.name)


class RemoteQARetriever(RemoteRetriever):
    """An index of question-answer pairs of a server's memory."""

    def by_chunk(self) -> RemoteRetriever:
        """Return a retriever of chunks, as `QARetriever.by_chunk`."""
        return RemoteRetriever(self._connection, self._catalogue, self.name, kind="chunk")

    def predict(self, queries: Sequence[str], *, where: str | None = None) -> list[str | None]:
        """Return one answer to each query: that of `predictions`; None where there is none."""
        return [prediction.answer for prediction in self.predictions(queries, where=where)]

    def predictions(self, queries: Sequence[str], *, where: str | None = None, k: int = 10) -> list[Prediction]:
        """Return one answer to each query, and how sure it is, as `QARetriever.predictions`."""
        return self._connection.ask(predictions_call(self._catalogue, self.name, queries, k, where))


class RemoteGraphRetriever(RemoteRetriever):
    """A graph index of a server's memory."""

    def subgraph(self, question: str, k: int = 8) -> Subgraph:
        """Return the part of the graph that answers a question, with its first k passages."""
        return self._connection.ask(subgraph_call(self._catalogue, self.name, question, k))


RETRIEVERS: dict[str, type[RemoteRetriever]] = {
    "ngram": RemoteNgramIndex,
    "knn_lm": RemoteNextTokenRetriever,
    "qa": RemoteQARetriever,
    "graph": RemoteGraphRetriever,
}
"""Retrievers of indexes that answer more than searches, by the type of the index."""
