"""`ngrams`: how often phrases occur, where, in which context, and what follows them."""

from __future__ import annotations

from dataclasses import asdict
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from mnemodex.deploy.operations.base import Form, check_number, retriever_of
from mnemodex.retrievers.base import check
from mnemodex.schemas.errors import LimitError
from mnemodex.schemas.tables import DOCUMENTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnemodex.deploy.access import Access
    from mnemodex.deploy.memories import Served
    from mnemodex.indexers.arrays import Int64s
    from mnemodex.retrievers.ngram.index import NgramIndex

Question = Literal["count", "continuations", "locate", "concordance"]

_NOUNS: dict[str, str] = {"count": "counts", "continuations": "continuations", "locate": "places"}


class NgramsForm(Form):
    """A question about phrases.

    Attributes:
        index: of type ngram.
        phrases: texts, which the index's tokenizer cuts.
        what: `count` for the numbers alone, `continuations` for the tokens that follow, `locate` for the first places,
            `concordance` for the documents with most occurrences and the words around these.
        limit: continuations, places or documents of a phrase.
    """

    index: str
    phrases: list[str]
    what: Question = "count"
    limit: int = Field(default=20, ge=1)


def ngrams(served: Served, request: NgramsForm, access: Access) -> dict[str, Any]:
    """Return how often each phrase occurs, and what else was asked about it.

    An access with a filter has only the concordance of its documents: counts are of the whole memory.
    """
    from mnemodex.retrievers.ngram.index import NgramIndex

    access.admit("search", served.name, request.index)
    where = access.where_of(None)
    if request.what != "concordance":
        access.require_all_rows(f"{_NOUNS[request.what]} of phrases", "they are of the whole corpus")
    check_number("phrases", request.phrases, served.limits.questions)
    if request.limit > served.limits.k:
        raise LimitError(f"limit: is {request.limit}. Ask for at most {served.limits.k} of a phrase")
    phrases = check(request.phrases, request.limit)
    index = retriever_of(served, request.index, NgramIndex, "ngram")
    answer: dict[str, Any] = {"memory": served.name, "snapshot": served.snapshot, "index": request.index}
    if request.what == "concordance":
        return {**answer, "concordance": _concordance(served, index, phrases, request.limit, where)}
    answer["counts"] = index.count(phrases).tolist()
    if request.what == "continuations":
        answer["continuations"] = _continuations(index, phrases, request.limit)
    if request.what == "locate":
        answer["places"] = _places(served, index, phrases, request.limit)
    return answer


def _continuations(index: NgramIndex, phrases: Sequence[str], limit: int) -> list[list[dict[str, Any]]]:
    following = index.continuations(phrases)
    return [
        [
            {"token": int(following.tokens[at]), "text": following.texts[at], "count": int(following.counts[at])}
            for at in range(start, min(stop, start + limit))
        ]
        for start, stop in pairwise(following.offsets.tolist())
    ]


def _places(served: Served, index: NgramIndex, phrases: Sequence[str], limit: int) -> list[list[dict[str, Any]]]:
    located = index.locate(phrases, limit=limit)
    doc_ids, keys = _documents(served, index, located.documents)
    chunk_ids, documents, tokens, lengths = (
        column.tolist() for column in (located.chunk_ids, located.documents, located.tokens, located.lengths)
    )
    return [
        [
            {
                "key": keys[at],
                "doc_id": doc_ids[at],
                "document": documents[at],
                "chunk_id": None if chunk_ids[at] < 0 else str(chunk_ids[at]),
                "token": tokens[at],
                "tokens": lengths[at],
            }
            for at in range(start, stop)
        ]
        for start, stop in pairwise(located.offsets.tolist())
    ]


def _documents(served: Served, index: NgramIndex, numbers: Int64s) -> tuple[list[str], list[str]]:
    """Return the ids and keys of documents by their numbers in the index."""
    rows = index.corpus.documents.at(numbers)
    keys = [
        str(served.memory.snapshot.column(DOCUMENTS.label, rows.labels[partition], "key")[row])
        for partition, row in zip(rows.partition.tolist(), rows.row.tolist(), strict=True)
    ]
    return list(map(str, rows.ids.tolist())), keys


def _concordance(
    served: Served, index: NgramIndex, phrases: Sequence[str], limit: int, where: str | None
) -> list[list[dict[str, Any]]]:
    from mnemodex.retrievers.ngram.concordance import concordances

    found = concordances(index, served.memory.snapshot, phrases, limit, where=where)
    return [[asdict(document) for document in documents] for documents in found]
