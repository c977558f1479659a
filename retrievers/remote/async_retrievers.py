"""Retrievers of a memory that is connected for `await`."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, overload

from mnemodex.retrievers.base import check, check_one_form
from mnemodex.retrievers.grouping import Grouping
from mnemodex.retrievers.remote.graphs import subgraph_call
from mnemodex.retrievers.remote.neighbours import NeighbourCalls
from mnemodex.retrievers.remote.phrases import PhraseCalls
from mnemodex.retrievers.remote.predicting import predictions_call
from mnemodex.retrievers.remote.reading import embed_call
from mnemodex.retrievers.remote.searching import make_search
from mnemodex.retrievers.spans import expand_hits, sides
from mnemodex.schemas.errors import QueryError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn, Unpack

    from mnemodex.indexers.arrays import Float32s, Int64s
    from mnemodex.retrievers.base import Arranged, Narrowing
    from mnemodex.retrievers.datastore import DatastoreInfo, Neighbours
    from mnemodex.retrievers.graph.subgraph import Subgraph
    from mnemodex.retrievers.grouping import Group, GroupBy
    from mnemodex.retrievers.hits import Hits
    from mnemodex.retrievers.ngram.results import Located, NextTokens
    from mnemodex.retrievers.qa.predictions import Prediction
    from mnemodex.retrievers.remote.catalogue import Catalogue
    from mnemodex.retrievers.remote.connection import AsyncConnection
    from mnemodex.retrievers.spans import Span


class AsyncRemoteRetriever:
    """An index of a server's memory.

    Attributes:
        name: the index's name.
        kind: of its hits: "chunk", "pair" or "position".
    """

    def __init__(
        self, connection: AsyncConnection, catalogue: Catalogue, name: str, *, kind: str | None = None
    ) -> None:
        self.name = name
        self.kind = kind or catalogue.index(name).kind
        self._connection = connection
        self._catalogue = catalogue

    @overload
    async def search(
        self, queries: Sequence[str], k: int = ..., *, explain: bool = ..., **narrowing: Unpack[Narrowing]
    ) -> Hits: ...

    @overload
    async def search(
        self, queries: Sequence[str], k: int = ..., *, group_by: str | GroupBy, **narrowing: Unpack[Narrowing]
    ) -> list[list[Group]]: ...

    @overload
    async def search(
        self, queries: Sequence[str], k: int = ..., *, expand: int | tuple[int, int], **narrowing: Unpack[Narrowing]
    ) -> list[list[Span]]: ...

    async def search(
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
        """Return the best hits of each question, or their groups, as `RemoteRetriever.search`.

        All that hits give is there without a further request, so that nothing of them is awaited; `Hits.reasons()`
        needs `explain`.
        """
        questions = check(queries, k)
        check_one_form(explain, group_by, expand)
        if group_by is not None:
            grouping = Grouping(group_by, k, most_hits=self._catalogue.limits.k, index=self.name)
            while (
                groups := grouping.groups(await self._find(questions, grouping.depth, where, newest=newest))
            ) is None:
                pass
            return groups
        hits = await self._find(questions, k, where, newest=newest, explain=explain)
        return hits if expand is None else expand_hits(hits, *sides(expand), near=None)

    async def _find(
        self, questions: list[str], k: int, where: str | None, *, newest: bool, explain: bool = False
    ) -> Hits:
        search = make_search(self._catalogue, self.name, self.kind, questions, k, where, newest=newest)
        hits = await self._connection.ask(search.hits(explain=explain))
        return hits if explain else replace(hits, explain=_refuse_reasons)


class AsyncRemoteNgramIndex(AsyncRemoteRetriever):
    """An n-gram index of a server's memory; phrases are texts."""

    async def count(self, phrases: Sequence[str]) -> Int64s:
        """Return how often each phrase occurs: int64 of shape (phrases,)."""
        return await self._connection.ask(self._phrases.count(phrases))

    async def locate(self, phrases: Sequence[str], *, limit: int | None = None) -> Located:
        """Return where each phrase occurs, as `RemoteNgramIndex.locate`."""
        return await self._connection.ask(self._phrases.locate(phrases, limit))

    async def continuations(self, phrases: Sequence[str], *, limit: int | None = None) -> NextTokens:
        """Return the tokens that follow each phrase, with how often; at most as many as the server gives."""
        return await self._connection.ask(self._phrases.continuations(phrases, limit))

    @property
    def _phrases(self) -> PhraseCalls:
        return PhraseCalls(self._catalogue, self.name)


