"""The demo's question-answer pairs: questions by rules over the manual, and when the memory declines to answer."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

from mnemodex.retrievers.qa.predictions import VOTERS

if TYPE_CHECKING:
    from pathlib import Path

    from rich.console import Console

    from mnemodex.retrievers.memory import Memory
    from mnemodex.retrievers.qa.retriever import QARetriever

PAIRS = {"generator": "rules", "max_pairs": 2}
ASKED = (
    "What is a built-in function object?",
    "What do dictionaries preserve?",
    "What represents a stack trace of an exception?",
    "Who won the football world cup in 1998?",
)
_KNOWN = {
    "What does division by zero raise?": 'the "ZeroDivisionError" exception',
    "What updates the dictionary of an instance?": "attribute assignments and deletions",
    "What are lambda expressions for?": "anonymous functions",
    "What is the name for a function that uses yield?": "a generator function",
    "What is a Python program made of?": "code blocks",
    "What does a continue statement skip?": "the rest of the suite",
    "Which objects are a pair of floating point numbers?": "complex numbers",
    "What does an open file get represented by?": "a file object",
    "What do unrecognized escape sequences cause?": "a DeprecationWarning",
    "Which characters have code points from U+0000 to U+007F?": "ASCII characters",
    "What are functions with async def always?": "coroutine functions",
    "What does a negative repetition factor give?": "an empty sequence",
}
_UNKNOWN = {
    "What is the capital of France?": "Paris",
    "How tall is Mount Everest?": "8,849 metres",
    "Who wrote Don Quixote?": "Miguel de Cervantes",
    "What do bees make?": "honey",
    "When did the Berlin Wall fall?": "1989",
    "Which planet is the largest?": "Jupiter",
    "Who painted the Mona Lisa?": "Leonardo da Vinci",
    "What is the currency of Japan?": "the yen",
    "How many legs does a spider have?": "eight",
    "What is frozen water called?": "ice",
    "Which river flows through Cairo?": "the Nile",
    "Who was the first person on the moon?": "Neil Armstrong",
}


def index(queries: Path) -> dict[str, Any]:
    """Write the questions that the threshold is found with into a file, and return the settings of the index."""
    rows = [
        {"id": str(number), "question": question, "answers": [answer]}
        for number, (question, answer) in enumerate((_KNOWN | _UNKNOWN).items())
    ]
    queries.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return {"type": "qa", "abstain": {"queries": str(queries.absolute()), "risk": 0.2}}


def run(console: Console, memory: Memory) -> None:
    """Print the answers to questions with their sources, and what the memory does not know."""
    from rich.text import Text

    retriever = cast("QARetriever", memory.retriever("qa"))
    console.print(Text("Questions, each answered by a pair that was made of the manual, or declined:", style="bold"))
    near = retriever.search(ASKED, k=VOTERS).pairs()
    for question, predicted, pairs in zip(ASKED, retriever.predictions(ASKED), near, strict=True):
        if predicted.answer is None or predicted.pair is None:
            console.print(Text(f"  {question}  does not know ({predicted.confidence:.2f})"))
            continue
        console.print(Text.assemble(f"  {question}  ", (f"{predicted.answer} ({predicted.confidence:.2f})", "bold")))
        pair = next(pair for pair in pairs if pair.question_id == predicted.pair.question_id)
        assert pair.chunk is not None  # noqa: S101 - all pairs are made of chunks
        source = " ".join((pair.sentence or pair.question).split())
        console.print(Text(f"    [{pair.chunk.key}] {source}", style="dim"))
    console.print("")
