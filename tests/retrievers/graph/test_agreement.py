"""What raises scores besides cosines: titles that a question mentions, and its words by BM25."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from bridge_space import HandSpace
from engines import InlineEngine
from library import write_jsonl

import mnemodex
from mnemodex.pipelines import run as run_module
from mnemodex.retrievers.graph.agreement import add_titles, add_words
from mnemodex.retrievers.hits import MISSING_ID
from mnemodex.schemas.errors import RecipeError

FILLER = [("", f"a ward of {word} in a town") for word in "abcdefghijklmnopqrst"]


@pytest.mark.parametrize(
    ("title", "gains"),
    [
        ("Lorna Ward", True),
        ("Lorna Ward (singer)", True),
        ("The Lorna Ward Story", False),
        ("Ward", False),
        ("Where", False),
        ("The Who", False),
        ("", False),
        ("(?)", False),
    ],
)
def test_a_title_in_the_question_raises_its_passage(title, gains):
    space = HandSpace([(title, "of Lorna Ward"), *FILLER])
    scores = np.zeros((2, len(space.passages)), np.float32)
    add_titles(space, {1: "where is the ward who knew Lorna Ward"}, scores)
    assert scores[1, 0] == pytest.approx(0.1 * gains) and np.count_nonzero(scores) == gains


def test_no_question_reads_no_titles():
    add_titles(None, {}, np.zeros((0, 3), np.float32))


def test_words_raise_what_bm25_finds_by_its_share_of_the_best_score():
    space = HandSpace(FILLER)
    ids, found = np.array([[7, 2, MISSING_ID], [MISSING_ID] * 3]), np.array([[8.0, 2.0, 0.0], [0.0] * 3], np.float32)
    space.numbers = lambda ids: ids
    space.bm25 = SimpleNamespace(search=lambda questions, k: SimpleNamespace(ids=ids, scores=found))
    scores = np.zeros((2, len(FILLER)), np.float32)
    add_words(space, ["a", "b"], scores)
    assert scores[0, [7, 2]] == pytest.approx([0.05, 0.0125]) and np.count_nonzero(scores) == 2


@pytest.fixture
def recipe(tmp_path, monkeypatch):
    monkeypatch.setattr(run_module, "choose_engine", InlineEngine)
    texts = ["the old salt mill of the north", "a mill for salt and flour", "zyx salt mill", "fish market"]
    rows = [{"id": f"d{number}", "title": "", "text": text} for number, text in enumerate(texts)]
    write_jsonl(tmp_path / "source.jsonl", rows)
    triples = [{"id": row["id"], "entities": [], "triples": []} for row in rows]
    return {
        "source": str(tmp_path / "source.jsonl"),
        "memory": str(tmp_path / "memory"),
        "triples": {"from": str(write_jsonl(tmp_path / "openie.jsonl", triples))},
        "indexes": {
            "terms": {"type": "bm25"},
            "alone": {"type": "graph", "method": "bridge-lite"},
            "lite": {"type": "graph", "method": "bridge-lite", "words": "terms"},
            "bridge": {"type": "graph", "method": "bridge", "words": "terms"},
        },
    }


def test_a_graph_index_with_words_ranks_by_them_too(recipe):
    mnemodex.build(recipe)
    memory = mnemodex.open(recipe["memory"])
    rare = memory.sql("SELECT chunk_id FROM chunks WHERE text LIKE 'zyx%'").fetchall()[0][0]
    alone, lite, bridge = (memory.retriever(name).search(["zyx mill"], 4) for name in ("alone", "lite", "bridge"))
    gains = [hits.scores[0][hits.ids[0] == rare] / hits.scores[0].sum() for hits in (alone, lite, bridge)]
    assert gains[1] > gains[0] and lite.ids[0][0] == bridge.ids[0][0] == rare
    kept = memory.retriever("lite").search(["zyx mill"], 4, where="text LIKE '%fish%'")
    assert (kept.ids[0] != MISSING_ID).sum() == 1


def test_words_name_a_bm25_index(recipe):
    recipe["indexes"]["lite"]["words"] = "term"
    with pytest.raises(RecipeError, match="terms"):
        mnemodex.build(recipe)
    recipe["indexes"]["lite"]["words"] = "alone"
    with pytest.raises(RecipeError, match="bm25"):
        mnemodex.build(recipe)
