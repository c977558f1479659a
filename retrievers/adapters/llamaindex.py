"""A retriever of LlamaIndex over a memory. Needs the extra `llamaindex`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from typing_extensions import override

from mnemodex.retrievers.adapters.passages import AnyMemory, Passage, Search
from mnemodex.schemas.errors import MissingExtraError

try:
    from llama_index.core.base.base_retriever import BaseRetriever
    from llama_index.core.schema import NodeRelationship, NodeWithScore, RelatedNodeInfo, TextNode
except ImportError as error:
    raise MissingExtraError("this needs the package 'llama-index-core': pip install 'mnemodex[llamaindex]'") from error

if TYPE_CHECKING:
    from llama_index.core.schema import QueryBundle


class MnemodexRetriever(BaseRetriever):
    """Gives the hits of an index as LlamaIndex's nodes with scores.

    `MnemodexRetriever(mnemodex.open(path), "both", k=5).retrieve("a question")`. A node's id is its chunk's, its source
    is the document's key, its metadata are those of `Passage`.

    Args:
        memory: opened, or connected to a server.
        index: the index's name.
        k: nodes of a query.
        where: a filter, see `Retriever.search`.
    """

    def __init__(self, memory: AnyMemory, index: str, *, k: int = 10, where: str | None = None) -> None:
        super().__init__()
        self._search = Search(memory, index, k, where)

    @override
    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return [_node(passage) for passage in self._search.passages(query_bundle.query_str)]

    @override
    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        return [_node(passage) for passage in await self._search.apassages(query_bundle.query_str)]


def _node(passage: Passage) -> NodeWithScore:
    key = passage.metadata.get("key")
    node = TextNode(
        id_=passage.id,
        text=passage.text,
        metadata=passage.metadata,
        start_char_idx=passage.start,
        end_char_idx=passage.end,
        relationships={} if key is None else {NodeRelationship.SOURCE: RelatedNodeInfo(node_id=key)},
    )
    return NodeWithScore(node=node, score=passage.score)
