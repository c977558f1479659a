"""A memory that a server answers for, for programs with an event loop."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from mnemodex.retrievers.remote.answering import AnswerStream, answers_call
from mnemodex.retrievers.remote.async_retrievers import ASYNC_RETRIEVERS, AsyncRemoteEncoder, AsyncRemoteRetriever
from mnemodex.retrievers.remote.catalogue import catalogue_call
from mnemodex.retrievers.remote.connected import ConnectedMemory
from mnemodex.retrievers.remote.connection import SECONDS, Address, AsyncConnection
from mnemodex.retrievers.remote.reading import fetch_call, sql_call

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    import httpx2

    from mnemodex.retrievers.answer import Answer
    from mnemodex.retrievers.readers.answers import Answered
    from mnemodex.retrievers.readers.pair_answers import PairAnswered
    from mnemodex.retrievers.remote.answering import AnswerPart
    from mnemodex.retrievers.remote.catalogue import Catalogue
    from mnemodex.retrievers.remote.reading import Fetched


class AsyncRemoteMemory(ConnectedMemory):
    """A memory of a server, as `RemoteMemory` is, whose answers are awaited: `await AsyncRemoteMemory.connect(url)`.

    Attributes:
        catalogue: what the memory held when this was connected.
    """

    _connection: AsyncConnection

    def __init__(self, connection: AsyncConnection, catalogue: Catalogue) -> None:
        self._connection = connection
        self.catalogue = catalogue

    @classmethod
    async def connect(
        cls,
        url: str,
        key: str | None = None,
        *,
        memory: str | None = None,
        timeout: float = SECONDS,
        client: httpx2.AsyncClient | None = None,
    ) -> Self:
        """Connect to a server; arguments and errors are those of `RemoteMemory`."""
        connection = AsyncConnection(Address.of(url, key, timeout), client)
        try:
            return cls(connection, await connection.ask(catalogue_call(url, memory)))
        except BaseException:
            await connection.close()
            raise

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def retriever(self, name: str) -> AsyncRemoteRetriever:
        """Return the retriever of an index.

        Raises:
            UnknownIndexError: there was no such index when this was connected.
        """
        kind = ASYNC_RETRIEVERS.get(self.catalogue.index(name).type, AsyncRemoteRetriever)
        return kind(self._connection, self.catalogue, name)

    async def sql(self, query: str) -> Answer:
        """Run one SELECT on the server, if it answers SQL, as `RemoteMemory.sql`."""
        return await self._connection.ask(sql_call(self.catalogue, query))

    async def fetch(self, *, keys: Sequence[str] | None = None, chunk_ids: Sequence[int] | None = None) -> Fetched:
        """Return documents by their keys, or chunks by their ids, as `RemoteMemory.fetch`."""
        return await self._connection.ask(fetch_call(self.catalogue, keys, chunk_ids))

    async def answers(
        self,
        index: str,
        questions: Sequence[str],
        *,
        reader: str | None = None,
        k: int = 5,
        where: str | None = None,
    ) -> list[Answered | PairAnswered]:
        """Return an answer to each question, as `RemoteMemory.answers`."""
        call = answers_call(self.catalogue, index, questions, reader=reader, k=k, where=where)
        return await self._connection.ask(call)

    def stream_answers(
        self,
        index: str,
        questions: Sequence[str],
        *,
        reader: str | None = None,
        k: int = 5,
        where: str | None = None,
    ) -> AsyncIterator[AnswerPart]:
        """Yield answers as they come, as `RemoteMemory.stream_answers`, for `async for`."""
        return self._connection.stream(AnswerStream(self.catalogue, index, questions, reader=reader, k=k, where=where))

    def encoder(self, name: str) -> AsyncRemoteEncoder:
        """Return the encoder of an embedding, for questions.

        Raises:
            QueryError: there is no such embedding.
        """
        return AsyncRemoteEncoder(self._connection, self.catalogue, name)

    async def aclose(self) -> None:
        """Close the connection."""
        await self._connection.close()
