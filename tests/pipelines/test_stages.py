"""Stages, without Ray: record batches in, record batches out."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mnemodex.indexers.models import tokenizer
from mnemodex.pipelines.resources import Resources
from mnemodex.pipelines.stages.registry import STAGES, make_stage, stage_class
from mnemodex.schemas.errors import NotFiniteError, RecipeError
from mnemodex.schemas.ids import hash_columns
from mnemodex.schemas.recipe import DEFAULT_MODEL, Embedding
from mnemodex.schemas.tables import CHUNKS, embeddings

DOCUMENTS = [
    (11, "Title", "One two three four five six seven eight nine ten."),
    (12, "", ""),
    (13, "Only a title", ""),
    (14, " ", "\n\t"),
    (15, "港", "港の灯台は毎晩船を導く。 Å𝒳 e\u0301"),
    (16, "", "x"),
]


def batch(rows):
    doc_ids, titles, texts = zip(*rows, strict=True) if rows else ((), (), ())
    return pa.record_batch(
        [pa.array(doc_ids, pa.int64()), pa.array(titles, pa.string()), pa.array(texts, pa.string())],
        names=["doc_id", "title", "text"],
    )


def chunk(rows, *, sizes=None, salt="", **chunks):
    """Run the chunk stage over the rows in batches of these sizes; the table and the facts."""
    stage = make_stage("chunk", {"chunks": chunks or {"by": "document"}, "id_salt": salt})
    stage.setup(1)
    bounds = np.cumsum([0, *(sizes or [len(rows)])])
    batches = [batch(rows[start:end]) for start, end in pairwise(bounds)]
    return pa.Table.from_batches(stage.run(iter(batches)), CHUNKS.schema), stage.facts()


@pytest.mark.parametrize("name", STAGES)
def test_every_stage_says_its_version_and_what_it_reads(name):
    kind = stage_class(name)
    assert isinstance(kind.version, int) and kind.columns


class TestChunk:
    def test_a_document_becomes_chunks_with_exact_offsets(self):
        table, facts = chunk(DOCUMENTS, by="tokens", size=4, overlap=1)
        texts = {doc_id: text for doc_id, _, text in DOCUMENTS}
        titles = {doc_id: title for doc_id, title, _ in DOCUMENTS}
        for row in table.to_pylist():
            assert row["text"] == texts[row["doc_id"]][row["start"] : row["end"]]
            assert row["title"] == titles[row["doc_id"]]
        assert facts == {"blank": 2}
        assert set(table["doc_id"].to_pylist()) == {11, 13, 15, 16}

    def test_ordinals_count_the_chunks_of_each_document(self):
        table, _ = chunk(DOCUMENTS, by="tokens", size=3)
        for doc_id in (11, 13, 15, 16):
            rows = [row for row in table.to_pylist() if row["doc_id"] == doc_id]
            assert [row["ordinal"] for row in rows] == list(range(len(rows)))
            assert [row["start"] for row in rows] == sorted(row["start"] for row in rows)

    def test_ids_are_the_hash_of_document_and_offsets_and_change_with_the_salt(self):
        table, _ = chunk(DOCUMENTS, by="tokens", size=4)
        columns = [table[name].to_numpy() for name in ("doc_id", "start", "end")]
        assert np.array_equal(table["chunk_id"].to_numpy(), hash_columns(columns))
        salted, _ = chunk(DOCUMENTS, by="tokens", size=4, salt="x")
        assert not set(salted["chunk_id"].to_pylist()) & set(table["chunk_id"].to_pylist())

    def test_tokens_are_those_of_the_default_encoder_without_specials(self):
        table, _ = chunk(DOCUMENTS)
        counts = {row["doc_id"]: row["tokens"] for row in table.to_pylist()}
        counter = tokenizer(DEFAULT_MODEL)
        for doc_id, _, text in DOCUMENTS:
            if doc_id in counts:
                assert counts[doc_id] == len(counter.encode(text, add_special_tokens=False).ids)

    def test_tokens_are_counted_beyond_the_models_limit(self):
        table, _ = chunk([(1, "", "word " * 3000)])
        assert table["tokens"].to_pylist() == [3000]

    @settings(max_examples=15)
    @given(
        texts=st.lists(st.text(max_size=40), min_size=1, max_size=8),
        cut=st.integers(0, 8),
        size=st.integers(1, 6),
    )
    def test_batches_make_no_difference(self, texts, cut, size):
        rows = [(number, "", text) for number, text in enumerate(texts)]
        cut = min(cut, len(rows))
        one, facts = chunk(rows, by="tokens", size=size)
        two, other = chunk(rows, sizes=[cut, len(rows) - cut], by="tokens", size=size)
        assert one.equals(two) and facts == other

    def test_facts_are_those_of_the_last_partition(self):
        stage = make_stage("chunk", {"chunks": {"by": "document"}, "id_salt": ""})
        stage.setup(1)
        for rows, blank in (([(1, "", " ")], 1), ([(2, "", "a")], 0)):
            list(stage.run(iter([batch(rows)])))
            assert stage.facts() == {"blank": blank}

    def test_no_batches_and_empty_batches_give_no_chunks(self):
        assert chunk([], sizes=[])[0].num_rows == chunk([], sizes=[0])[0].num_rows == 0

    def test_wrong_settings_are_refused(self):
        stage = make_stage("chunk", {"chunks": {"by": "tokens", "sise": 3}, "id_salt": ""})
        with pytest.raises(RecipeError, match=r"unknown key 'chunks\.sise'; did you mean 'size'"):
            stage.setup(1)


@pytest.fixture(scope="module")
def stage():
    stage = make_stage("embed", {"name": "minilm", "spec": Embedding().model_dump(mode="json")})
    stage.setup(1)
    return stage


class TestEmbed:
    ROWS = tuple((number, title, text) for number, title, text in DOCUMENTS if number != 14)

    def batches(self, *bounds):
        for start, end in pairwise(bounds):
            part = batch(self.ROWS[start:end])
            yield part.rename_columns(["chunk_id", "title", "text"])

    def test_vectors_stand_in_the_order_of_the_chunks(self, stage, memory):
        table = pa.Table.from_batches(stage.run(self.batches(0, 5)), stage.table.schema)
        assert stage.table == embeddings("minilm", 384)
        assert table["chunk_id"].to_pylist() == [number for number, _, _ in self.ROWS]
        texts = [f"{title}\n{text}" if title else text for _, title, text in self.ROWS]
        expected = memory.encoder("minilm").encode(texts)
        found = table["vector"].combine_chunks().flatten().to_numpy().reshape(-1, 384)
        np.testing.assert_allclose(found, expected, atol=2e-6)

    def test_batches_change_nothing_but_the_last_bits(self, stage):
        one, many = (
            pa.Table.from_batches(stage.run(self.batches(*bounds)), stage.table.schema)
            for bounds in ((0, 5), (0, 1, 1, 3, 5))
        )
        assert one["chunk_id"].equals(many["chunk_id"])
        flat = [table["vector"].combine_chunks().flatten().to_numpy() for table in (one, many)]
        np.testing.assert_allclose(*flat, atol=2e-6)

    def test_facts_tell_of_this_partition_alone(self, stage):
        for _ in range(2):
            list(stage.run(self.batches(0, 5)))
            facts = stage.facts()
            assert (facts["texts"], facts["truncated"], facts["dimension"], facts["max_length"]) == (5, 0, 384, 256)
            assert facts["padded"] >= facts["tokens"] > 0

    def test_prefixes_stand_before_passages(self, memory):
        spec = Embedding(passage_prefix="passage: ", query_prefix="query: ").model_dump(mode="json")
        stage = make_stage("embed", {"name": "minilm", "spec": spec})
        stage.setup(1)
        (out,) = stage.run(self.batches(0, 1))
        expected = memory.encoder("minilm").encode([f"passage: {DOCUMENTS[0][1]}\n{DOCUMENTS[0][2]}"])
        np.testing.assert_allclose(out["vector"].flatten().to_numpy(), expected[0], atol=2e-6)

    @pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
    def test_a_vector_that_is_no_number_is_refused_with_its_chunk(self, stage, monkeypatch, bad):
        vectors = np.zeros((3, 384), np.float32)
        vectors[1:, 5] = bad
        monkeypatch.setattr(stage._encoder, "encode_windows", lambda windows: (vectors for _ in windows))
        with pytest.raises(NotFiniteError, match=r"'minilm': model .* NaN or infinity for chunk 12 and 1 more"):
            list(stage.run(self.batches(0, 3)))

    def test_no_batches_give_no_vectors(self, stage):
        assert list(stage.run(iter([]))) == []


def test_an_actor_needs_a_cpu():
    with pytest.raises(ValueError, match="cpus is 0; an actor needs at least 1"):
        Resources(cpus=0)
