"""Pairs of questions and answers in a memory that is changed, and what their indexes answer."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from rebuilds import QUESTIONS, WORDS, note

if TYPE_CHECKING:
    from pathlib import Path

MASKED_PAIRS = {
    "flat": {"type": "dense", "factory": "Flat"},
    "asked": {"type": "qa"},
    "joint": {"type": "qa", "key": "question_answer"},
    "hops": {"type": "qa", "rounds": 3},
    "reranked": {"type": "qa", "rerank": {"by": "similarity"}},
    "codes": {"type": "qa", "key": "question_answer", "answer": "nearest"},
}


@pytest.fixture
def words_generator(packages: Any) -> None:
    """A generator whose questions many documents answer."""
    packages.install("word-generator", points={"mnemodex.generators": {"words": "word_generator:WORDS"}})


def write_pairs(path: Path) -> None:
    """Each document has a pair that is alone, and answers questions that others do, in several spellings."""
    with path.open("w", encoding="utf-8") as file:
        for number in range(400):
            words = [*note(number, 0)["text"].split(), "nothing"]
            rows = [
                {"question": f"What is in n{number}?", "answer": words[0]},
                {"question": f"{('What', 'what')[number % 2]} is {WORDS[number % 3]}?", "answer": words[-1]},
                {"question": f"Where is {WORDS[number % 7]}", "answers": words[:2], "id": f"p{number}"},
            ]
            for row in rows[: 1 + number % 3]:
                place = {} if number % 11 == 5 else {"passage_id": f"n{number}"}
                file.write(json.dumps(row | place) + "\n")


def pairs_of(retriever: Any, name: str) -> dict[str, Any]:
    """What an index of pairs answers."""
    given: dict[str, Any] = {}
    for where in (None, "d.key LIKE '%1'"):
        asked = [*QUESTIONS, "what is stone", "where is cloud", "What is in n2"]
        hits = retriever.search(asked, 5, where=where)
        given[f"pairs of {name} {where}"] = [[pair.to_json() for pair in row] for row in hits.pairs()]
        chunks = retriever.search(asked, 5, where=where, kind="chunk")
        given[f"chunks of {name} {where}"] = chunks.to_arrow().to_pylist()
        given[f"predictions of {name} {where}"] = retriever.predict(asked, where=where)
    return given
