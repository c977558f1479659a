"""Stages, without Ray: record batches in, record batches out; and the op of embeddings."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from workshop import Workshop, renamed, run_stage

from mnemodex.indexers.encoders import Encoded
from mnemodex.indexers.encoders.local import Encoder
from mnemodex.indexers.models.tokenizers import tokenizer
from mnemodex.pipelines.ops.base import Work
from mnemodex.pipelines.stages.chunk import ChunkSettings, ChunkStage
from mnemodex.pipelines.stages.lm_tokens import LmTokenStage
from mnemodex.pipelines.stages.mentions import MentionStage
from mnemodex.pipelines.stages.pairs import PairStage
from mnemodex.pipelines.vectors import encode
from mnemodex.pipelines.vectors.encode import EncodeOutcome, EncodeSettings
from mnemodex.schemas.errors import NotFiniteError
from mnemodex.schemas.ids import hash_columns
from mnemodex.schemas.sections import DEFAULT_MODEL, Embedding
from mnemodex.schemas.spec import Spec
from mnemodex.schemas.steps import Read, Step
from mnemodex.schemas.tables import CHUNKS, TableKey, spec_of

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
    """Run the chunk stage over the rows in batches of these sizes; the table and the stats."""
    stage = ChunkStage(ChunkSettings(chunker=chunks or {"by": "document"}, id_salt=salt))
    bounds = np.cumsum([0, *(sizes or [len(rows)])])
    table = run_stage(stage, [batch(rows[start:end]) for start, end in pairwise(bounds)])
    assert table.schema == spec_of(CHUNKS).schema
    return table, stage.stats()


@pytest.mark.parametrize("kind", [ChunkStage, PairStage, MentionStage, LmTokenStage])
def test_every_stage_says_its_version_its_settings_and_what_it_reads(kind):
    assert isinstance(kind.version, int) and kind.columns and issubclass(kind.Settings, Spec)


class TestChunk:
    def test_a_document_becomes_chunks_with_exact_offsets(self):
        table, stats = chunk(DOCUMENTS, by="tokens", size=4, overlap=1)
        texts = {doc_id: text for doc_id, _, text in DOCUMENTS}
        titles = {doc_id: title for doc_id, title, _ in DOCUMENTS}
        for row in table.to_pylist():
            assert row["text"] == texts[row["doc_id"]][row["start"] : row["end"]]
            assert row["title"] == titles[row["doc_id"]]
        assert stats.blank == 2
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
        one, stats = chunk(rows, by="tokens", size=size)
        two, other = chunk(rows, sizes=[cut, len(rows) - cut], by="tokens", size=size)
        assert one.equals(two) and stats == other

    def test_stats_are_those_of_the_last_partition(self):
        stage = ChunkStage(ChunkSettings(chunker={"by": "document"}))
        stage.setup(Work(1, None))
        for rows, blank in (([(1, "", " ")], 1), ([(2, "", "a")], 0)):
            list(stage.run(iter([batch(rows)])))
            assert stage.stats().blank == blank

    def test_no_batches_and_empty_batches_give_no_chunks(self):
        assert chunk([], sizes=[])[0].num_rows == chunk([], sizes=[0])[0].num_rows == 0

    def test_wrong_settings_are_refused(self):
        with pytest.raises(ValidationError, match=r"sise\s+Extra inputs are not permitted"):
            ChunkSettings(chunker={"by": "tokens", "sise": 3})

    def test_a_chunker_of_the_caller_cuts(self):
        class Halves:
            def spans(self, texts):
                return [np.array([[0, len(text) // 2], [len(text) // 2, len(text)]], np.int64) for text in texts]

        stage = ChunkStage(ChunkSettings(chunker={"by": "passed", "identity_of": "halves"}))
        made = run_stage(stage, [batch([(1, "T", "abcdef")])], objects={"chunks": Halves()})
        assert [(row["text"], row["ordinal"]) for row in made.to_pylist()] == [("abc", 0), ("def", 1)]

    def test_a_chunker_that_changes_its_list_changes_no_text(self):
        class Lower:
            def spans(self, texts):
                texts[:] = [text.lower() for text in texts]
                return [np.array([[0, len(text)]], np.int64) for text in texts]

        stage = ChunkStage(ChunkSettings(chunker={"by": "passed", "identity_of": "lower"}))
        made = run_stage(stage, [batch([(1, "T", "ABC")])], objects={"chunks": Lower()})
        assert made["text"].to_pylist() == ["ABC"]


VECTORS = TableKey("embeddings", "minilm")


def encode_step(**settings):
    made = EncodeSettings(encoder=Embedding(**settings), of="chunks", name="minilm")
    return Step("embeddings/minilm", "mnemodex.pipelines.vectors.encode:EncodeOp", (Read(CHUNKS),), (VECTORS,), made)


def vectors_of(table):
    return table["vector"].combine_chunks().flatten().to_numpy().reshape(len(table), -1)


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    return Workshop(tmp_path_factory.mktemp("embed"))


class TestEmbed:
    ROWS = tuple((number, title, text) for number, title, text in DOCUMENTS if number != 14)

    def chunks(self, shop, *numbers):
        """A partition of some of the rows."""
        rows = [self.ROWS[number] for number in numbers]
        empty = {"doc_id": 0, "ordinal": 0, "start": 0, "end": 0, "tokens": 0}
        return shop.table(
            CHUNKS, [{**empty, "chunk_id": number, "title": title, "text": text} for number, title, text in rows]
        )

    @pytest.fixture
    def encoded(self, shop):
        """Encodes some of the rows; the table and what the op measured."""

        def run(*numbers, step=None):
            (made,) = shop.run(step or encode_step(), [self.chunks(shop, *numbers)])
            return shop.read(made), made.stats.of(EncodeOutcome)

        return run

    def test_vectors_are_in_the_order_of_the_chunks(self, encoded, memory):
        table, stats = encoded(*range(5))
        assert table.schema == spec_of(VECTORS).sized(384).schema
        assert table["chunk_id"].to_pylist() == [number for number, _, _ in self.ROWS]
        texts = [f"{title}\n{text}" if title else text for _, title, text in self.ROWS]
        np.testing.assert_allclose(vectors_of(table), memory.encoder("minilm").encode(texts), atol=2e-6)
        assert stats.dimension == 384

    def test_windows_change_nothing_but_the_last_bits(self, encoded, monkeypatch):
        one, _ = encoded(*range(5))
        monkeypatch.setattr(encode, "_WINDOW", 2)
        many, _ = encoded(*range(5))
        assert one["chunk_id"].equals(many["chunk_id"])
        np.testing.assert_allclose(vectors_of(one), vectors_of(many), atol=2e-6)

    def test_stats_tell_of_this_partition_alone(self, encoded):
        for _ in range(2):
            _, stats = encoded(*range(5))
            assert (stats.texts, stats.truncated, stats.dimension, stats.max_length) == (5, 0, 384, 256)
            assert stats.padded >= stats.tokens > 0

    def test_prefixes_precede_passages(self, encoded, memory):
        step = renamed(encode_step(passage_prefix="passage: ", query_prefix="query: "), "prefixed")
        table, _ = encoded(0, step=step)
        expected = memory.encoder("minilm").encode([f"passage: {DOCUMENTS[0][1]}\n{DOCUMENTS[0][2]}"])
        np.testing.assert_allclose(vectors_of(table), expected, atol=2e-6)

    @pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
    def test_a_vector_that_is_no_number_is_refused_with_its_chunk(self, encoded, monkeypatch, bad):
        vectors = np.zeros((3, 384), np.float32)
        vectors[1:, 5] = bad
        monkeypatch.setattr(
            Encoder,
            "stream",
            lambda self, windows: (Encoded(number, np.arange(3), vectors) for number, _ in enumerate(windows)),
        )
        with pytest.raises(NotFiniteError, match=r"'minilm': model .* NaN or infinity for chunk 12 and 1 more"):
            encoded(0, 1, 2)

    def test_no_chunks_give_no_vectors(self, encoded):
        table, stats = encoded()
        assert len(table) == stats.texts == 0
        assert table.schema == spec_of(VECTORS).sized(384).schema

    def test_the_matrix_is_beside_the_table(self, shop):
        (made,) = shop.run(encode_step(), [self.chunks(shop, 0, 3)])
        assert {file.path.rpartition(".")[2] for file in made.files} == {"parquet", "npy"}
        matrix = np.load(shop.store.files.local(made.file(".npy")))
        assert matrix.dtype == np.float32 and np.array_equal(matrix, vectors_of(shop.read(made)))

    def test_the_worker_says_how_far_it_is(self, encoded, shop, monkeypatch):
        monkeypatch.setattr(encode, "_WINDOW", 2)
        shop.told.clear()
        encoded(*range(5))
        assert shop.told[0] < 5 and max(shop.told) == 5
