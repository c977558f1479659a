"""What a memory of a server says of itself, be its answers awaited or not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from mnemodex.retrievers.display import memory_html, memory_text

if TYPE_CHECKING:
    from mnemodex.retrievers.remote.catalogue import Catalogue
    from mnemodex.retrievers.remote.connection import Address


class _Addressed(Protocol):
    """A connection of either kind."""

    @property
    def address(self) -> Address: ...


class ConnectedMemory:
    """A memory of a server.

    Attributes:
        catalogue: what the memory held when this was connected.
    """

    catalogue: Catalogue
    _connection: _Addressed

    def __repr__(self) -> str:
        return memory_text(self.url, self.catalogue.shown)

    def _repr_html_(self) -> str:
        return memory_html(self.url, self.catalogue.shown)

    @property
    def url(self) -> str:
        """The server's address."""
        return self._connection.address.url

    @property
    def name(self) -> str:
        """The memory's name on the server."""
        return self.catalogue.name

    @property
    def indexes(self) -> list[str]:
        """The names of the indexes."""
        return [index.name for index in self.catalogue.indexes]
