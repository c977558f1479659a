"""BM25 from shards: the scores of bm25s's own index over all chunks at once."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

import bm25s
import numpy as np
import pytest
from chunk_data import chunk_ids, chunk_partitions
from hypothesis import given, settings
from hypothesis import strategies as st

from mnemodex.indexers.bm25 import BM25Indexer, BM25Settings, tokenize
from mnemodex.indexers.rows import Rows

WORDS = ["harbour", "lamp", "rye", "straw", "clock", "ferry", "slate", "honey", "music", "saturn"]


def texts_of(rows, *, seed=0):
    """Texts of 0 to 30 words, frequent ones first in the list more often."""
    rng = np.random.default_rng(seed)
    weights = 1 / np.arange(1, len(WORDS) + 1)
    return [" ".join(rng.choice(WORDS, rng.integers(0, 30), p=weights / weights.sum())) for _ in range(rows)]


def build(folder, texts, sizes, *, titles=None, **options):
    """One shard a partition, merged."""
    parts = chunk_partitions(folder / "table", texts, sizes, titles=titles)
    indexer = BM25Indexer(BM25Settings(**options), len(texts), 0)
    shards = []
    for part in parts:
        shards.append(folder / part.label)
        shards[-1].mkdir()
        indexer.build([part], shards[-1])
    (folder / "merged").mkdir()
    stats = indexer.merge(shards, folder / "merged")
    assert stats.rows == len(texts)
    return folder / "merged"


def scores(folder, words):
    index = bm25s.BM25.load(str(folder), mmap=True, load_corpus=False)
    known = [index.vocab_dict[word] for word in words if word in index.vocab_dict]
    return index.get_scores_from_ids(known) if known else np.zeros(index.scores["num_docs"], np.float32)


def reference(texts, **options):
    """Bm25s over the same tokens in one go."""
    options = {"k1": 1.2, "b": 0.75, **options}
    index = bm25s.BM25(method="lucene", **options)
    index.index(tokenize(texts), show_progress=False)
    return index


@pytest.mark.parametrize("shards", [1, 2, 3, 4, 5])
def test_any_number_of_shards_gives_the_scores_of_bm25s(tmp_path, shards):
    texts = texts_of(97, seed=shards)
    sizes = np.diff(np.linspace(0, 97, shards + 1).astype(int)).tolist()
    folder = build(tmp_path, texts, sizes)
    expected = reference(texts)
    stems = {word: next(iter(tokenize([word])[1])) for word in WORDS}
    for query in (*[[word] for word in WORDS], ["lamp", "straw"], WORDS):
        known = [expected.vocab_dict[stems[word]] for word in query]
        assert np.array_equal(scores(folder, [stems[word] for word in query]), expected.get_scores_from_ids(known))


@pytest.mark.parametrize("options", [{"k1": 0.0}, {"k1": 2.5, "b": 0.0}, {"b": 1.0}])
def test_k1_and_b_are_settings(tmp_path, options):
    texts = texts_of(40)
    expected = reference(texts, **options)
    found = scores(build(tmp_path, texts, [25, 15], **options), ["lamp", "ferri"])
    assert np.array_equal(found, expected.get_scores_from_ids([expected.vocab_dict[w] for w in ("lamp", "ferri")]))
    default = reference(texts)
    assert not np.array_equal(found, default.get_scores_from_ids([default.vocab_dict[w] for w in ("lamp", "ferri")]))


@settings(max_examples=40)
@given(
    documents=st.lists(st.lists(st.sampled_from(["aa", "bb", "cc", "dd", "the"]), max_size=6), min_size=1, max_size=12),
    cuts=st.lists(st.integers(0, 12), max_size=4),
)
def test_scores_are_the_formula_in_double_precision(documents, cuts):
    """Lucene's variant: ln(1 + (N - n + 0.5) / (n + 0.5)) * tf / (tf + k1 (1 - b + b length / mean length))."""
    texts = [" ".join(words) for words in documents]
    bounds = [0, *sorted(min(cut, len(texts)) for cut in cuts), len(texts)]
    with tempfile.TemporaryDirectory() as name:
        folder = build(Path(name), texts, np.diff(bounds).tolist())
        found = {word: scores(folder, [word]) for word in ("aa", "bb", "cc", "dd")}
    kept = [[word for word in words if word != "the"] for words in documents]
    mean = sum(map(len, kept)) / len(kept)
    for word, got in found.items():
        having = sum(word in words for words in kept)
        idf = np.log(1 + (len(kept) - having + 0.5) / (having + 0.5))
        expected = [
            idf * words.count(word) / (words.count(word) + 1.2 * (0.25 + 0.75 * len(words) / mean)) if words else 0.0
            for words in kept
        ]
        np.testing.assert_allclose(got, expected if having else np.zeros(len(kept)), rtol=2e-6)


