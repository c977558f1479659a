"""Passages by their questions: each chunk once, by its nearest question, as comparing all pairs says."""

from __future__ import annotations

import random

import numpy as np
import pytest
from library import write_jsonl, write_parts
from passed_objects import Hashed

import mnemodex
from mnemodex.indexers.qa import normalize_question
from mnemodex.schemas.errors import QueryError

WORDS = ["apple", "bridge", "clock", "dune", "elm", "ferry", "gull", "harbour"]
QUERIES = ["apple bridge clock?", "gull", "dune dune elm", "???", "harbour ferry gull apple"]


@pytest.fixture(scope="module")
def memory(tmp_path_factory):
    """Thirty passages, of which some have many questions and some none; most pairs have no passage."""
    folder, chance = tmp_path_factory.mktemp("chunks"), random.Random(3)
    notes = [{"id": f"n{number}", "title": "", "text": f"Note {number}."} for number in range(30)]
    pairs = [
        {
            "question": " ".join(chance.choices(WORDS, k=chance.randint(1, 4))) + "?",
            "answer": f"a{number}",
            **({"passage_id": f"n{chance.randint(0, 12) ** 2 % 30}"} if chance.random() < 0.3 else {}),
        }
        for number in range(400)
    ]
    recipe = {
        "source": {"path": str(write_parts(folder / "notes", notes, 3))},
        "memory": str(folder / "memory"),
        "embed": {"e": {}},
        "indexes": {"qa": {"type": "qa", "factory": "Flat"}},
        "qa_pairs": {"from": str(write_jsonl(folder / "pairs.jsonl", pairs))},
    }
    mnemodex.build(recipe, local=True, encoders={"e": Hashed(48)})
    return mnemodex.open(recipe["memory"], encoders={"e": Hashed(48)})


def nearest_chunks(memory, query, where="TRUE"):
    """The score of every chunk that has a question, best first."""
    rows = memory.sql(
        "SELECT p.chunk_id, q.question FROM qa_pairs p JOIN questions q USING (question_id) JOIN chunks c "
        f"USING (chunk_id) JOIN documents d ON d.doc_id = c.doc_id WHERE {where}"
    ).fetchall()
    texts = [normalize_question(text) for text in (query, *(question for _, question in rows))]
    vectors = memory.encoder("e").encode(texts)
    best = {}
    for (chunk_id, _), score in zip(rows, vectors[1:] @ vectors[0], strict=True):
        best[chunk_id] = max(best.get(chunk_id, -np.inf), float(score))
    return sorted(best.items(), key=lambda pair: (-round(pair[1], 5), pair[0])) if texts[0] else []


@pytest.mark.parametrize("where", ["TRUE", "d.key < 'n2'", "d.key = 'n3'", "FALSE"])
@pytest.mark.parametrize("k", [1, 3, 8, 200])
def test_chunks_are_those_of_the_nearest_pairs(memory, k, where):
    hits = memory.retriever("qa").search(QUERIES, k, where=None if where == "TRUE" else where, kind="chunk")
    assert hits.kind == "chunk" and hits.ids.shape == (len(QUERIES), k)
    for query, ids, scores in zip(QUERIES, hits.ids, hits.scores, strict=True):
        expected = nearest_chunks(memory, query, where)[:k]
        assert ids[ids >= 0].tolist() == [chunk_id for chunk_id, _ in expected]
        np.testing.assert_allclose(scores[ids >= 0], [score for _, score in expected], atol=1e-5)


def test_the_reason_of_a_chunk_is_the_question_that_found_it(memory):
    hits = memory.retriever("qa").search(QUERIES, 4, kind="chunk")
    for query, chunks, row in zip(QUERIES, hits, hits.reasons(), strict=True):
        for chunk, (reason,) in zip(chunks, row, strict=True):
            own = memory.sql(f"SELECT question FROM qa_pairs WHERE chunk_id = {chunk.chunk_id}").fetchall()
            assert (reason.text,) in own and reason.score == chunk.score
            texts = [normalize_question(query), normalize_question(reason.text)]
            vectors = memory.encoder("e").encode(texts)
            assert float(vectors[0] @ vectors[1]) == pytest.approx(chunk.score, abs=1e-5)


def test_another_kind_is_refused(memory):
    with pytest.raises(QueryError, match="index 'qa': hits of kind 'document' are not known"):
        memory.retriever("qa").search(["apple"], 1, kind="document")