class AsyncRemoteNextTokenRetriever(AsyncRemoteRetriever):
    """A next-token datastore of a server's memory."""

    async def info(self) -> DatastoreInfo:
        """Return what it was built from."""
        return await self._connection.ask(self._neighbours.info())

    async def nearest(self, keys: Float32s, k: int) -> Neighbours:
        """Return the k nearest entries of each of some keys, as `Datastore.nearest`."""
        return await self._connection.ask(self._neighbours.nearest(keys, k))

    async def measure(self, keys: Float32s, ids: Int64s) -> Neighbours:
        """Return named entries with their exact distances, as `Datastore.measure`."""
        return await self._connection.ask(self._neighbours.measure(keys, ids))

    @property
    def _neighbours(self) -> NeighbourCalls:
        return NeighbourCalls(self._catalogue, self.name)


class AsyncRemoteQARetriever(AsyncRemoteRetriever):
    """An index of question-answer pairs of a server's memory."""

    def by_chunk(self) -> AsyncRemoteRetriever:
        """Return a retriever of chunks, as `QARetriever.by_chunk`."""
        return AsyncRemoteRetriever(self._connection, self._catalogue, self.name, kind="chunk")

    async def predict(self, queries: Sequence[str], *, where: str | None = None) -> list[str | None]:
        """Return one answer to each query: that of `predictions`; None where there is none."""
        return [prediction.answer for prediction in await self.predictions(queries, where=where)]

    async def predictions(self, queries: Sequence[str], *, where: str | None = None, k: int = 10) -> list[Prediction]:
        """Return one answer to each query, and how sure it is, as `QARetriever.predictions`."""
        return await self._connection.ask(predictions_call(self._catalogue, self.name, queries, k, where))


class AsyncRemoteGraphRetriever(AsyncRemoteRetriever):
    """A graph index of a server's memory."""

    async def subgraph(self, question: str, k: int = 8) -> Subgraph:
        """Return the part of the graph that answers a question, with its first k passages."""
        return await self._connection.ask(subgraph_call(self._catalogue, self.name, question, k))


class AsyncRemoteEncoder:
    """Encodes questions on the server, as its indexes of an embedding are searched by them.

    Raises `QueryError` where the memory has no such embedding.
    """

    def __init__(self, connection: AsyncConnection, catalogue: Catalogue, name: str) -> None:
        self.name = name
        self.dimension = catalogue.embedding(name).dimension
        self._connection = connection
        self._catalogue = catalogue

    async def encode_queries(self, texts: Sequence[str]) -> Float32s:
        """Return the vectors of questions, float32 of shape (texts, dimension)."""
        return await self._connection.ask(embed_call(self._catalogue, self.name, texts))


ASYNC_RETRIEVERS: dict[str, type[AsyncRemoteRetriever]] = {
    "ngram": AsyncRemoteNgramIndex,
    "knn_lm": AsyncRemoteNextTokenRetriever,
    "qa": AsyncRemoteQARetriever,
    "graph": AsyncRemoteGraphRetriever,
}
"""Retrievers of indexes that answer more than searches, by the type of the index."""


def _refuse_reasons() -> NoReturn:
    raise QueryError("reasons: did not come with the hits. Ask for them: await retriever.search(…, explain=True)")
