"""Hits as other libraries hold them: texts with metadata."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mnemodex.retrievers.memory import Memory
from mnemodex.retrievers.qa.hits import PairHits
from mnemodex.retrievers.remote.async_memory import AsyncRemoteMemory
from mnemodex.retrievers.remote.memory import RemoteMemory
from mnemodex.schemas.errors import UserError

if TYPE_CHECKING:
    from mnemodex.retrievers.hits import Chunk, Hits

AnyMemory = Memory | RemoteMemory | AsyncRemoteMemory
"""Memories that other libraries can search."""


@dataclass(frozen=True, slots=True)
class Passage:
    """A hit of one query.

    Attributes:
        id: the chunk's, or the question's of a pair without a chunk.
        text: the chunk's, or the answers of such a pair.
        start: where the text begins in its document; None without a chunk.
        end: where it ends there.
        metadata: of the document, with the title and with `key`, `chunk_id`, `score`, `index`, `snapshot`, and of a
            pair `question` and `answers`, which take the places of fields of these names.
    """

    id: str
    text: str
    score: float
    start: int | None
    end: int | None
    metadata: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Search:
    """What is searched, and how.

    Attributes:
        memory: that is searched.
        index: the index's name.
        k: passages of a query.
        where: the filter.
    """

    memory: AnyMemory
    index: str
    k: int
    where: str | None

    def passages(self, query: str) -> list[Passage]:
        """Return the passages of a query, best first.

        Raises:
            UserError: the memory is one whose answers are awaited.
            QueryError: see `Retriever.search`.
        """
        if isinstance(self.memory, AsyncRemoteMemory):
            raise UserError(
                "the memory was connected by `aconnect`, whose answers are awaited. Use the retriever's `a` methods, "
                "or mnemodex.connect"
            )
        hits = self.memory.retriever(self.index).search([query], self.k, where=self.where)
        return passages_of(hits, self.index)

    async def apassages(self, query: str) -> list[Passage]:
        """Return the passages of a query, best first; a memory that waits does so in a thread."""
        if not isinstance(self.memory, AsyncRemoteMemory):
            return await asyncio.to_thread(self.passages, query)
        hits = await self.memory.retriever(self.index).search([query], self.k, where=self.where)
        return passages_of(hits, self.index)


def passages_of(hits: Hits, index: str) -> list[Passage]:
    """Return the hits of the first query as passages."""
    place = {"index": index, "snapshot": hits.snapshot.name}
    if not isinstance(hits, PairHits):
        return [_of_chunk(chunk, place) for chunk in hits[0]]
    passages = []
    for pair in hits.pairs()[0]:
        said = {"question": pair.question, "answers": list(pair.answers), **place}
        if pair.chunk is None:
            metadata = {"score": pair.score, **said}
            passages.append(Passage(str(pair.question_id), "; ".join(pair.answers), pair.score, None, None, metadata))
        else:
            passages.append(_of_chunk(pair.chunk, said))
    return passages


def _of_chunk(chunk: Chunk, more: dict[str, Any]) -> Passage:
    # Ids are strings: they do not fit the numbers of JSON.
    ours = {"key": chunk.key, "chunk_id": str(chunk.chunk_id), "score": chunk.score}
    metadata = {"title": chunk.title, **chunk.metadata, **ours, **more}
    return Passage(str(chunk.chunk_id), chunk.text, chunk.score, chunk.start, chunk.end, metadata)
