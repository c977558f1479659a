"""What a filter of generated pairs reads, and its reader."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Protocol

from typing_extensions import override

from mnemodex.indexers.arrays import find_ids
from mnemodex.indexers.models.chat import Chat
from mnemodex.indexers.models.locate import need, spacy_folder
from mnemodex.pipelines.kept_chat import KeptChat
from mnemodex.pipelines.opened import SearchedIndex
from mnemodex.retrievers.readers.chat_reader import ChatReader
from mnemodex.retrievers.readers.passage_reader import open_reader
from mnemodex.retrievers.readers.rule_reader import RuleReader
from mnemodex.schemas.limits import MaxErrors
from mnemodex.schemas.pair_sections import PairFilter, RulePairs
from mnemodex.schemas.sections import SPACY_MODEL
from mnemodex.schemas.spec import ModelRef, RunOnly, Spec
from mnemodex.schemas.store import parquet
from mnemodex.schemas.store.row_groups import RowGroups

if TYPE_CHECKING:
    from mnemodex.indexers.arrays import Int64s
    from mnemodex.pipelines.ops.base import Work
    from mnemodex.pipelines.ops.inputs import Inputs
    from mnemodex.retrievers.base import Retriever
    from mnemodex.retrievers.readers.passage_reader import PassageReader, Passages
    from mnemodex.schemas.pair_sections import AnswerSpans, GeneratedPairs


class FilterSettings(Spec):
    """A filter, the index that it searches, and the spaCy model of the reader by rules where no other one is named."""

    filter: PairFilter
    index: SearchedIndex | None = None
    spacy: Annotated[str, ModelRef("spacy")] | None = None
    max_errors: Annotated[MaxErrors, RunOnly()]


class PassageSource(Protocol):
    """Gives what is read for candidates."""

    def find(self, questions: list[str], chunk_ids: Int64s) -> tuple[list[Passages], list[bool | None]]:
        """Return the passages of each question, and whether its chunk is among them; None where that is not looked for.

        Args:
            questions: of the candidates.
            chunk_ids: of the chunks that they are made of, int64 of shape (questions,).
        """


class OwnChunks(PassageSource):
    """The chunk of each candidate, for the local filter."""

    def __init__(self, inputs: Inputs) -> None:
        self._path = inputs.partition(1).files["parquet"]
        self._ids = parquet.column(self._path, "chunk_id")
        self._rows = RowGroups()

    @override
    def find(self, questions: list[str], chunk_ids: Int64s) -> tuple[list[Passages], list[bool | None]]:
        rows = find_ids(self._ids, chunk_ids)
        own = self._rows.take("chunks", lambda: self._path, rows, ("title", "text"))
        texts = zip(own["title"].to_pylist(), own["text"].to_pylist(), strict=True)
        return [[text] for text in texts], [None] * len(questions)


class Searched(PassageSource):
    """The k best hits of an index for each question, for the global filter."""

    def __init__(self, retriever: Retriever, k: int) -> None:
        self._retriever, self._k = retriever, k

    @override
    def find(self, questions: list[str], chunk_ids: Int64s) -> tuple[list[Passages], list[bool | None]]:
        hits = self._retriever.search(questions, self._k)
        near = (hits.ids == chunk_ids[:, None]).any(axis=1)
        return [[(chunk.title, chunk.text) for chunk in row] for row in hits.chunks()], [*near.tolist()]


def check_filter(pairs: GeneratedPairs) -> None:
    """Refuse a filter whose reader needs what is not installed, with a `MissingExtraError` or a `ModelError`."""
    if pairs.filter is None:
        return
    if pairs.filter.server is not None:
        need("openai", extra="llm")
    elif by_rules(pairs.filter):
        need("spacy", extra="openie")
        spacy_folder(spacy_model(pairs))


def reader_of(settings: FilterSettings, work: Work) -> PassageReader:
    """Return the reader of a filter; its model is loaded, and its server not asked."""
    chosen = settings.filter
    if chosen.server is not None:
        server = chosen.server
        chat = Chat(server.base_url, server.model, api_key_env=server.api_key_env)
        return ChatReader(KeptChat(chat, server.model, {}, work.store))
    if chosen.model is not None:
        return open_reader(chosen.model, threads=work.cpus)
    return RuleReader(str(settings.spacy))


def by_rules(chosen: PairFilter) -> bool:
    """Return whether the reader is the one by rules, which needs no model but spaCy's."""
    return chosen.model is None and chosen.server is None


def spacy_model(pairs: GeneratedPairs) -> str:
    """Return the spaCy model that the section names, or the default one."""
    answers: AnswerSpans | None = getattr(pairs, "answers", None)
    named = pairs.model if isinstance(pairs, RulePairs) else answers.spacy if answers is not None else None
    return named or SPACY_MODEL
