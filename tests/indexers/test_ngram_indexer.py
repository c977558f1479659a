"""The n-gram index of a recipe: what is built, and when it is built again."""

from __future__ import annotations

import numpy as np
import pytest
from builds import computed
from library import records, write_jsonl
from tokenizer_models import byte_level, minilm, save

import mnemodex
from mnemodex.indexers.models.hashes import digest_of
from mnemodex.indexers.ngram import indexer as indexer_module
from mnemodex.indexers.ngram.indexer import NgramIndexer, NgramStats
from mnemodex.indexers.settings import NgramSettings
from mnemodex.pipelines.verify import verify
from mnemodex.schemas.errors import ModelError, RecipeError

PHRASES = ["The harbour", "has", "Смотритель маяка", "港", "slice of lemon cake", "xyzzy"]


@pytest.fixture
def source(tmp_path):
    """Eight files of six documents."""
    rows = records()[:48]
    for number, part in enumerate(rows[start : start + 6] for start in range(0, 48, 6)):
        write_jsonl(tmp_path / "source" / f"part-{number}.jsonl", part)
    return tmp_path / "source"


def recipe_of(source, memory, **settings):
    return {"source": str(source), "memory": str(memory), "indexes": {"ngrams": {"type": "ngram", **settings}}}


def build(source, memory, **settings):
    mnemodex.build(recipe_of(source, memory, **settings))
    return mnemodex.open(memory)


def answers(opened):
    """Everything that an index answers, by ids that do not depend on shards."""
    index = opened.retriever("ngrams")
    located, hits = index.locate(PHRASES), index.search(PHRASES, 100)
    return [
        index.count(PHRASES).tolist(),
        *(column.tolist() for column in (located.offsets, located.chunk_ids, located.documents, located.tokens)),
        *(column.tolist() for column in index.continuations(PHRASES)[:3]),
        *(column.tolist() for column in index.documents(PHRASES)),
        hits.ids.tolist(),
        hits.scores.tolist(),
    ]


def test_shards_stay_when_a_source_grows_at_its_end(source, tmp_path, inline, monkeypatch):
    monkeypatch.setattr(NgramIndexer, "shard_rows", 12)
    former = build(source, tmp_path / "memory").snapshot.index("ngrams")
    write_jsonl(source / "part-8.jsonl", [{"id": "new", "title": "New", "text": "The harbour has a new crane."}])
    # Only what is of the new file.
    again = mnemodex.build(recipe_of(source, tmp_path / "memory"))
    assert computed(again) == {"documents": 1, "chunks": 1, "ngrams": 1}
    grown = mnemodex.open(tmp_path / "memory")
    shards = grown.snapshot.index("ngrams").shards
    assert (len(former.shards), len(shards)) == (4, 5)
    assert shards[:4] == former.shards[:]
    assert answers(grown) == answers(build(source, tmp_path / "other"))
    assert verify(tmp_path / "memory").problems == []


def test_other_chunks_need_another_map(source, tmp_path, inline):
    former = build(source, tmp_path / "memory").snapshot.index("ngrams")
    mnemodex.build({**recipe_of(source, tmp_path / "memory"), "chunks": {"by": "tokens", "size": 16}})
    opened = mnemodex.open(tmp_path / "memory")
    assert opened.snapshot.index("ngrams").fingerprint != former.fingerprint
    ids = opened.retriever("ngrams").locate(["has"]).chunk_ids
    assert set(ids.tolist()) <= {chunk_id for (chunk_id,) in opened.sql("SELECT chunk_id FROM chunks").fetchall()}


@pytest.mark.parametrize("document_array", [True, False])
def test_a_shard_that_would_become_too_large_is_split(source, tmp_path, inline, monkeypatch, document_array):
    whole = build(source, tmp_path / "whole", document_array=document_array)
    monkeypatch.setattr(indexer_module, "_LARGEST_SHARD", 300)
    split = build(source, tmp_path / "split", document_array=document_array)
    (shard,) = split.snapshot.index("ngrams").shards
    assert len({file.path.split("/")[3] for file in shard.files if "/body/" in file.path}) > 3
    assert answers(split) == answers(whole)
    assert verify(tmp_path / "split").problems == []


