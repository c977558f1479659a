"""A memory that a server answers for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from mnemodex.retrievers.remote.catalogue import catalogue_call
from mnemodex.retrievers.remote.connected import ConnectedMemory
from mnemodex.retrievers.remote.connection import SECONDS, Address, Connection
from mnemodex.retrievers.remote.encoder import RemoteEncoder
from mnemodex.retrievers.remote.reading import fetch_call, sql_call
from mnemodex.retrievers.remote.retrievers import RETRIEVERS, RemoteRetriever

if TYPE_CHECKING:
    from collections.abc import Sequence

    import httpx2

    from mnemodex.retrievers.answer import Answer
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

    def encoder(self, name: str) -> RemoteEncoder:
        """Return the encoder of an embedding, for questions.

        Raises:
            QueryError: there is no such embedding.
        """
        return RemoteEncoder(self._connection, self.catalogue, name)

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()
