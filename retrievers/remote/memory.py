"""A memory that a server answers for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from mnemodex.retrievers.remote.answering import AnswerStream, answers_call
from mnemodex.retrievers.remote.catalogue import catalogue_call
from mnemodex.retrievers.remote.connected import ConnectedMemory
from mnemodex.retrievers.remote.connection import SECONDS, Address, Connection
from mnemodex.retrievers.remote.encoder import RemoteEncoder
from mnemodex.retrievers.remote.reading import fetch_call, sql_call
from mnemodex.retrievers.remote.retrievers import RETRIEVERS, RemoteRetriever

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import httpx2

    from mnemodex.retrievers.answer import Answer
    from mnemodex.retrievers.readers.answers import Answered
    from mnemodex.retrievers.readers.pair_answers import PairAnswered
    from mnemodex.retrievers.remote.answering import AnswerPart
    from mnemodex.retrievers.remote.reading import Fetched


class RemoteMemory(ConnectedMemory):
    """A memory of a server, its retrievers and its SQL, as `Memory` has them; may be used by several threads.

    Requests that a broken connection, a dying replica or a busy server left without an answer are repeated within their
    time-out: all that a client asks changes nothing. A search, or another call, is answered from one snapshot; a later
    one from that which the server has then.

    Attributes:
        catalogue: what the memory held when this was connected.
    """

    _connection: Connection

    def __init__(
        self,
        url: str,
        key: str | None = None,
        *,
        memory: str | None = None,
        timeout: float = SECONDS,
        client: httpx2.Client | None = None,
    ) -> None:
        """Connect to a server.

        Args:
            url: of the server: `https://HOST:PORT`.
            key: that its operator gave; servers for one machine need none.
            memory: the name of the memory; needed where the server has several.
            timeout: seconds that a request may take, and after which it is not repeated.
            client: of httpx2, for proxies or certificates of your own; `timeout` does not change it.

        Raises:
            UserError: the address or the key is none.
            ServerError: no Mnemodex server answers there.
            KeyRefusedError: the key is not accepted.
            UnknownMemoryError: there is no such memory, or several and none is named.
        """
        self._connection = Connection(Address.of(url, key, timeout), client)
        self.catalogue = self._connection.ask(catalogue_call(url, memory))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def retriever(self, name: str) -> RemoteRetriever:
        """Return the retriever of an index.

        Raises:
            UnknownIndexError: there was no such index when this was connected.
        """
        kind = RETRIEVERS.get(self.catalogue.index(name).type, RemoteRetriever)
        return kind(self._connection, self.catalogue, name)

    def sql(self, query: str) -> Answer:
        """Run one SELECT on the server, if it answers SQL.

        Raises:
            QueryError: the statement is not one SELECT or EXPLAIN, is wrong, fails, or takes longer than the server
                lets one take.
            AccessError: the server answers no SQL, or not with this key.
            LimitError: it has more rows than the server gives.
        """
        return self._connection.ask(sql_call(self.catalogue, query))

    def fetch(self, *, keys: Sequence[str] | None = None, chunk_ids: Sequence[int] | None = None) -> Fetched:
        """Return documents by their keys, or chunks by their ids.

        Raises:
            QueryError: both are given, or neither.
        """
        return self._connection.ask(fetch_call(self.catalogue, keys, chunk_ids))

    def answers(
        self,
        index: str,
        questions: Sequence[str],
        *,
        reader: str | None = None,
        k: int = 5,
        where: str | None = None,
    ) -> list[Answered | PairAnswered]:
        """Return an answer to each question, read by the server from the hits of an index.

        Args:
            index: of pairs or passages.
            questions: more than the server takes at once are sent in several requests.
            reader: a model of the server, or "pairs"; by default pairs answer for an index of pairs, and the server's
                first model for others.
            k: hits that a model reads for each question.
            where: see `Retriever.search`.

        Returns:
            What the readers of an opened memory return; pairs come without their chunks.

        Raises:
            QueryError: there is no such reader, or the index has hits that it does not read.
            ChatServerError: the server of the reader's model answers no question.
        """
        return self._connection.ask(answers_call(self.catalogue, index, questions, reader=reader, k=k, where=where))

    def stream_answers(
        self,
        index: str,
        questions: Sequence[str],
        *,
        reader: str | None = None,
        k: int = 5,
        where: str | None = None,
    ) -> Iterator[AnswerPart]:
        """Yield the answers of `answers` as they come, and before each what the model writes, as it writes it.

        Who stops the iteration stops the questions that have not begun. A question that fails has an `error`.

        Raises:
            ServerError: the connection broke before all questions were answered.
            MnemodexError: as `answers` does, before the first part.
        """
        return self._connection.stream(AnswerStream(self.catalogue, index, questions, reader=reader, k=k, where=where))

    def encoder(self, name: str) -> RemoteEncoder:
        """Return the encoder of an embedding, for questions.

        Raises:
            QueryError: there is no such embedding.
        """
        return RemoteEncoder(self._connection, self.catalogue, name)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()
