"""Question answering over the hits of a memory, as HippoRAG does it (Gutiérrez et al., 2024 and 2025)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

from mnemodex.retrievers.base import check
from mnemodex.retrievers.readers.answers import Answered
from mnemodex.retrievers.readers.reading import first_sentence, has_answer, parse, to_read, to_think
from mnemodex.schemas.errors import NoAnswerError, QueryError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnemodex.indexers.models.chat import Answer, Messages
    from mnemodex.retrievers.base import Retriever
    from mnemodex.retrievers.hits import Chunk


class Model(Protocol):
    """A model that answers conversations: `Chat` for one behind a server, `LocalChat` for one of this machine."""

    def ask_many(self, conversations: Sequence[Messages]) -> Sequence[Answer | NoAnswerError]:
        """Answers, or the reasons why there are none, in the same order."""


@dataclass(slots=True)
class _Asked:
    """A question on its way."""

    question: str
    hits: list[Chunk]
    thoughts: list[str] = field(default_factory=list)
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def count(self, answer: Answer) -> None:
        self.prompt_tokens += answer.prompt_tokens
        self.completion_tokens += answer.completion_tokens


class HippoReader:
    """Retrieves passages with any retriever of a memory and answers from them.

    With several steps, passages are retrieved as in IRCoT (Trivedi et al., 2023): the model writes one sentence of
    thought about what was found so far, the sentence is searched for, and the hits are merged, each with its best
    score; until the model says that it has the answer, or the steps are used up. Then it answers from the best hits.

    Args:
        retriever: of a graph, dense, hybrid or any other index.
        model: what reads and answers.
        steps: the most searches for a question; 1 for the question alone.

    Raises:
        QueryError: steps is below 1.
    """

    def __init__(self, retriever: Retriever, model: Model, *, steps: int = 1) -> None:
        if steps < 1:
            msg = f"steps is {steps}; give at least 1: the search for the question itself"
            raise QueryError(msg)
        self._retriever = retriever
        self._model = model
        self._steps = steps

    def answer(self, questions: Sequence[str], k: int = 5, *, where: str | None = None) -> list[Answered]:
        """Answer a batch of questions.

        Args:
            questions: the questions.
            k: how many hits are read for each.
            where: which chunks may be hits, as in `Retriever.search`.

        Returns:
            One answer a question; where the model gave none, `error` says why.

        Raises:
            QueryError: as in `Retriever.search`.
            ChatServerError: the model's server answers no question.
        """
        asked = self._retrieve(check(questions, k), k, where)
        answers = self._model.ask_many([to_read(one.question, one.hits) for one in asked])
        return [_answered(one, answer) for one, answer in zip(asked, answers, strict=True)]

    def _retrieve(self, questions: list[str], k: int, where: str | None) -> list[_Asked]:
        found = self._retriever.search(questions, k, where=where).chunks()
        asked = [_Asked(question, hits) for question, hits in zip(questions, found, strict=True)]
        going = asked
        for _ in range(self._steps - 1):
            going = self._think(going)
            if not going:
                break
            queries = [one.thoughts[-1] for one in going]
            for one, hits in zip(going, self._retriever.search(queries, k, where=where).chunks(), strict=True):
                one.hits = _merged(one.hits, hits, k)
        return asked

    def _think(self, asked: list[_Asked]) -> list[_Asked]:
        """Let the model add a sentence to each; those that are to be searched for on."""
        answers = self._model.ask_many([to_think(one.question, one.hits, one.thoughts) for one in asked])
        going = []
        for one, answer in zip(asked, answers, strict=True):
            # What was found so far can still be read.
            if isinstance(answer, NoAnswerError):
                continue
            one.count(answer)
            thought = first_sentence(answer.text)
            if thought and thought not in one.thoughts and not has_answer(thought):
                one.thoughts.append(thought)
                going.append(one)
        return going


def _merged(former: list[Chunk], new: list[Chunk], k: int) -> list[Chunk]:
    """The k best of both, each once, with its best score."""
    best: dict[int, Chunk] = {}
    for chunk in (*former, *new):
        if chunk.chunk_id not in best or chunk.score > best[chunk.chunk_id].score:
            best[chunk.chunk_id] = chunk
    order = sorted(best.values(), key=lambda chunk: (-chunk.score, chunk.chunk_id))[:k]
    return [replace(chunk, rank=rank) for rank, chunk in enumerate(order, start=1)]


def _answered(one: _Asked, answer: Answer | NoAnswerError) -> Answered:
    if isinstance(answer, NoAnswerError):
        return Answered(
            one.question, None, "", one.hits, tuple(one.thoughts), one.prompt_tokens, one.completion_tokens, str(answer)
        )
    one.count(answer)
    parsed = parse(answer.text)
    return Answered(
        one.question,
        parsed.answer,
        parsed.thought,
        one.hits,
        tuple(one.thoughts),
        one.prompt_tokens,
        one.completion_tokens,
    )
