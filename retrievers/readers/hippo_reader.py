"""Question answering over the hits of a memory, as HippoRAG does it (Gutiérrez et al., 2024 and 2025)."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import product
from typing import TYPE_CHECKING, Any, NamedTuple

from mnemodex.retrievers.base import check
from mnemodex.retrievers.readers.answers import Answered, passage_text, unanswered
from mnemodex.schemas.errors import NoAnswerError, QueryError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnemodex.indexers.models.chat import Answer, Messages
    from mnemodex.retrievers.base import Retriever
    from mnemodex.retrievers.hits import Chunk
    from mnemodex.retrievers.readers.asking import Model

# The structure is HippoRAG's, so that results compare; words and examples are ours, and the facts in them made up, so
# that no data set's question is answered by them.
_READ = (
    "You are good at reading comprehension. You get passages and a question. The passages may not answer it in one "
    'place: connect what several of them say. After "Thought: " reason step by step and name what you conclude from '
    'which passage. Then, in a new line, write "Answer: " and the answer alone, as short as it can be: a name, a date, '
    "a number, or yes or no."
)
_EXAMPLE = (
    "Wikipedia Title: The Salt Ledger\nThe Salt Ledger is a novel of 1934 by Ottoline Marr about three sisters who "
    "inherit a salt works. It was her only book to be translated.\n\n"
    "Wikipedia Title: Kestrel Quay\nKestrel Quay is a street in the old port of Dunmarrow. Its warehouses were turned "
    "into workshops in 1987.\n\n"
    "Wikipedia Title: Ottoline Marr\nOttoline Marr (1889-1961) was a novelist and a teacher of botany. She was born in "
    "Dunmarrow and moved to the capital when she was twenty.\n\n"
    "Wikipedia Title: Dunmarrow\nDunmarrow is a port at the mouth of the River Aske. Its town hall was finished in "
    "1902, and ferries leave for the islands every day.\n\n"
    "Question: Which river reaches the sea at the birthplace of the author of The Salt Ledger?\nThought: "
)
_EXAMPLE_THOUGHT = (
    "The Salt Ledger was written by Ottoline Marr. Ottoline Marr was born in Dunmarrow. Dunmarrow lies at the mouth of "
    "the River Aske."
)
_EXAMPLE_ANSWER = "River Aske"

_STOP = "So the answer is:"
"""Begins what a model writes when it needs no further passages."""

_STEP = (
    "You help to answer questions for which several passages have to be connected. The passages that were found so far "
    "stand before the question, and your thoughts so far after it. Write the next thought: one sentence, which says "
    "what you learnt from the passages, or names what is still to be found out. Do not write several thoughts at once. "
    f'Once the passages suffice, write "{_STOP}" and the answer.\n\nAn example of all thoughts about a question:\n\n'
    f"{_EXAMPLE}{_EXAMPLE_THOUGHT} {_STOP} {_EXAMPLE_ANSWER}."
)

_ANSWER = re.compile(
    r"(?<![*_#])[*_#]*\banswer\W{0,9}?[:\uff1a][*_]*|<answer>"
    # A heading.
    r"|^[#*_ ]{0,9}(?:final )?answer[*_ ]{0,9}$",
    re.IGNORECASE | re.MULTILINE,
)
_IN_A_SENTENCE = re.compile(r"(?:\bso\s+)?\bthe\s+(?:final\s+|correct\s+)?answer\s+is\b:?|(?=\\boxed\{)", re.IGNORECASE)
_NEXT = re.compile(r"\n[^\S\n]*(?:Question|Wikipedia Title):")
"""Begins what a model that was never tuned continues with: further questions."""
_TEX = re.compile(r"(?<!\$)\$*\\(?:boxed|text|textbf|mathrm)\{([^{}]*)\}\$*")
_MARKED = re.compile(r"(?<![\w*`])(\*{1,3}|`{1,3}|_(?!_))(?=\S)(.{1,200}?)(?<=\S)\1(?!\w)")
"""Emphasis and code of Markdown; `__init__` is a name."""
_DONE = re.compile(r"\bso\s+the\s+(?:final\s+)?answer\s+is\b|\bthe\s+(?:final\s+)?answer\s+is:", re.IGNORECASE)
# A point after an initial or a title does not end a sentence; quotation marks and brackets after one belong to it.
_END = re.compile(
    r"(?<!\b[A-Z])(?<!\b[MDS]r)(?<!\b(?:St|Jr|No|vs))(?<!\bMrs)[.!?][\"'\u201d\u2019)]*(?=\s+[^a-z\s]|$)"
    r"|[\u3002\uff01\uff1f\u061f\u0964]|\n"
)


class HippoReader:
    """Retrieves passages with any retriever of a memory and answers from them.

    With several steps, passages are retrieved as in IRCoT (Trivedi et al., 2023): the model writes one sentence of
    thought about the hits so far, the sentence is searched for, and the hits are merged, each with its best score;
    until the model says that it has the answer, or the steps are used up. Then it answers from the best hits.

    Steps are the most searches for a question; 1 is for the question alone, and less a `QueryError`.
    """

    def __init__(self, retriever: Retriever, model: Model, *, steps: int = 1) -> None:
        if steps < 1:
            raise QueryError(f"steps is {steps}; give at least 1: the search for the question itself")
        self._retriever = retriever
        self._model = model
        self._steps = steps

    def answer(self, questions: Sequence[str], k: int = 5, *, where: str | None = None) -> list[Answered]:
        """Answer a batch of questions by k hits for each; where the model gave no answer, `error` says why.

        Raises:
            QueryError: as in `Retriever.search`.
            ChatServerError: the model's server answers no question.
        """
        questions = check(questions, k)
        entries = unanswered(questions, self._retriever.search(questions, k, where=where))
        pending = list(range(len(entries)))
        for _ in range(self._steps - 1):
            pending = self._think(entries, pending)
            if not pending:
                break
            hits = self._retriever.search([entries[number].steps[-1] for number in pending], k, where=where).chunks()
            for number, chunks in zip(pending, hits, strict=True):
                entries[number] = replace(entries[number], hits=_merge(entries[number].hits, chunks, k))
        replies = self._model.ask_many([to_read(entry.question, entry.hits) for entry in entries])
        return [_finish(entry, reply) for entry, reply in zip(entries, replies, strict=True)]

    def _think(self, entries: list[Answered], pending: list[int]) -> list[int]:
        """Let the model add a sentence to pending entries; returns those whose sentence is to be searched for."""
        open_entries = [entries[number] for number in pending]
        replies = self._model.ask_many([to_think(entry.question, entry.hits, entry.steps) for entry in open_entries])
        searched = []
        for number, reply in zip(pending, replies, strict=True):
            # The hits so far can still be read.
            if isinstance(reply, NoAnswerError):
                continue
            entry = _count(entries[number], reply)
            thought = first_sentence(reply.text)
            if thought and thought not in entry.steps and not has_answer(thought):
                entry = replace(entry, steps=(*entry.steps, thought))
                searched.append(number)
            entries[number] = entry
        return searched


def _merge(former: list[Chunk], new: list[Chunk], k: int) -> list[Chunk]:
    """Return the k best of both, each once, with its best score."""
    best: dict[int, Chunk] = {}
    for chunk in (*former, *new):
        if chunk.chunk_id not in best or chunk.score > best[chunk.chunk_id].score:
            best[chunk.chunk_id] = chunk
    order = sorted(best.values(), key=lambda chunk: (-chunk.score, chunk.chunk_id))[:k]
    return [replace(chunk, rank=rank) for rank, chunk in enumerate(order, start=1)]


def _finish(entry: Answered, reply: Answer | NoAnswerError) -> Answered:
    if isinstance(reply, NoAnswerError):
        return replace(entry, error=str(reply))
    if not reply.text:
        cut = "; it was cut at the limit of tokens: raise max_tokens" if reply.cut else ""
        return _count(entry, reply, error=f"the model writes no answer, or its thinking alone{cut}")
    parsed = parse(reply.text)
    return _count(entry, reply, answer=parsed.answer, thought=parsed.thought)


def _count(entry: Answered, reply: Answer, **changes: Any) -> Answered:
    """Return the entry with the tokens of a reply added to its own."""
    prompt, completion = entry.prompt_tokens + reply.prompt_tokens, entry.completion_tokens + reply.completion_tokens
    return replace(entry, prompt_tokens=prompt, completion_tokens=completion, **changes)


class Parsed(NamedTuple):
    """The two parts of what a model wrote."""

    thought: str
    answer: str


def to_read(question: str, passages: Sequence[Chunk]) -> Messages:
    """Return the conversation that asks for thought and answer: instruction, one example, passages and question."""
    return [
        {"role": "system", "content": _READ},
        {"role": "user", "content": _EXAMPLE},
        {"role": "assistant", "content": f"{_EXAMPLE_THOUGHT}\nAnswer: {_EXAMPLE_ANSWER}"},
        {"role": "user", "content": _prompt(question, passages)},
    ]


def to_think(question: str, passages: Sequence[Chunk], thoughts: Sequence[str]) -> Messages:
    """Return the conversation that asks for the next sentence of thought (IRCoT; Trivedi et al., 2023)."""
    return [
        {"role": "system", "content": _STEP},
        {"role": "user", "content": _prompt(question, passages) + " ".join(thoughts)},
    ]


def _prompt(question: str, passages: Sequence[Chunk]) -> str:
    blocks = "".join(f"Wikipedia Title: {passage_text(passage)}\n\n" for passage in passages)
    return f"{blocks}Question: {question}\nThought: "


def parse(text: str) -> Parsed:
    """Return thought and answer of what a model wrote; all of it is the answer where it names none, as in HippoRAG.

    The last answer counts, as models draft before they answer, and is one line or the value in JSON.
    """
    own = _NEXT.split(text, maxsplit=1)[0]
    for part, marker in product((own, text), (_ANSWER, _IN_A_SENTENCE)):
        for match in reversed(list(marker.finditer(part))):
            lines = map(_clean, part[match.end() :].splitlines())
            if answer := next(filter(None, lines), ""):
                sentence = marker is _IN_A_SENTENCE
                return Parsed(
                    part[: match.start()].strip(), first_sentence(answer).removesuffix(".") if sentence else answer
                )
    return Parsed("", "" if _ANSWER.search(text) else _clean(text))


def _clean(line: str) -> str:
    """Return a line without what is for the eye alone: marks of Markdown, TeX and XML."""
    line = line.partition("</answer>")[0]
    while line != (line := _MARKED.sub(r"\2", _TEX.sub(r"\1", line))):
        pass
    return line.strip().strip("*`").strip()


def first_sentence(text: str) -> str:
    """Return the first sentence of a thought; empty for an empty one."""
    text = text.strip().removeprefix("Thought:").strip()
    end = _END.search(text)
    return (text if end is None else text[: end.end()]).strip()


def has_answer(thought: str) -> bool:
    """Return whether a thought says that no further passages are needed."""
    return _DONE.search(thought) is not None
