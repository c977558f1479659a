"""A retriever of LangChain over a memory. Needs the extra `langchain`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from typing_extensions import override

from mnemodex.retrievers.adapters.passages import AnyMemory, Passage, Search
from mnemodex.schemas.errors import MissingExtraError

try:
    from langchain_core.documents import Document
    from langchain_core.retrievers import BaseRetriever
except ImportError as error:
    raise MissingExtraError("this needs the package 'langchain-core': pip install 'mnemodex[langchain]'") from error

if TYPE_CHECKING:
    from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun


class MnemodexRetriever(BaseRetriever):
    """Gives the hits of an index as LangChain's documents.

    `MnemodexRetriever(memory=mnemodex.open(path), index="both", k=5).invoke("a question")`. A document's `id` is its
    chunk's, its metadata are those of `Passage`. `k` and `where` may also be passed to a call.

    Attributes:
        memory: opened, or connected to a server.
        index: the index's name.
        k: documents of a query.
        where: a filter, see `Retriever.search`.
    """

    memory: AnyMemory
    index: str
    k: int = 10
    where: str | None = None

    @override
    def _get_relevant_documents(
        self, query: str, *, run_manager: CallbackManagerForRetrieverRun, **changes: Any
    ) -> list[Document]:
        return [_document(passage) for passage in self._search(**changes).passages(query)]

    @override
    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun, **changes: Any
    ) -> list[Document]:
        return [_document(passage) for passage in await self._search(**changes).apassages(query)]

    def _search(self, *, k: int | None = None, where: str | None = None) -> Search:
        return Search(self.memory, self.index, self.k if k is None else k, self.where if where is None else where)


def _document(passage: Passage) -> Document:
    return Document(id=passage.id, page_content=passage.text, metadata=passage.metadata)