def test_a_partition_more_gives_what_a_fresh_index_has(tmp_path):
    texts = texts_of(60)
    indexer = BM25Indexer(BM25Settings(), 60, 0)
    old, new = chunk_partitions(tmp_path / "table", texts, [40, 20])
    shards = [tmp_path / "old", tmp_path / "new"]
    for part, shard in zip((old, new), shards, strict=True):
        shard.mkdir()
        indexer.build([part], shard)
    before = {file.name: file.read_bytes() for file in shards[0].iterdir()}
    grown, fresh = tmp_path / "grown", tmp_path / "fresh"
    grown.mkdir()
    fresh.mkdir()
    indexer.merge(shards, grown)
    (tmp_path / "both").mkdir()
    indexer.build([old, new], tmp_path / "both")
    indexer.merge([tmp_path / "both"], fresh)
    assert {file.name: file.read_bytes() for file in shards[0].iterdir()} == before
    assert {file.name for file in grown.iterdir()} == {file.name for file in fresh.iterdir()}
    for file in fresh.iterdir():
        assert (grown / file.name).read_bytes() == file.read_bytes(), file.name


def test_rows_say_where_each_chunk_stands(tmp_path):
    rows = Rows.open(build(tmp_path, texts_of(9), [4, 0, 5]))
    assert rows.ids.tolist() == chunk_ids(9).tolist()
    assert [rows.labels[number] for number in rows.partition] == ["p0"] * 4 + ["p2"] * 5
    assert rows.row.tolist() == [0, 1, 2, 3, 0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    "texts", [["", "  ", "the of who"], ["a b c", "?!"]], ids=["stop-words-only", "letters-and-signs"]
)
def test_texts_without_a_word_score_nothing(tmp_path, texts):
    folder = build(tmp_path, texts, [len(texts)])
    assert scores(folder, ["lamp"]).tolist() == [0.0] * len(texts)


def test_titles_are_searched_unless_left_out(tmp_path):
    texts, titles = ["bread and straw", "clock"], ["Saturn", ""]
    with_titles = build(tmp_path / "a", texts, [2], titles=titles)
    without = build(tmp_path / "b", texts, [2], titles=titles, with_title=False)
    assert scores(with_titles, ["saturn"]).tolist()[1] == 0 < scores(with_titles, ["saturn"]).tolist()[0]
    assert scores(without, ["saturn"]).tolist() == [0, 0]


def test_the_files_are_arrays_and_json(tmp_path):
    folder = build(tmp_path, texts_of(12), [12])
    for file in folder.iterdir():
        if file.suffix == ".npy":
            np.load(file, allow_pickle=False)
        else:
            json.loads(file.read_text(encoding="utf-8"))
    assert not any(file.is_dir() for file in folder.iterdir())


def words_of(text):
    ids, vocabulary = tokenize([text])
    names = {number: word for word, number in vocabulary.items()}
    return [names[number] for number in ids[0]]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Running RUNS runner", ["run", "run", "runner"]),
        ("what is the lamp of a keeper", ["lamp", "keeper"]),
        ("Café naïve Ångström e\u0301t\u00e9", ["cafe", "naiv", "angstrom", "ete"]),
        ("x2 3000 C++ it's", ["x2", "3000"]),
        ("Смотритель маяка", ["смотритель", "маяка"]),
        ("Ἀθῆναι", ["αθηναι"]),
        ("Маёк чай", ["маек", "чаи"]),
        ("किताबें मेज़", ["किताबें", "मेज़"]),
        ("বাংলা ข้าว", ["বাংলা", "ข้าว"]),
        ("港の灯台 東京", ["港の灯台", "東京"]),
        ("\uff26\uff35\uff2c\uff2c \ufb01sh", ["full", "fish"]),
        ("", []),
        ("\N{PILE OF POO} — … !", []),
    ],
)
def test_words_are_folded_stemmed_and_freed_of_stop_words(text, words):
    assert words_of(text) == words


def test_words_do_not_depend_on_the_batch():
    texts = texts_of(30)
    alone = [words_of(text) for text in texts]
    ids, vocabulary = tokenize(texts)
    names = {number: word for word, number in vocabulary.items()}
    assert [[names[number] for number in row] for row in ids] == alone


def test_building_leaves_the_table_as_it_was(tmp_path):
    parts = chunk_partitions(tmp_path / "table", texts_of(5), [5])
    before = parts[0].files["parquet"].read_bytes()
    (tmp_path / "out").mkdir()
    BM25Indexer(BM25Settings(), 5, 0).build(parts, tmp_path / "out")
    assert parts[0].files["parquet"].read_bytes() == before
    shutil.rmtree(tmp_path / "table")
    assert len(Rows.open(tmp_path / "out").ids) == 5
