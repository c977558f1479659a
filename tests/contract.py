"""What every retriever promises: the indexes it is tried on, the questions, and what holds of all answers."""

from __future__ import annotations

import numpy as np
import pytest
from awaiting import Awaited

from mnemodex.retrievers.dense import DenseRetriever
from mnemodex.retrievers.graph.retriever import GraphRetriever
from mnemodex.retrievers.hybrid import HybridRetriever
from mnemodex.retrievers.next_token import NextTokenRetriever
from mnemodex.retrievers.qa.chunks import ChunkRetriever
from mnemodex.retrievers.qa.retriever import QARetriever
from mnemodex.retrievers.recency import RecencyRetriever
from mnemodex.retrievers.reranking import RerankRetriever

CASES = {
    "dense-flat": "flat",
    "dense-hnsw": "hnsw",
    "dense-ivf": "ivf",
    "dense-hnswlib": "hnswlib",
    "bm25": "words",
    "ngram": "ngrams",
    "hybrid": "both",
    "hybrid-qa": "all",
    "rerank": "crossed",
    "contiguity": "near",
    "recency": "recent",
    "seal": "keys",
    "next-token": "next",
    "qa": "asked",
    "qa-reranked": "reranked",
    "qa-chunks": "asked",
    "qa-rounds": "hops",
    "qa-rounds-chunks": "hops",
    "graph-bridge": "bridge",
    "graph-hipporag2": "hipporag2",
    "graph-lite": "lite",
    "graph-lite-without-files": "sentences",
}
"""An index of the library for each kind of retriever: a new type is one line here, and one in `LIBRARY_INDEXES`."""

ONE_OF_A_KIND = ("dense-flat", "ngram", "hybrid", "next-token", "qa", "qa-chunks", "graph-lite")
"""Cases of each kind of hits and of each class of retrievers of a server."""

PLACES = [
    pytest.param(
        (place, case),
        id=case if place == "opened" else f"{place}-{case}",
        marks=[] if case in quick else pytest.mark.slow,
    )
    for place, quick in (("opened", CASES), ("connected", ONE_OF_A_KIND), ("awaited", ONE_OF_A_KIND[-4:-1]))
    for case in CASES
]
"""The cases in a memory of this process, and in one of a server that is asked by threads, or by an event loop."""

QUESTIONS = [
    "Who winds the clockwork of the lamp?",
    "apples in straw",
    "Где маяк?",
    "港の灯台",
    "السفن",
    "पुस्तकालय",
    "",
    "xyzzy",
    "two notes say the very same thing",
    "the harbour",
]


def opened(memory, case):
    """The retriever of a case."""
    retriever = memory.retriever(CASES[case])
    return retriever.by_chunk() if case.endswith("-chunks") else retriever


def retriever_at(request, place, case):
    """The retriever of a case in the fixture of a place."""
    memory = request.getfixturevalue("memory" if place == "opened" else place)
    return opened(memory, case)


def explained(retriever, questions, k):
    """Hits that know their reasons, which those of an event loop do that were asked for them."""
    return retriever.search(questions, k, **({"explain": True} if isinstance(retriever, Awaited) else {}))


def assert_sound(hits, *, queries, k, matching):
    """What holds of every answer: shapes, types, order, uniqueness, and missing places at the end only.

    `matching` is how many hits there can be, one number for all queries or one for each.
    """
    assert hits.ids.shape == hits.scores.shape == hits.partition.shape == hits.row.shape == (queries, k)
    assert (hits.ids.dtype, hits.scores.dtype) == (np.int64, np.float32)
    assert (hits.partition.dtype, hits.row.dtype) == (np.int32, np.int64)
    found = np.broadcast_to(np.minimum(k, matching), queries)
    there = np.arange(k) < found[:, None]
    assert (hits.ids[there] >= 0).all() and np.isfinite(hits.scores[there]).all()
    assert (hits.ids[~there] == -1).all() and np.isneginf(hits.scores[~there]).all()
    assert (hits.partition[~there] == -1).all() and (hits.row[~there] == -1).all()
    for number, ids, scores in zip(found.tolist(), hits.ids, hits.scores, strict=True):
        assert len(set(ids[:number].tolist())) == number
        order = np.lexsort((ids[:number], -scores[:number]))
        assert np.array_equal(order, np.arange(number)), "by score, and equal scores by id"


def hits_of(memory, retriever, chunk_ids):
    """The ids of the hits that can be of some chunks: themselves, positions of their tokens, or their questions."""
    return {hit for hit, chunk_id in chunk_of_hits(memory, retriever) if chunk_id in set(chunk_ids)}


def chunk_of_hits(memory, retriever):
    """The id of everything that can be a hit, with the id of its chunk."""
    if isinstance(retriever, NextTokenRetriever):
        return memory.sql("SELECT position, chunk_id FROM lm_states_tiny").fetchall()
    if isinstance(retriever, QARetriever):
        return memory.sql("SELECT question_id, chunk_id FROM qa_pairs").fetchall()
    if isinstance(retriever, ChunkRetriever):
        return memory.sql("SELECT DISTINCT chunk_id, chunk_id FROM qa_pairs").fetchall()
    return memory.sql("SELECT chunk_id, chunk_id FROM chunks").fetchall()


def kind_of_hits(retriever):
    """The id space of a retriever's hits."""
    kinds = {NextTokenRetriever: "position", QARetriever: "pair"}
    return kinds.get(type(retriever), "chunk")


def possible(retriever, questions, ids):
    """For each question which of `ids` can be its hits: all, those that hold the phrase, a key or a word, or none.

    What holds them is told by the index itself here; its own tests compare that with the text.
    """
    if isinstance(retriever, NextTokenRetriever):
        return [set(ids) if question else set() for question in questions]
    if isinstance(retriever, DenseRetriever | GraphRetriever | QARetriever):
        return [set(ids) if question.strip() else set() for question in questions]
    if isinstance(retriever, ChunkRetriever):
        with_question = set(retriever.search(["any"], 1000).ids[0].tolist())
        return [set(ids) & with_question if question.strip() else set() for question in questions]
    if isinstance(retriever, HybridRetriever):
        parts = [possible(part, questions, ids) for part in retriever.parts]
        return [set().union(*row) for row in zip(*parts, strict=True)]
    if isinstance(retriever, RerankRetriever | RecencyRetriever):
        return possible(retriever.of, questions, ids)
    return [set(ids) & set(row.tolist()) for row in retriever.search(questions, 1000).ids]
