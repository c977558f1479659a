"""Question-answer search: answers of equal questions, their passages, and filters that keep some of them."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from library import write_jsonl, write_parts
from passed_objects import Hashed

import mnemodex
from mnemodex.indexers.qa import normalize_question
from mnemodex.pipelines.qa import steps as steps_module
from mnemodex.retrievers.readers.answers import merge_answers, normalize_answer

NOTES = [
    {"id": "atlas", "title": "", "text": "Maps of Turin. The capital is Turin. Nobody doubts it."},
    {"id": "guide", "title": "", "text": "A guide\n\nIn the guide the capital\nis  Rome."},
    {"id": "poem", "title": "", "text": "Roses are red."},
    {"id": "book", "title": "", "text": "The book says that Rome is the capital."},
]
PAIRS = [
    {"id": "1", "question": "What is the capital?", "answer": "Turin", "passage_id": "atlas"},
    {"id": "2", "question": "what is the capital", "answers": ["Rome", "Turin"]},
    {"id": "3", "question": "What is the capital ?", "answer": "the Rome", "passage_id": "guide"},
    {"id": "4", "question": "WHAT is the capital?", "answer": "Rome", "passage_id": "poem"},
    {"id": "5", "question": "What is red?", "answer": "Roses", "passage_id": "poem"},
    {"id": "6", "question": "Who says so?", "answer": "a voice"},
]


@pytest.fixture(scope="module")
def qa(tmp_path_factory):
    folder = tmp_path_factory.mktemp("qa")
    recipe = {
        "source": {"path": str(write_parts(folder / "notes", NOTES, 3))},
        "memory": str(folder / "memory"),
        "embed": {"e": {}},
        "indexes": {"qa": {"type": "qa"}},
        "qa_pairs": {"from": str(write_jsonl(folder / "pairs.jsonl", PAIRS))},
    }
    with pytest.MonkeyPatch.context() as patch:
        # Several ranges of questions, of few pairs each.
        patch.setattr(steps_module, "_RANGE_ROWS", 2)
        mnemodex.build(recipe, local=True, encoders={"e": Hashed(48)})
    memory = mnemodex.open(recipe["memory"], encoders={"e": Hashed(48)})
    assert len(memory.snapshot.manifest.tables["questions"].partitions) == 4
    return memory.retriever("qa")


def best(qa, question, **options):
    return qa.search([question], 1, **options).pairs()[0][0]


def test_the_answer_of_most_pairs_comes_first_with_a_passage_that_holds_it(qa):
    pair = best(qa, "What is the CAPITAL")
    assert (pair.question, pair.answers) == ("WHAT is the capital?", ("Rome", "Turin"))
    assert (pair.chunk.key, pair.sentence) == ("guide", "In the guide the capital is Rome.")
    assert qa.predict(["what is the capital?", "what is red", "  "]) == ["Rome", "Roses", None]


def test_a_prediction_is_the_answer_of_a_pair_and_how_sure_it_is(qa):
    sure, unsure, none = qa.predictions(["what is the capital?", "what is the capital of all roses?", "??"])
    assert (sure.answer, sure.pair.question) == ("Rome", "WHAT is the capital?")
    assert sure.confidence > unsure.confidence > none.confidence
    assert (none.answer, none.pair) == (None, None)


def test_a_filter_keeps_the_pairs_of_its_chunks_and_only_their_answers(qa):
    pair = best(qa, "what is the capital?", where="d.key = 'atlas'")
    assert (pair.answers, pair.chunk.key, pair.sentence) == (("Turin",), "atlas", "The capital is Turin.")
    assert qa.predict(["what is the capital?"], where="d.key = 'atlas'") == ["Turin"]
    both = best(qa, "what is the capital?", where="d.key IN ('atlas', 'poem')")
    # Each is of one pair there, and Rome of more in all.
    assert both.answers == ("Rome", "Turin")
    (row,) = qa.search(["Who says so?"], 9, where="TRUE").pairs()
    assert sorted(found.answers[0] for found in row) == ["Rome", "Roses"]
    assert qa.search(["what is the capital?"], 9, where="d.key = 'book'").pairs() == [[]]


def test_hits_without_a_passage_are_no_chunks_but_keep_their_rank(qa):
    hits = qa.search(["Who says so?", "What is red?"], 3)
    pairs, chunks = hits.pairs(), hits.chunks()
    assert [pair.rank for pair in pairs[0]] == [1, 2, 3] and pairs[0][0].chunk is None
    assert [chunk.rank for chunk in chunks[0]] == [2, 3]
    assert [pair.chunk for pair in pairs[0][1:]] == chunks[0]
    assert [row[0] for row in hits.documents()[1:]] == [("poem", pytest.approx(1.0))]
    assert (hits.document_ids()[0] == -1).tolist() == [True, False, False]
    assert len(hits.to_trec().splitlines()) == sum(len(found) for found in hits.documents())
    first = hits.first(1, 2)
    assert [len(row) for row in first.pairs()] == [2] and "k = 2" in repr(first)


def test_the_json_of_a_pair_has_its_source(qa):
    found = best(qa, "what is red").to_json()
    assert {**found, "score": 1.0, "question_id": "", "chunk_id": ""} == {
        "rank": 1,
        "score": 1.0,
        "question_id": "",
        "question": "What is red?",
        "answers": ["Roses"],
        "chunk_id": "",
        "key": "poem",
        "title": "",
        "text": "Roses are red.",
        "metadata": {},
    }


@pytest.mark.parametrize(
    ("question", "normal"),
    [
        ("Who is it?", "who is it"),
        ("  who is  it ?? ", "who is it"),
        ("¿Dónde?", "¿dónde"),
        ("Cafe\u0301?", "café"),
        ("Is 'why?' a question?", "is 'why?' a question"),
        ("首都はどこですか\uff1f", "首都はどこですか"),
        ("???", ""),
    ],
)
def test_the_normal_form_of_questions(question, normal):
    assert normalize_question(question) == normal


ANSWERS = st.lists(
    st.sampled_from(["Rome", "rome!", "the Rome", "Turin", "The", "!", "Ann", "ann"]), min_size=1, max_size=3
)


@given(st.lists(st.tuples(st.integers(0, 3), ANSWERS), max_size=12))
def test_merged_answers_are_those_that_a_plain_count_gives(pairs):
    pairs.sort(key=lambda pair: pair[0])
    groups = np.array([group for group, _ in pairs], np.int64)
    merged, ranks = merge_answers(groups, pa.array([given for _, given in pairs], pa.list_(pa.string())), 4)

    def form(text):
        return normalize_answer(text) or text

    expected, expected_ranks = [], []
    for group in range(4):
        of_group = [given for number, given in pairs if number == group]
        counts = Counter(one for given in of_group for one in {form(text) for text in given})
        places = [(form(text), place, text) for texts in of_group for place, text in enumerate(texts)]
        first = {one: min((place, text) for other, place, text in places if other == one) for one, *_ in places}
        order = sorted(first, key=lambda one: (-counts[one], first[one]))
        expected.append([first[one][1] for one in order])
        expected_ranks += [min(order.index(form(text)) for text in given) for given in of_group]
    assert merged.to_pylist() == expected
    assert ranks.tolist() == expected_ranks


class Uneven(Hashed):
    """Vectors whose lengths differ by a tenth."""

    def encode(self, texts):
        vectors = super().encode(texts)
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        lengths = [np.random.default_rng(len(text) + ord(text[-1])).normal(1, 0.1) for text in texts]
        return (vectors * np.array(lengths)[:, None]).astype(np.float32)


@pytest.mark.parametrize("factory", ["SQ8", "HNSW16_SQ8"])
def test_codes_and_graphs_find_what_has_the_highest_inner_product_of_vectors_of_unequal_lengths(tmp_path, factory):
    words = np.random.default_rng(0).integers(100, 140, (600, 4)).tolist()
    rows = [{"question": " ".join(map(str, row)), "answer": "yes"} for row in words[:500]]
    recipe = {
        "memory": str(tmp_path / "memory"),
        "embed": {"e": {"normalize": False}},
        "indexes": {"qa": {"type": "qa", "factory": factory, "target_recall": 1.0}},
        "qa_pairs": {"from": str(write_jsonl(tmp_path / "pairs.jsonl", rows))},
    }
    encoders = {"e": Uneven(64)}
    mnemodex.build(recipe, local=True, encoders=encoders)
    memory = mnemodex.open(recipe["memory"], encoders=encoders)
    asked = [" ".join(map(str, row)) for row in words[500:]]
    table = memory.sql("SELECT question_id, vector FROM embeddings_e_questions").to_arrow_table()
    keys = np.stack(table["vector"].to_numpy())
    assert np.linalg.norm(keys, axis=1).std() > 0.05
    exact = encoders["e"].encode(asked) @ keys.T
    hits = memory.retriever("qa").search(asked, 10)
    by_id = {number: row for row, number in enumerate(table["question_id"].to_pylist())}
    found = np.take_along_axis(exact, np.vectorize(by_id.get)(hits.ids), axis=1)
    np.testing.assert_allclose(hits.scores, found, atol=0.02)
    # Vectors whose score is that of the tenth count too.
    assert (found >= np.sort(exact, axis=1)[:, -10:][:, :1] - 1e-6).mean() >= 0.98
