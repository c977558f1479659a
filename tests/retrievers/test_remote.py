"""Memories of a server: what they answer is what opened ones answer."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from contract import ONE_OF_A_KIND, QUESTIONS, opened

import mnemodex
from mnemodex.retrievers.remote.connection import Address, Connection
from mnemodex.schemas.errors import (
    ForkedProcessError,
    LimitError,
    QueryError,
    UnknownIndexError,
    UnknownMemoryError,
    UserError,
)

WHERE = "title LIKE '%coast%' OR metadata->>'lang' <> 'en'"


@pytest.fixture(params=["connected", "awaited"])
def remote(request):
    return request.getfixturevalue(request.param)


def assert_same(found, expected):
    assert found.dtype == expected.dtype and np.array_equal(found, expected)


@pytest.mark.parametrize("case", ONE_OF_A_KIND)
@pytest.mark.parametrize("where", [None, WHERE], ids=["all", "filtered"])
def test_hits_are_to_the_bit_those_of_the_opened_memory(memory, connected, case, where):
    expected = opened(memory, case).search(QUESTIONS, 5, where=where)
    hits = opened(connected, case).search(QUESTIONS, 5, where=where)
    assert_same(hits.ids, expected.ids)
    assert_same(hits.scores, expected.scores)
    assert_same(hits.document_ids(), expected.document_ids())
    assert hits.to_arrow().equals(expected.to_arrow()) and hits.to_arrow().schema == expected.to_arrow().schema
    assert hits.chunks() == expected.chunks() and hits[0] == expected[0] and list(hits) == list(expected)
    assert hits.documents() == expected.documents() and hits.to_trec() == expected.to_trec()
    assert repr(hits) == repr(expected) and hits._repr_html_() == expected._repr_html_()
    assert hits.snapshot.name == memory.snapshot.name and hits.kind == expected.kind


@pytest.mark.parametrize("case", ONE_OF_A_KIND)
def test_reasons_come_when_they_are_asked_for_or_with_the_hits(memory, connected, case):
    expected = opened(memory, case).search(QUESTIONS[:2], 3).reasons()
    retriever = opened(connected, case)
    assert retriever.search(QUESTIONS[:2], 3).reasons() == expected
    assert retriever.search(QUESTIONS[:2], 3, explain=True).reasons() == expected


def test_reasons_of_awaited_hits_come_with_them(awaited):
    retriever = awaited.retriever("words")
    with pytest.raises(QueryError, match=r"await retriever\.search\(…, explain=True\)"):
        retriever.search(["apples"], 3).reasons()
    assert retriever.search(["apples"], 3, explain=True).reasons()[0]


def test_pairs_come_with_their_answers(memory, connected):
    expected, hits = (one.retriever("asked").search(QUESTIONS, 4) for one in (memory, connected))
    assert hits.pairs() == expected.pairs() and hits.answers() == expected.answers()
    assert hits.pairs(with_chunks=False) == expected.pairs(with_chunks=False)


def test_more_questions_than_a_request_takes_are_sent_in_several(memory, remote):
    questions = [f"{question} {number}" for number in range(15) for question in QUESTIONS]
    expected, hits = (one.retriever("words").search(questions, 2) for one in (memory, remote))
    assert_same(hits.ids, expected.ids)
    assert_same(hits.scores, expected.scores)


def test_long_questions_are_sent_in_requests_that_are_not_too_long(connected):
    questions = [f"{'harbour ' * 20_000}{number}" for number in range(8)]
    assert len(connected.retriever("words").search(questions, 2)) == 8


def test_no_questions_have_their_index_and_filter_checked(remote):
    assert remote.retriever("words").search([], 3, where="true").ids.shape == (0, 3)
    with pytest.raises(QueryError, match="is not a boolean expression"):
        remote.retriever("words").search([], 3, where="titel = 'x'")


@pytest.mark.parametrize(("where", "message"), [(["title"], "not a string"), ("title = '\ud800'", "lone surrogate")])
def test_a_filter_that_is_no_text_is_refused(remote, where, message):
    with pytest.raises(QueryError, match=message):
        remote.retriever("words").search(["a"], where=where)


def test_what_the_server_refuses_is_refused_here_by_the_same_error(remote):
    with pytest.raises(UnknownIndexError, match=r"no index 'none'; there are: flat, "):
        remote.retriever("none")
    with pytest.raises(QueryError, match="where \"titel = 'x'\" is not a boolean expression"):
        remote.retriever("words").search(["a"], where="titel = 'x'")
    with pytest.raises(LimitError, match=r"k: is 5000\. Ask for at most 1000 hits"):
        remote.retriever("words").search(["a"], 5000)
    with pytest.raises(LimitError, match="Ask in several requests"):
        remote.retriever("words").search(["x" * (1 << 20)])
    with pytest.raises(QueryError, match="no embedding 'none'; there are: minilm"):
        remote.encoder("none")


def test_the_memory_is_shown(memory, remote):
    assert remote.indexes == memory.indexes and remote.name == "library"
    assert repr(remote).partition(",")[2] == repr(memory).partition(",")[2]
    assert remote._repr_html_().partition("<table>")[2] == memory._repr_html_().partition("<table>")[2]


def test_documents_and_chunks_are_fetched(memory, remote):
    fetched = remote.fetch(keys=["mill-2", "nothing"])
    assert [document.key for document in fetched.documents] == ["mill-2"] and fetched.missing == ["nothing"]
    assert fetched.documents[0].metadata["year"] == 1902
    (hit,) = memory.retriever("words").search(["apples"], 1)[0]
    (chunk,) = remote.fetch(chunk_ids=[hit.chunk_id]).chunks
    names = ("chunk_id", "doc_id", "key", "title", "text", "start", "end", "metadata")
    assert {name: getattr(chunk, name) for name in names} == {name: getattr(hit, name) for name in names}
    assert remote.fetch(keys=[]).documents == []
    with pytest.raises(QueryError, match="takes keys or chunk_ids"):
        remote.fetch()


def test_questions_are_encoded(memory, remote):
    encoder = remote.encoder("minilm")
    vectors = encoder.encode_queries(QUESTIONS)
    np.testing.assert_allclose(vectors, memory.encoder("minilm").encode_queries(QUESTIONS), atol=1e-6)
    assert vectors.dtype == np.float32 and vectors.shape[1] == encoder.dimension
    assert encoder.encode_queries([]).shape == (0, encoder.dimension)


PHRASES = ["the harbour", "apples", "two notes say", "xyzzy quux"]


def test_phrases_are_counted_located_and_continued(memory, remote):
    expected, index = memory.retriever("ngrams"), remote.retriever("ngrams")
    assert_same(index.count(PHRASES), expected.count(PHRASES))
    for name in ("locate", "continuations"):
        found, there = (getattr(one, name)(PHRASES) for one in (index, expected))
        for column in found._fields:
            assert np.array_equal(getattr(found, column), getattr(there, column)), column
    assert_same(index.locate(PHRASES, limit=1).tokens, expected.locate(PHRASES, limit=1).tokens)
    assert index.count([]).shape == (0,)
    with pytest.raises(QueryError, match="phrase 0 has no token"):
        index.count([" "])


def test_places_that_the_server_does_not_give_are_not_left_out_unsaid(connected):
    index = connected.retriever("ngrams")
    limits = connected.catalogue.limits.model_copy(update={"k": 2})
    index._catalogue = connected.catalogue.model_copy(update={"limits": limits})
    with pytest.raises(LimitError, match=r"phrase 0: occurs \d+ times, .* first 2 places\. Pass limit=2"):
        index.locate(["the"])
    assert len(index.locate(["the"], limit=2).tokens) == 2


def test_keys_are_looked_up_in_a_datastore(memory, connected):
    expected, datastore = memory.retriever("next"), connected.retriever("next")
    for name in ("name", "rows", "dimension", "key", "model_sha256", "tokenizer_sha256", "vocabulary", "prefix"):
        assert getattr(datastore.info, name) == getattr(expected.info, name)
    assert_same(datastore.info.sample_tokens, expected.info.sample_tokens)
    assert_same(datastore.info.sample_keys, expected.info.sample_keys)
    # More than one request takes.
    keys = np.random.default_rng(1).normal(size=(3000, 32)).astype(np.float32)
    nearest = datastore.nearest(keys, 5)
    for found, there in zip(nearest, expected.nearest(keys, 5), strict=True):
        assert_same(found, there)
    for found, there in zip(datastore.measure(keys, nearest.ids), expected.measure(keys, nearest.ids), strict=True):
        assert_same(found, there)
    assert datastore.nearest(keys[:0], 5).ids.shape == (0, 5)
    assert datastore.measure(keys[:2], nearest.ids[:2, :0]).ids.shape == (2, 0)


def test_what_are_no_keys_is_refused(connected):
    datastore = connected.retriever("next")
    with pytest.raises(QueryError, match=r"Give float32 of shape \(keys, dimension\)"):
        datastore.nearest(np.zeros((2, 32)), 3)
    with pytest.raises(QueryError, match="Give 32, as the datastore has"):
        datastore.nearest(np.zeros((2, 31), np.float32), 3)


@pytest.mark.usefixtures("one_thread")
def test_a_model_on_another_machine_reads_with_the_datastore(memory, connected):
    import torch

    from mnemodex.retrievers.readers.knn_lm.knn_lm import KnnLM

    model = memory.retriever("next").prompt_keys.model.model
    tokens = torch.arange(3, 23)[None]
    logits = []
    for datastore in (memory.retriever("next"), connected.retriever("next")):
        with KnnLM(datastore, k=4, weight=0.5, rescore=True).attach(model), torch.no_grad():
            logits.append(model(input_ids=tokens).logits)
    assert torch.equal(*logits)


def test_sql_has_the_rows_and_types_of_the_opened_memory(memory, connected):
    columns = "c.chunk_id, d.key, d.year, d.metadata, [1.5, NULL] AS list"
    query = f"SELECT {columns} FROM chunks c JOIN documents d USING (doc_id) ORDER BY ALL"
    found, expected = connected.sql(query), memory.sql(query)
    assert found.to_arrow_table().equals(expected.to_arrow_table()) and found.fetchall() == expected.fetchall()
    with pytest.raises(QueryError, match='column "nothing"'):
        connected.sql("SELECT nothing FROM chunks")
    with pytest.raises(LimitError, match=r"more rows than the .* that the server gives\. Add LIMIT"):
        connected.sql("SELECT * FROM range(100000)")


def test_pairs_predict_answers_with_their_confidence(memory, remote):
    questions = [*QUESTIONS, "What do the apples lie in?"]
    expected = memory.retriever("asked").predictions(questions)
    assert remote.retriever("asked").predictions(questions) == expected
    assert remote.retriever("asked").predict(questions) == [prediction.answer for prediction in expected]
    where = "d.key = 'mill-1'"
    filtered = memory.retriever("asked").predictions(questions, where=where)
    assert remote.retriever("asked").predictions(questions, where=where) == filtered != expected
    assert remote.retriever("asked").predict([]) == []


def test_a_graph_shows_what_answers_a_question(memory, remote):
    question = "Who winds the clockwork of the lamp?"
    assert remote.retriever("lite").subgraph(question, 3) == memory.retriever("lite").subgraph(question, 3)


def test_a_memory_is_named_where_it_has_to_be(server_client):
    assert mnemodex.connect("http://localhost/", client=server_client, memory="library").name == "library"
    with pytest.raises(UnknownMemoryError, match=r"serves no memory 'other'\. It serves: 'library'"):
        mnemodex.connect("http://localhost", client=server_client, memory="other")


@pytest.mark.parametrize("url", ["library.test", "ftp://library.test", "http://", "http://library.test/?a=1", ""])
def test_what_is_no_address_is_refused(url):
    with pytest.raises(UserError, match=r"^url .*Write it as https://HOST:PORT$"):
        mnemodex.connect(url)


@pytest.mark.parametrize("key", ["", " secret", "секрет", "sec\nret"])
def test_what_is_no_key_is_refused_without_showing_it(key):
    with pytest.raises(UserError, match=r"^key: ") as caught:
        mnemodex.connect("http://localhost", key)
    assert not key or key not in str(caught.value)


def test_a_pickled_connection_connects_by_itself_unless_its_client_is_the_callers(connected):
    made = Connection(Address.of("http://localhost", "secret", 5.0))
    again = pickle.loads(pickle.dumps(made))
    assert again.address == made.address and "secret" not in repr(again.address)
    with pytest.raises(UserError, match="Connect where it is used"):
        pickle.dumps(connected.retriever("words"))


def test_a_fork_of_the_process_is_refused(connected, monkeypatch):
    monkeypatch.setattr("mnemodex.retrievers.remote.connection.os.getpid", lambda: 1)
    with pytest.raises(ForkedProcessError, match="connect again in this process"):
        connected.retriever("words").search(["a"])
