"""Weights of a hybrid index that a build fits on a query file."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
from engines import InlineEngine
from library import words_recipe, write_jsonl

import mnemodex
from mnemodex.pipelines import run as run_module
from mnemodex.retrievers.evaluation import evaluate
from mnemodex.retrievers.fitting import _simplex
from mnemodex.retrievers.queries import read_queries
from mnemodex.schemas.errors import MnemodexError, RecipeError

TOWNS = ("dunmarrow", "ashby", "kells", "orrin", "velde", "tarn")


@pytest.fixture
def make(tmp_path, monkeypatch):
    """Builds a memory whose gold only the stems find: the texts have the words in the plural."""
    monkeypatch.setattr(run_module, "choose_engine", InlineEngine)
    texts = [{"id": town, "text": f"{town}s have harbours and lamps"} for town in TOWNS]
    texts += [{"id": f"{town}-other", "text": f"the harbour of {town} lies far away from any lamp"} for town in TOWNS]
    source = write_jsonl(tmp_path / "towns.jsonl", texts)

    def build(questions, **settings):
        queries = write_jsonl(tmp_path / "asked.jsonl", questions)
        indexes = {
            "stems": {"type": "bm25", "b": 0},
            "plain": {"type": "bm25", "tokenizer": "whitespace"},
            "both": {"type": "hybrid", "of": ["stems", "plain"], "fuse": "scores", "weights": "auto"},
        }
        indexes["both"] |= {"queries": str(queries), **settings}
        return mnemodex.build(words_recipe(source, tmp_path / "memory", indexes=indexes)), queries

    build.memory = tmp_path / "memory"
    return build


def asked(gold=lambda town: [town]):
    return [{"id": town, "question": f"harbour {town}s", "gold_ids": gold(town)} for town in TOWNS]


def test_the_manifest_holds_the_weights_and_what_they_were_fitted_on(make):
    result, queries = make([*asked(), {"id": "none", "question": "lamp"}])
    memory = mnemodex.open(make.memory)
    fitted = memory.snapshot.index("both").fitted
    assert sum(fitted.weights) == pytest.approx(1) and fitted.queries == len(TOWNS)
    assert fitted.file_sha256 == hashlib.sha256(queries.read_bytes()).hexdigest()
    judged = [query for query in read_queries(queries) if query.gold]
    measured = {
        name: evaluate(memory.retriever(name), judged).metrics["nDCG@10"] for name in ("both", "stems", "plain")
    }
    assert fitted.ndcg == pytest.approx(measured["both"]) and fitted.ndcg >= max(fitted.parts.values())
    assert fitted.parts == pytest.approx({name: measured[name] for name in ("stems", "plain")})
    assert any("1 questions have no gold" in warning for warning in result.warnings)
    assert any("fitted on 6 questions; give 20" in warning for warning in result.warnings)


def test_another_query_file_is_another_snapshot(make):
    first, _ = make(asked())
    again, _ = make(asked())
    assert again.snapshot == first.snapshot
    other, _ = make(asked(lambda town: [f"{town}-other"]))
    assert other.snapshot != first.snapshot


def test_questions_without_gold_or_of_another_source_are_refused(make):
    with pytest.raises(MnemodexError, match=r"indexes\.both\.queries: .*no question has gold"):
        make([{"id": "1", "question": "lamp"}])
    with pytest.raises(MnemodexError, match=r"indexes\.both\.queries: .*no gold document is found"):
        make(asked(lambda town: ["elsewhere"]))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"weights": [1.0]}, "`weights` has 1 numbers for 2 indexes"),
        ({"weights": [0.0, 0.0], "queries": None}, "all 0"),
        ({"weights": [1.0, -1.0], "queries": None}, "should be 0 or more"),
        ({"weights": [1.0, 1.0]}, "`queries` is what weights are fitted on"),
        ({"fuse": "rrf"}, "`weights: auto` needs scores"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(make, settings, message):
    with pytest.raises(RecipeError, match=message):
        make(asked(), **settings)


@pytest.mark.parametrize(("parts", "tried"), [(2, 21), (3, 231), (4, 286), (6, 252)])
def test_weights_that_are_tried_are_evenly_spaced_and_hold_each_part_alone(parts, tried):
    grid = np.array(list(_simplex(parts)))
    assert grid.shape == (tried, parts) and len(np.unique(grid, axis=0)) == tried
    assert np.allclose(grid.sum(axis=1), 1) and (grid >= 0).all()
    assert (np.sort(grid[(grid == 1).any(axis=1)].argmax(axis=1)) == np.arange(parts)).all()
