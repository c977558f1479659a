"""Question answering over the pairs of a memory: by the best of them, or by a model that reads several."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnemodex.indexers.models.chat import Answer
from mnemodex.retrievers.base import check
from mnemodex.retrievers.readers.asking import ask_about
from mnemodex.retrievers.readers.chat_reader import first_line
from mnemodex.retrievers.readers.pair_answers import PairAnswered

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnemodex.indexers.models.chat import Messages
    from mnemodex.retrievers.qa.hits import Pair
    from mnemodex.retrievers.qa.retriever import QARetriever
    from mnemodex.retrievers.readers.asking import Model, Reply

_TASK = (
    "You get a question, and below it other questions with their answers, one a line, those that are most like it "
    "first. Answer the first question by what the others tell: in as few words as possible, such as a name, a date or "
    "a number, and nothing else."
)
_EXAMPLE = (
    "question: which river is dunmarrow on\nWhich river reaches the sea at Dunmarrow? River Aske\nWhen was the town "
    "hall of Dunmarrow finished? 1902"
)


class RePAQReader:
    """Answers a question by the pairs alone, without a model (RePAQ; Lewis et al., 2021).

    Which pair is the best, and when none is good enough, is the index's to say (`QARetriever.predictions`).
    """

    def __init__(self, retriever: QARetriever) -> None:
        self._retriever = retriever

    def answer(self, questions: Sequence[str], *, where: str | None = None) -> list[PairAnswered]:
        """Answer a batch of questions.

        Raises:
            QueryError: as in `QARetriever.search`.
        """
        predictions = self._retriever.predictions(questions, where=where)
        return [
            PairAnswered(question, prediction.answer, () if prediction.pair is None else (prediction.pair,))
            for question, prediction in zip(questions, predictions, strict=True)
        ]


class QAMemoryReader:
    """Retrieves pairs and lets a model answer from their text, as QAMAT does (Chen et al., 2022).

    The model reads a line `question: Q`, and for each pair a line of its question and answers, the nearest first.
    Where that is longer than it reads, the last pairs are left out.

    Args:
        retriever: of pairs.
        model: `LocalChat`, which answers in batches by an encoder-decoder or a causal model, or `Chat`.
        k: pairs of a question.
        instruct: whether the model is told what to do, with an example. Without, it reads the lines alone, as a model
            that was tuned on them does.
    """

    def __init__(self, retriever: QARetriever, model: Model, *, k: int = 10, instruct: bool = True) -> None:
        self._retriever = retriever
        self._model = model
        self._k = k
        self._instruct = instruct

    def answer(self, questions: Sequence[str], *, where: str | None = None) -> list[PairAnswered]:
        """Answer a batch of questions; where the model gave no answer, `error` says why.

        A question without pairs has no answer, and the model is not asked.

        Raises:
            QueryError: as in `QARetriever.search`.
            ChatServerError: the model's server answers no question.
        """
        questions = check(questions, self._k)
        found = self._retriever.search(questions, self._k, where=where).pairs()
        asked = [number for number, pairs in enumerate(found) if pairs]
        lines = [[_line(pair) for pair in found[number]] for number in asked]
        replies = ask_about(
            self._model, lines, lambda n, read: self._conversation(questions[asked[n]], lines[n][:read])
        )
        entries = [PairAnswered(question, None, ()) for question in questions]
        for number, reply in zip(asked, replies, strict=True):
            entries[number] = _finish(questions[number], found[number], reply)
        return entries

    def _conversation(self, question: str, lines: Sequence[str]) -> Messages:
        text = "\n".join([f"question: {question}", *lines])
        if not self._instruct:
            return [{"role": "user", "content": text}]
        return [
            {"role": "system", "content": _TASK},
            {"role": "user", "content": _EXAMPLE},
            {"role": "assistant", "content": "River Aske"},
            {"role": "user", "content": text},
        ]


def _line(pair: Pair) -> str:
    return " ".join(f"{pair.question} {', '.join(pair.answers)}".split())


def _finish(question: str, pairs: Sequence[Pair], reply: Reply) -> PairAnswered:
    dropped = len(pairs) - reply.read
    if not isinstance(reply.answer, Answer):
        return PairAnswered(question, None, (), dropped, error=str(reply.answer))
    text = first_line(reply.answer)
    tokens = reply.answer.prompt_tokens, reply.answer.completion_tokens
    error = None if text else "the model writes no answer, or its thinking alone"
    return PairAnswered(question, text or None, tuple(pairs[: reply.read]), dropped, *tokens, error)
