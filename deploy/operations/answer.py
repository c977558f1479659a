"""`answer`: answers to questions, read by a model from the hits of an index, or by the pairs alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from pydantic import Field

from mnemodex.deploy.operations.base import Form, check_number
from mnemodex.deploy.readers import PAIRS, Watched
from mnemodex.retrievers.base import check
from mnemodex.schemas.errors import ChatServerError, LimitError, QueryError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractContextManager

    from mnemodex.deploy.access import Access
    from mnemodex.deploy.memories import Served
    from mnemodex.deploy.readers import Readers
    from mnemodex.retrievers.qa.retriever import QARetriever
    from mnemodex.retrievers.readers.answers import Answered
    from mnemodex.retrievers.readers.pair_answers import PairAnswered

    Answers = Sequence[Answered | PairAnswered]


class AnswerForm(Form):
    """Questions to answer.

    Attributes:
        index: whose hits are read: pairs, or chunks.
        questions: that are asked.
        where: a boolean SQL expression over chunks c and documents d.
        reader: a model of the server by its name, or `pairs` for the answers of the nearest pairs, without a model; by
            default `pairs` for an index of pairs, and the first model for others.
        k: hits that are read for each question; `pairs` reads as many as its index was tuned for.
        stream: whether answers come as server-sent events, each as soon as it is there, and before it what the model
            writes.
    """

    index: str
    questions: list[str]
    where: str | None = None
    reader: str | None = None
    k: int = Field(default=5, ge=1)
    stream: bool = False


def answer(
    served: Served, request: AnswerForm, access: Access, *, readers: Readers, watch: Callable[[str], None] | None = None
) -> dict[str, Any]:
    """Return an answer to each question, with the hits that it was read from; `error` says why there is none."""
    where = check_answer(served, request, access, readers=readers)
    name, read = _reader(served, request, readers, watch)
    try:
        answers = [entry.to_json() for entry in read(request.questions, where)]
    except ChatServerError as error:
        raise ChatServerError(readers.say(name, str(error))) from error
    for entry in answers:
        if entry["error"] is not None:
            entry["error"] = readers.say(name, entry["error"])
    return {
        "memory": served.name,
        "snapshot": served.snapshot,
        "index": request.index,
        "reader": name,
        "answers": answers,
    }


def check_answer(served: Served, request: AnswerForm, access: Access, *, readers: Readers) -> str | None:
    """Return the filter of questions that may be asked; what may not be asked is an error of ours."""
    access.admit("answer", served.name, request.index)
    check_number("questions", request.questions, served.limits.questions)
    if request.k > served.limits.k:
        raise LimitError(f"k: is {request.k}. Ask for at most {served.limits.k} hits")
    check(request.questions, request.k)
    kind = served.memory.kind(request.index).hits
    if kind not in ("chunk", "pair"):
        raise QueryError(f"index {request.index!r}: has hits of kind {kind!r}. Ask one of chunks or pairs")
    if request.reader == PAIRS and kind != "pair":
        raise QueryError(f"reader: {PAIRS!r} answers by pairs, which {request.index!r} has not. Name a model")
    if not _by_pairs(request, kind):
        readers.find(request.reader)
    fallback = served.memory.snapshot.index(request.index).settings.get("fallback")
    if fallback is not None:
        access.require_index(fallback)
    return access.where_of(request.where)


def _by_pairs(request: AnswerForm, kind: str) -> bool:
    return kind == "pair" and request.reader in (None, PAIRS)


def _reader(
    served: Served, request: AnswerForm, readers: Readers, watch: Callable[[str], None] | None
) -> tuple[str, Callable[[list[str], str | None], Answers]]:
    """Return the name of a request's reader, and what answers questions by it.

    `watch` is given what a model of a server writes, as it comes.
    """
    from mnemodex.indexers.models.chat import Chat
    from mnemodex.retrievers.readers.hippo_reader import HippoReader
    from mnemodex.retrievers.readers.qa_memory_reader import QAMemoryReader, RePAQReader

    kind = served.memory.kind(request.index).hits
    retriever: Any = _Searching(served, request.index)
    if _by_pairs(request, kind):
        return PAIRS, lambda questions, where: RePAQReader(retriever).answer(questions, where=where)
    name, model = readers.find(request.reader)
    if watch is not None and isinstance(model, Chat):
        model = Watched(model, watch)
    if kind == "pair":
        pairs = QAMemoryReader(retriever, model, k=request.k)
        return name, lambda questions, where: pairs.answer(questions, where=where)
    passages = HippoReader(retriever, model)
    return name, lambda questions, where: passages.answer(questions, request.k, where=where)


class _Searching:
    """A retriever as readers use it, which holds the index's lock while it searches, and not while a model writes."""

    def __init__(self, served: Served, index: str) -> None:
        self._retriever = served.retriever(index)
        self._lock: AbstractContextManager[Any] = served.locks[index]

    def search(self, queries: Sequence[str], k: int, *, where: str | None) -> Any:
        with self._lock:
            return self._retriever.search(queries, k, where=where)

    def predictions(self, questions: Sequence[str], *, where: str | None) -> Any:
        with self._lock:
            return cast("QARetriever", self._retriever).predictions(questions, where=where)
