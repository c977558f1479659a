"""`search`: the best hits of questions in an index."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import Field

from mnemodex.deploy.operations.base import Form, check_number
from mnemodex.retrievers.base import check
from mnemodex.schemas.errors import LimitError, QueryError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnemodex.deploy.access import Access
    from mnemodex.deploy.memories import Served


class SearchForm(Form):
    """A search.

    Attributes:
        index: that is searched.
        queries: the questions.
        k: hits of each.
        where: a boolean SQL expression over chunks c and documents d.
        newest: whether superseded facts are left out, of an index of type graph.
        explain: whether hits come with their reasons.
        kind: of the hits: "chunk", "pair" or "position", as the index has them; one of pairs has also those of chunks.
            Where it is given, they are as `hits_to_json` gives them, for clients.
    """

    index: str
    queries: list[str]
    k: int = Field(default=10, ge=1)
    where: str | None = None
    newest: bool = False
    explain: bool = False
    kind: str | None = None


def search(served: Served, request: SearchForm, access: Access) -> dict[str, Any]:
    """Return the hits of each question, as `mnemodex search --json` prints them."""
    where = check_search(served, request, access)
    try:
        with served.locks[request.index]:
            return find(served, request, request.queries, where)
    except QueryError as error:
        raise access.shown(error) from error


def check_search(served: Served, request: SearchForm, access: Access) -> str | None:
    """Return the filter of a search that may be made; one that may not is an error of ours."""
    access.admit("search", served.name, request.index)
    check_number("queries", request.queries, served.limits.questions)
    if request.k > served.limits.k:
        raise LimitError(f"k: is {request.k}. Ask for at most {served.limits.k} hits")
    check(request.queries, request.k)
    own = served.memory.kind(request.index).hits
    kinds = ("pair", "chunk") if own == "pair" else (own,)
    if request.kind not in (None, *kinds):
        raise QueryError(f"kind: {request.index!r} has hits of kind {own!r}. Ask another index, or for these")
    return access.where_of(request.where)


def find(served: Served, request: SearchForm, queries: Sequence[str], where: str | None) -> dict[str, Any]:
    """Search an index for questions, as a request says."""
    if request.kind is not None:
        return _find_of_kind(served, request, queries, where)
    from mnemodex.pipelines.commands.rendering import SearchRequest
    from mnemodex.schemas.kinds import KINDS, load

    served.retriever(request.index)
    searched = SearchRequest(served.memory, request.index, queries, request.k, where, request.explain, request.newest)
    with KINDS.calling(served.memory.snapshot.index(request.index).type) as kind:
        found: dict[str, Any] = load(kind.renderer)(searched).to_json()
    return {"memory": served.name, "snapshot": served.snapshot, **found}


def _find_of_kind(served: Served, request: SearchForm, queries: Sequence[str], where: str | None) -> dict[str, Any]:
    """Return the hits alone, without what the command line says besides, and the types of their metadata."""
    from mnemodex.retrievers.hits_json import hits_to_json
    from mnemodex.retrievers.qa.retriever import QARetriever

    retriever = served.retriever(request.index)
    if request.kind == "chunk" and isinstance(retriever, QARetriever):
        retriever = retriever.by_chunk()
    # An index of another package may have a retriever that takes no more.
    newest: Any = {"newest": True} if request.newest else {}
    hits = retriever.search(queries, request.k, where=where, **newest)
    return {
        "memory": served.name,
        "snapshot": served.snapshot,
        "index": request.index,
        "kind": hits.kind,
        "fields": dict(hits.snapshot.fields),
        "hits": hits_to_json(hits, explain=request.explain),
    }
