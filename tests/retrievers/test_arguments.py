"""Arguments of wrong types are refused by what is wrong with them, and what to give instead."""

from __future__ import annotations

import numpy as np
import pytest

import mnemodex
from mnemodex.retrievers.readers.knn_lm import KnnLM
from mnemodex.schemas.errors import QueryError

INDEXES = ["flat", "hnswlib", "words", "ngrams", "keys", "bridge", "hipporag2", "next", "both"]
WRONG_K = [5.0, "5", None, True, [5], float("nan")]


@pytest.mark.parametrize("index", INDEXES)
def test_k_is_a_whole_number(memory, index):
    retriever = memory.retriever(index)
    for k in WRONG_K:
        with pytest.raises(QueryError, match=r"k is .*; give a whole number of hits"):
            retriever.search(["lamp"], k)
    with pytest.raises(QueryError, match="ask for at most 1000000 hits"):
        retriever.search(["lamp"], 2**31)
    assert len(retriever.search(["lamp"], np.int64(2))) == 1


@pytest.mark.parametrize("index", INDEXES)
def test_questions_are_a_list_of_strings(memory, index):
    for questions in ("lamp", b"lamp", None, 5, [None], [b"lamp"], [["lamp"]]):
        with pytest.raises(QueryError):
            memory.retriever(index).search(questions)


def test_vectors_are_an_array(memory):
    flat = memory.retriever("flat")
    vector = memory.encoder("minilm").encode_queries(["lamp"])
    for wrong in (vector.tolist(), vector[0].tolist(), vector.astype(str), vector.astype(object), None, "lamp"):
        with pytest.raises(QueryError, match=r"give a float32 array of shape \(queries, 384\)"):
            flat.search_vectors(wrong)
    for wrong in (vector[0], vector[:, :5]):
        with pytest.raises(QueryError, match="384 dimensions"):
            flat.search_vectors(wrong)
    for k in WRONG_K:
        with pytest.raises(QueryError, match="whole number"):
            flat.search_vectors(vector, k)
    assert (flat.search_vectors(vector.astype(np.float64), 3).ids == flat.search(["lamp"], 3).ids).all()


@pytest.mark.parametrize("index", ["words", "flat", "bridge"])
def test_a_reader_of_a_datastore_refuses_other_retrievers(memory, index):
    with pytest.raises(QueryError, match=f"of type knn_lm; '{index}' is a "):
        KnnLM(memory.retriever(index))
    with pytest.raises(QueryError, match="of type knn_lm"):
        KnnLM(index)


@pytest.mark.parametrize(
    "setting", [{"k": 5.0}, {"k": "5"}, {"weight": "x"}, {"temperature": "1"}, {"gate": [1]}, {"pointers": 1.5}]
)
def test_a_reader_takes_numbers(memory, setting):
    (name,) = setting
    with pytest.raises(QueryError, match=f"{name} is .*: give a"):
        KnnLM(memory.retriever("next"), **setting)


def test_a_datastores_own_model_is_loaded_by_its_name(memory):
    datastore = memory.retriever("next")
    model, tokenizer = mnemodex.load_model(datastore.info.model)
    ids = tokenizer("the lamp on the pier", return_tensors="pt").input_ids
    assert tokenizer.decode(ids[0]).split() == ["the", "lamp", "on", "the", "pier"]
    knn = KnnLM(datastore, k=4, tokenizer=tokenizer)
    with knn.attach(model):
        assert model(ids, labels=ids).loss > 0
    assert knn.stats.lookups


def test_public_names_are_listed_before_they_are_imported():
    assert {"Memory", "build", "load_model", "open"} <= set(dir(mnemodex)) >= set(mnemodex.__all__)
