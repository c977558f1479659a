"""What hits do besides the contract of the retrievers: choosing the best, and TREC runs."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mnemodex.retrievers.top_k import top_k
from mnemodex.retrievers.trec import trec_run


@given(
    scores=hnp.arrays(np.float32, st.integers(0, 60), elements=st.sampled_from([-2.5, 0.0, 1.0, 1.5])),
    k=st.integers(1, 70),
    seed=st.integers(0, 99),
)
def test_the_best_are_the_head_of_the_full_sort_with_ties_by_id(scores, k, seed):
    ids = np.random.default_rng(seed).permutation(len(scores)).astype(np.int64)
    expected = np.lexsort((ids, -scores))[:k]
    assert np.array_equal(top_k(scores, k, ids=ids), expected)


@pytest.mark.parametrize("distinct", [2, 40, 100_000])
@pytest.mark.parametrize("k", [0, 1, 10, 60])
def test_the_best_of_many_scores_are_the_first_of_all_in_order(distinct, k):
    random = np.random.default_rng(k)
    scores, ids = random.integers(-distinct, 0, 5_003).astype(np.float32), random.permutation(5_003)
    assert top_k(scores, k, ids=ids).tolist() == np.lexsort((ids, -scores))[:k].tolist()


def test_a_trec_run_has_six_fields_a_line_whatever_the_keys_hold():
    text = trec_run(["q 1"], [[("a b", 1.5), ("c\td\n", 0.25), ("日本", -0.125)]], tag="dense")
    assert text == "q%201 Q0 a%20b 1 1.5 dense\nq%201 Q0 c%09d%0A 2 0.25 dense\nq%201 Q0 日本 3 -0.125 dense\n"


def test_a_trec_run_keeps_float32_scores_apart():
    scores = [np.float32(0.0163), np.nextafter(np.float32(0.0163), np.float32(0))]
    written = [
        line.split()[4] for line in trec_run(["q"], [list(zip("ab", scores, strict=True))], tag="t").splitlines()
    ]
    assert [np.float32(value) for value in written] == scores


def test_hits_carry_the_metadata_of_their_documents(memory):
    rows = memory.sql("SELECT key, metadata FROM documents").fetchall()
    expected = {key: json.loads(metadata) for key, metadata in rows}
    assert len(set(map(str, expected.values()))) > 2
    hits = memory.retriever("words").search(["apples", "bread", "the lamp by the sea"], 5)
    chunks = [chunk for answer in hits.chunks() for chunk in answer]
    assert chunks and all(chunk.metadata == expected[chunk.key] for chunk in chunks)
    assert all(chunk.to_json()["metadata"] == expected[chunk.key] for chunk in chunks)
    table = hits.to_arrow()
    assert list(map(json.loads, table["metadata"].to_pylist())) == [expected[key] for key in table["key"].to_pylist()]
    none = memory.retriever("words").search(["apples"], 5, where="false").to_arrow()
    assert (none.num_rows, none.schema) == (0, table.schema)


def test_the_names_of_a_run_are_given_or_counted(memory):
    hits = memory.retriever("words").search(["apples", "bread"], 2)
    assert [line.split()[0] for line in hits.to_trec().splitlines()] == ["0", "0", "1", "1"]
    named = hits.to_trec(["first", "second"], tag="mine").splitlines()
    assert {(line.split()[0], line.split()[5]) for line in named} == {("first", "mine"), ("second", "mine")}
    with pytest.raises(ValueError, match="argument"):
        hits.to_trec(["first"])


def test_hits_can_be_read_after_the_retriever_is_gone(library):
    from mnemodex.retrievers.memory import Memory

    hits = Memory(library).retriever("words").search(["apples in straw"], 2)
    assert hits.chunks()[0][0].title.startswith("Orchard")
