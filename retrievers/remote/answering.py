"""Answers of a server's readers as calls, whole or as they come."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mnemodex.retrievers.base import check, check_where
from mnemodex.retrievers.readers.answers import Answered
from mnemodex.retrievers.readers.pair_answers import PairAnswered
from mnemodex.retrievers.remote.calls import Call, Request, batches
from mnemodex.retrievers.remote.predicting import read_chunk, read_pair
from mnemodex.retrievers.remote.problems import read_answer
from mnemodex.retrievers.remote.received import same_snapshot
from mnemodex.schemas.errors import ServerError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from mnemodex.retrievers.remote.catalogue import Catalogue
    from mnemodex.retrievers.remote.problems import Answer, NoConnection

_EVENT, _DATA = "event: ", "data: "


@dataclass(frozen=True, slots=True)
class AnswerPart:
    """What comes next of the answers to some questions.

    Attributes:
        number: of the question, from 0.
        text: what the model writes next, its thoughts too; empty where it is done.
        answered: the question's answer, at its end; its `error` says why there is none.
    """

    number: int
    text: str = ""
    answered: Answered | PairAnswered | None = None


def answers_call(
    catalogue: Catalogue, index: str, questions: Sequence[str], *, reader: str | None, k: int, where: str | None
) -> Call[list[Answered | PairAnswered]]:
    """Return the call for an answer to each question, read from the hits of an index."""

    def read(bodies: list[Any]) -> list[Answered | PairAnswered]:
        if bodies:
            same_snapshot(bodies)
        return [_answered(answer) for body in bodies for answer in body["answers"]]

    body = _body(catalogue, index, reader, k, where)
    asked = batches(check(questions, k), catalogue.limits)
    return Call([Request("/v1/answer", {**body, "questions": list(batch)}) for batch in asked], read)


class AnswerStream:
    """A request whose answers come one by one, and the lines in which they do.

    Args:
        catalogue: of the memory.
        index: whose hits are read.
        questions: that are asked, as many as the server takes at once.
        reader: the server's model; by default as in `answers_call`.
        k: hits of a question.
        where: the filter.

    Attributes:
        request: that is sent.
        begun: whether a part has come, so that the request is not sent again.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        index: str,
        questions: Sequence[str],
        *,
        reader: str | None,
        k: int,
        where: str | None,
    ) -> None:
        self._questions = check(questions, k)
        body = _body(catalogue, index, reader, k, where)
        self.request = Request("/v1/answer", {**body, "questions": self._questions, "stream": True})
        self.begun = False
        self._name = ""
        self._open = set(range(len(self._questions)))

    def read(self, line: str) -> Iterator[AnswerPart]:
        """Yield the part that a line of the answer is the end of, if it is one."""
        if line.startswith(_EVENT):
            self._name = line.removeprefix(_EVENT)
        elif line.startswith(_DATA):
            data, self.begun = json.loads(line.removeprefix(_DATA)), True
            if self._name == "text":
                yield AnswerPart(data["number"], data["text"])
            elif self._name == "answer":
                yield AnswerPart(data["number"], answered=_answered(data["answer"]))
            elif self._name == "error":
                yield AnswerPart(data["number"], answered=self._failed(data["number"], data["error"]))
            if self._name in ("answer", "error"):
                self._open.discard(data["number"])

    def finish(self, url: str, outcome: Answer | NoConnection | None) -> None:
        """Raise where questions are left without an answer.

        Args:
            url: the server's.
            outcome: of the request, where it was refused or the connection broke.

        Raises:
            ServerError: the stream ended too early, or there was none.
            MnemodexError: the server refuses.
        """
        if outcome is not None and not self.begun:
            read_answer(url, outcome)
        if self._open:
            numbers = ", ".join(map(str, sorted(self._open)))
            raise ServerError(f"{url}: the stream ended without answers to the questions {numbers}. Ask these again")

    def _failed(self, number: int, error: Mapping[str, str]) -> Answered:
        return Answered(self._questions[number], None, "", [], error=f"{error['message']}. {error['remedy']}")


def _body(catalogue: Catalogue, index: str, reader: str | None, k: int, where: str | None) -> dict[str, Any]:
    where = None if where is None else check_where(where)
    return {"memory": catalogue.name, "index": index, "reader": reader, "k": k, "where": where}


def _answered(answer: Mapping[str, Any]) -> Answered | PairAnswered:
    end = {f"{part}_tokens": answer["tokens"][part] for part in ("prompt", "completion")} | {"error": answer["error"]}
    if "pairs" in answer:
        pairs = tuple(map(read_pair, answer["pairs"]))
        return PairAnswered(answer["question"], answer["answer"], pairs, answer["dropped"], **end)
    hits = list(map(read_chunk, answer["hits"]))
    steps = tuple(answer["steps"])
    return Answered(answer["question"], answer["answer"], answer["thought"], hits, steps, **end)