def test_partitions_of_many_bytes_are_shards_of_their_own(source, tmp_path, inline, monkeypatch):
    monkeypatch.setattr(NgramIndexer, "shard_bytes", 1)
    assert len(build(source, tmp_path / "memory").snapshot.index("ngrams").shards) == 8


def test_titles_are_a_field_of_their_own(source, tmp_path, inline):
    opened = build(source, tmp_path / "memory")
    corpus = opened.retriever("ngrams").corpus
    titles = opened.sql("SELECT title, doc_id FROM documents").fetchall()
    coast = minilm().encode("near the coast", add_special_tokens=False).ids
    found = corpus.documents.at(corpus.title.locate([coast]).documents).ids
    assert set(found.tolist()) == {doc_id for title, doc_id in titles if "near the coast" in title}
    tokens = sum(len(minilm().encode(title, add_special_tokens=False).ids) for title, _ in titles)
    stats = opened.snapshot.index("ngrams").shards[0].stats.of(NgramStats)
    assert corpus.title.token_count == tokens == stats.title_tokens
    assert opened.retriever("ngrams").count(["near the coast"]).tolist() == [0]


def test_every_token_stands_in_the_index_once(source, tmp_path, inline):
    opened = build(source, tmp_path / "memory")
    texts = [text for (text,) in opened.sql("SELECT text FROM documents").fetchall()]
    counts = np.bincount(np.concatenate([minilm().encode(text, add_special_tokens=False).ids for text in texts]))
    tokens = np.flatnonzero(counts)
    assert opened.retriever("ngrams").count(tokens[:, None]).tolist() == counts[tokens].tolist()


def test_the_tokenizers_content_decides_not_its_name(tmp_path):
    one, same, other = (
        NgramSettings(tokenizer=save(made, tmp_path / name)).identity(step="build", digest=digest_of)
        for name, made in (("one", minilm()), ("same", minilm()), ("other", byte_level()))
    )
    assert one == same and one != other


def test_a_tokenizer_beside_the_recipe_is_found(source, tmp_path, inline):
    save(byte_level(), tmp_path / "tokens")
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text("source: source\nmemory: memory\nindexes: {ngrams: {type: ngram, tokenizer: tokens}}\n")
    mnemodex.build(recipe)
    assert mnemodex.open(tmp_path / "memory").retriever("ngrams").count(["The harbour"]).tolist() == [24]


def test_a_tokenizer_that_is_not_there_is_told_before_any_work(source, tmp_path, inline):
    with pytest.raises(ModelError, match="no such file or folder"):
        build(source, tmp_path / "memory", tokenizer="nowhere")
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(ModelError, match="is not a tokenizer"):
        build(source, tmp_path / "memory", tokenizer=str(tmp_path))
    assert inline.computed == 0


def test_an_unknown_setting_is_told(source, tmp_path, inline):
    with pytest.raises(RecipeError, match="did you mean 'tokenizer'"):
        build(source, tmp_path / "memory", tokeniser="x")


def test_verify_finds_rows_that_are_not_those_of_the_chunks(source, tmp_path, inline, monkeypatch):
    from mnemodex.indexers.rows import Rows

    former = Rows.of

    def shuffled(partitions, *, id_column="chunk_id"):
        rows = former(partitions, id_column=id_column)
        return rows if id_column == "doc_id" else Rows(rows.ids[::-1], rows.partition, rows.row, rows.labels)

    monkeypatch.setattr(Rows, "of", shuffled)
    build(source, tmp_path / "memory")
    (problem,) = verify(tmp_path / "memory").problems
    assert "index ngrams does not hold each row of chunks once" in problem
