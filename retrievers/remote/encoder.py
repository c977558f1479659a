"""The encoder of a connected memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnemodex.retrievers.remote.reading import embed_call

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnemodex.indexers.arrays import Float32s
    from mnemodex.retrievers.remote.catalogue import Catalogue
    from mnemodex.retrievers.remote.connection import Connection


class RemoteEncoder:
    """Encodes questions on the server, as its indexes of an embedding are searched by them.

    Raises `QueryError` where the memory has no such embedding.
    """

    def __init__(self, connection: Connection, catalogue: Catalogue, name: str) -> None:
        self.name = name
        self.dimension = catalogue.embedding(name).dimension
        self._connection = connection
        self._catalogue = catalogue

    def encode_queries(self, texts: Sequence[str]) -> Float32s:
        """Return the vectors of questions, float32 of shape (texts, dimension)."""
        return self._connection.ask(embed_call(self._catalogue, self.name, texts))
