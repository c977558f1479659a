"""The prompts by which a model reads passages, in HippoRAG's structure, and what is made of its answers."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from mnemodex.retrievers.readers.answers import passage_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnemodex.indexers.models.chat import Messages
    from mnemodex.retrievers.hits import Chunk

# The structure is HippoRAG's, so that results compare; words and examples are ours, and the facts in them made up, so
# that no data set's question is answered by them.
_READ = (
    "You are good at reading comprehension. You get passages and a question. The passages may not answer it in one "
    'place: connect what several of them say. After "Thought: " reason step by step and name what you conclude from '
    'which passage. Then, in a new line, write "Answer: " and the answer alone, as short as it can be: a name, a date, '
    "a number, or yes or no."
)
_EXAMPLE_PASSAGES = (
    "Wikipedia Title: The Salt Ledger\nThe Salt Ledger is a novel of 1934 by Ottoline Marr about three sisters who "
    "inherit a salt works. It was her only book to be translated.\n\n"
    "Wikipedia Title: Kestrel Quay\nKestrel Quay is a street in the old port of Dunmarrow. Its warehouses were turned "
    "into workshops in 1987.\n\n"
    "Wikipedia Title: Ottoline Marr\nOttoline Marr (1889-1961) was a novelist and a teacher of botany. She was born in "
    "Dunmarrow and moved to the capital when she was twenty.\n\n"
    "Wikipedia Title: Dunmarrow\nDunmarrow is a port at the mouth of the River Aske. Its town hall was finished in "
    "1902, and ferries leave for the islands every day.\n\n"
)
_EXAMPLE_QUESTION = "Which river reaches the sea at the birthplace of the author of The Salt Ledger?"
_EXAMPLE_THOUGHT = (
    "The Salt Ledger was written by Ottoline Marr. Ottoline Marr was born in Dunmarrow. Dunmarrow lies at the mouth of "
    "the River Aske."
)
_EXAMPLE_ANSWER = "River Aske"
_ASK = "{passages}Question: {question}\nThought: "

_STOP = "So the answer is:"
"""What a model writes where it needs no further passages."""

_STEP = (
    "You help to answer questions for which several passages have to be connected. The passages that were found so far "
    "stand before the question, and your thoughts so far after it. Write the next thought: one sentence, which says "
    "what you learnt from the passages, or names what is still to be found out. Do not write several thoughts at once. "
    f'Once the passages suffice, write "{_STOP}" and the answer.\n\nAn example of all thoughts about a question:\n\n'
    + _ASK.format(passages=_EXAMPLE_PASSAGES, question=_EXAMPLE_QUESTION)
    + f"{_EXAMPLE_THOUGHT} {_STOP} {_EXAMPLE_ANSWER}."
)

_ANSWER = re.compile(r"[*_#]*\bAnswer\W*?:[*_]*", re.IGNORECASE)
_SAID = re.compile(r"(?:\bso\s+)?\bthe\s+(?:final\s+)?answer\s+is\b:?", re.IGNORECASE)
_DONE = re.compile(r"\bso\s+the\s+(?:final\s+)?answer\s+is\b|\bthe\s+(?:final\s+)?answer\s+is:", re.IGNORECASE)
# A point after an initial or a title does not end a sentence; quotation marks and brackets after one belong to it.
_END = re.compile(
    r"(?<!\b[A-Z])(?<!\b[MDS]r)(?<!\b(?:St|Jr|No|vs))(?<!\bMrs)[.!?][\"'\u201d\u2019)]*(?=\s+[^a-z\s]|$)"
    r"|[\u3002\uff01\uff1f\u061f\u0964]|\n"
)


class Parsed(NamedTuple):
    """A model's answer in its two parts."""

    thought: str
    answer: str


def to_read(question: str, passages: Sequence[Chunk]) -> Messages:
    """The conversation that asks for thought and answer: instruction, one example, passages and question."""
    example = _ASK.format(passages=_EXAMPLE_PASSAGES, question=_EXAMPLE_QUESTION)
    return [
        {"role": "system", "content": _READ},
        {"role": "user", "content": example},
        {"role": "assistant", "content": f"{_EXAMPLE_THOUGHT}\nAnswer: {_EXAMPLE_ANSWER}"},
        {"role": "user", "content": _asked(question, passages)},
    ]


def to_think(question: str, passages: Sequence[Chunk], thoughts: Sequence[str]) -> Messages:
    """The conversation that asks for the next sentence of thought (IRCoT; Trivedi et al., 2023)."""
    return [
        {"role": "system", "content": _STEP},
        {"role": "user", "content": _asked(question, passages) + " ".join(thoughts)},
    ]


def _asked(question: str, passages: Sequence[Chunk]) -> str:
    # Texts may hold braces: they are joined, and never formatted again.
    blocks = "".join(f"Wikipedia Title: {passage_text(passage)}\n\n" for passage in passages)
    return f"{blocks}Question: {question}\nThought: "


def parse(text: str) -> Parsed:
    """Thought and answer of what a model wrote; all of it is the answer where it names none, as in HippoRAG.

    A model that was never tuned goes on with further questions: the answer is one line.
    """
    found = _ANSWER.search(text) or _SAID.search(text)
    if found is None:
        return Parsed("", text.strip())
    lines = [line.strip().strip("*_").strip() for line in text[found.end() :].splitlines()]
    answer = next((line for line in lines if line), "")
    said_in_a_sentence = found.re is _SAID
    return Parsed(text[: found.start()].strip(), answer.removesuffix(".") if said_in_a_sentence else answer)


def first_sentence(text: str) -> str:
    """The first sentence of a thought; empty for an empty one."""
    text = text.strip().removeprefix("Thought:").strip()
    found = _END.search(text)
    return (text if found is None else text[: found.end()]).strip()


def has_answer(thought: str) -> bool:
    """Whether a thought says that no further passages are needed."""
    return _DONE.search(thought) is not None
