"""What a server says that a memory holds."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict

from mnemodex.retrievers.display import SHOWN_TABLES, Shown, ShownIndex
from mnemodex.retrievers.remote.calls import Call, Request
from mnemodex.schemas.errors import QueryError, UnknownIndexError, UnknownMemoryError


class _Entry(BaseModel):
    # Newer servers say more.
    model_config = ConfigDict(frozen=True, extra="ignore")


class Limits(_Entry):
    """What a server takes in one request: bytes, questions, hits of each."""

    body_bytes: int = 1 << 20
    questions: int = 64
    k: int = 1000


class TableEntry(_Entry):
    """A table and its rows."""

    name: str
    rows: int


class EmbeddingEntry(_Entry):
    """An embedding and the numbers of a vector."""

    name: str
    dimension: int


class IndexEntry(_Entry):
    """An index.

    Attributes:
        type: as in the recipe.
        kind: the id space of its hits: "chunk", "pair" or "position".
        table: that it is over.
        settings: as in the manifest, without folders of the server.
        recall: as measured when it was built, where it was.
    """

    name: str
    type: str
    kind: str
    rows: int
    table: str | None = None
    settings: dict[str, Any] = {}
    recall: dict[str, Any] | None = None


class Catalogue(_Entry):
    """A memory as it was when the client connected.

    Attributes:
        name: the memory's.
        snapshot: the name of the snapshot that was served.
    """

    name: str
    snapshot: str
    tables: tuple[TableEntry, ...]
    embeddings: tuple[EmbeddingEntry, ...]
    indexes: tuple[IndexEntry, ...]
    limits: Limits = Limits()

    def index(self, name: str) -> IndexEntry:
        """Return an index; raise `UnknownIndexError` where there is none of that name."""
        for index in self.indexes:
            if index.name == name:
                return index
        names = ", ".join(index.name for index in self.indexes) or "none"
        raise UnknownIndexError(f"{self.name}: no index {name!r}; there are: {names}")

    def embedding(self, name: str) -> EmbeddingEntry:
        """Return an embedding; raise `QueryError` where there is none of that name."""
        for embedding in self.embeddings:
            if embedding.name == name:
                return embedding
        names = ", ".join(embedding.name for embedding in self.embeddings) or "none"
        raise QueryError(f"no embedding {name!r}; there are: {names}")

    @property
    def shown(self) -> Shown:
        """What is shown of it in an interpreter."""
        rows = {table.name: table.rows for table in self.tables}
        tables = {name: rows[name] for name in SHOWN_TABLES if name in rows}
        recalls = [(index, (index.recall or {}).get("recall")) for index in self.indexes]
        indexes = [ShownIndex(i.name, i.type, i.table or "", i.rows, recall) for i, recall in recalls]
        return Shown(self.snapshot, tables, indexes)


class _Answer(_Entry):
    memories: tuple[Catalogue, ...]
    limits: Limits = Limits()


def catalogue_call(url: str, memory: str | None) -> Call[Catalogue]:
    """Return the call that asks for a memory, or for the one that the server has.

    Its reading raises `UnknownMemoryError` where there is no such memory, or several and none is named.
    """

    def read(bodies: list[Any]) -> Catalogue:
        answer = _Answer.model_validate(bodies[0])
        names = ", ".join(repr(one.name) for one in answer.memories) or "none"
        if memory is None and len(answer.memories) != 1:
            raise UnknownMemoryError(f"{url}: serves the memories {names}. Name one: memory=NAME")
        for one in answer.memories:
            if memory in (None, one.name):
                return one.model_copy(update={"limits": answer.limits})
        raise UnknownMemoryError(f"{url}: serves no memory {memory!r}. It serves: {names}")

    return Call((Request("/v1/indexes"),), read)
