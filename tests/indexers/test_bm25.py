"""BM25 from shards: the scores of bm25s's own index over all chunks at once."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from types import SimpleNamespace

import bm25s
import numpy as np
import pytest
from bm25s.tokenization import Tokenized
from chunk_data import chunk_ids, chunk_partitions
from hypothesis import given, settings
from hypothesis import strategies as st

from mnemodex.indexers.bm25 import BM25Indexer
from mnemodex.indexers.rows import Rows
from mnemodex.indexers.settings import BM25Settings
from mnemodex.indexers.words import split_words
from mnemodex.retrievers.bm25 import BM25Retriever
from mnemodex.schemas.errors import OlderFormatError

LANGUAGES = Path(__file__).parent / "languages.jsonl"
"""Eight texts of each language, and a question about each, which has other forms of its words."""

WORDS = ["harbour", "lamp", "rye", "straw", "clock", "ferry", "slate", "honey", "music", "saturn"]


def texts_of(rows, *, seed=0):
    """Texts of 0 to 30 words, frequent ones first in the list more often."""
    rng = np.random.default_rng(seed)
    weights = 1 / np.arange(1, len(WORDS) + 1)
    return [" ".join(rng.choice(WORDS, rng.integers(0, 30), p=weights / weights.sum())) for _ in range(rows)]


def build(folder, texts, sizes, *, titles=None, **options):
    """One shard a partition."""
    parts = chunk_partitions(folder / "table", texts, sizes, titles=titles)
    indexer = BM25Indexer(BM25Settings(**options), len(texts), 0)
    shards = [folder / part.label for part in parts]
    for part, shard in zip(parts, shards, strict=True):
        shard.mkdir()
        assert indexer.build([part], shard).rows == part.rows
    return shards


def retriever(shards, *, allowed=(), **options):
    """A retriever of shards in a memory whose `where` keeps the ids `allowed`."""
    snapshot = SimpleNamespace(shards=lambda _: shards)
    memory = SimpleNamespace(snapshot=snapshot, ids_where=lambda _: np.array(allowed, np.int64))
    return BM25Retriever(memory, SimpleNamespace(name="words", masked=0, settings={"type": "bm25", **options}))


def scores(shards, question, **options):
    """The scores of all rows, float32 in the order of the rows, 0 for those that are no hits."""
    ids = np.concatenate([np.load(shard / "chunk_ids.npy") for shard in shards])
    hits = retriever(shards, **options).search([question], len(ids))
    by_id = dict(zip(hits.ids[0].tolist(), hits.scores[0].tolist(), strict=True))
    assert 0 not in by_id.values()
    return np.array([by_id.get(number, 0) for number in ids.tolist()], np.float32)


def reference(texts, **options):
    """Bm25s over the same words in one go."""
    options = {"k1": 1.2, "b": 0.75, **options}
    index = bm25s.BM25(method="lucene", **options)
    words = split_words(texts)
    ids = [part.tolist() for part in np.split(words.ids, np.cumsum(words.lengths)[:-1])]
    vocabulary = {name: number for number, name in enumerate(words.names.to_pylist())}
    index.index(Tokenized(ids=ids, vocab=vocabulary), show_progress=False)
    return index


def expected_scores(index, question):
    """The scores that bm25s gives to a question."""
    words = split_words([question])
    return index.get_scores_from_ids([index.vocab_dict[words.names[number].as_py()] for number in words.ids])


@pytest.mark.parametrize("shards", [1, 2, 3, 4, 5])
def test_any_number_of_shards_gives_the_scores_of_bm25s(tmp_path, shards):
    texts = texts_of(97, seed=shards)
    sizes = np.diff(np.linspace(0, 97, shards + 1).astype(int)).tolist()
    built = build(tmp_path, texts, sizes)
    expected = reference(texts)
    for question in (*WORDS, "lamp straw", "lamp lamp ferry", " ".join(WORDS)):
        assert np.array_equal(scores(built, question), expected_scores(expected, question))


@pytest.mark.parametrize(
    ("written_in", "language", "first", "third"),
    [
        ("german", "german", 8, 8),
        ("german", "english", 7, 8),
        ("russian", "russian", 8, 8),
        ("russian", "english", 7, 8),
        ("arabic", "arabic", 8, 8),
        ("arabic", "english", 8, 8),
        ("hebrew", "english", 8, 8),
        ("chinese", "english", 8, 8),
        ("japanese", "english", 8, 8),
        ("korean", "english", 8, 8),
        ("thai", "english", 7, 8),
    ],
)
def test_questions_find_their_text_in_each_language(tmp_path, written_in, language, first, third):
    lines = [json.loads(line) for line in LANGUAGES.read_text(encoding="utf-8").splitlines()]
    rows = [row for row in lines if row["written_in"] == written_in]
    shards = build(tmp_path, [row["text"] for row in rows], [5, 3], language=language)
    hits = retriever(shards, language=language).search([row["question"] for row in rows], 3)
    found = hits.ids == chunk_ids(8)[:, None]
    assert (found[:, 0].sum(), found.sum()) == (first, third)


def test_sizes_of_texts_leave_joined_words_out(tmp_path):
    same, joined = build(tmp_path, ["covid 19", "covid-19"], [1, 1])
    assert np.array_equal(np.load(same / "lengths.npy"), np.load(joined / "lengths.npy"))


@pytest.mark.parametrize("options", [{"k1": 0.0}, {"k1": 2.5, "b": 0.0}, {"b": 1.0}])
def test_a_search_chooses_k1_and_b(tmp_path, options):
    texts = texts_of(40)
    built = build(tmp_path, texts, [25, 15])
    found = scores(built, "lamp ferry", **options)
    assert np.array_equal(found, expected_scores(reference(texts, **options), "lamp ferry"))
    assert not np.array_equal(found, scores(built, "lamp ferry"))


@settings(max_examples=40)
@given(
    documents=st.lists(st.lists(st.sampled_from(WORDS), max_size=4), min_size=1, max_size=30),
    cuts=st.lists(st.integers(0, 30), max_size=4),
    k=st.integers(1, 35),
    keep=st.none() | st.sets(st.integers(0, 29)),
)
def test_the_best_rows_are_the_first_of_all_by_score_and_id(documents, cuts, k, keep):
    texts = [" ".join(words) for words in documents]
    bounds = [0, *sorted(min(cut, len(texts)) for cut in cuts), len(texts)]
    ids = chunk_ids(len(texts))
    rows = list(range(len(texts))) if keep is None else sorted(row for row in keep if row < len(texts))
    questions = ["lamp", "lamp rye ferry", "nothing", "", "saturn saturn"]
    with tempfile.TemporaryDirectory() as name:
        built = build(Path(name), texts, np.diff(bounds).tolist())
        hits = retriever(built, allowed=ids[rows]).search(questions, k, where=None if keep is None else "kept")
        every = [scores(built, question) for question in questions]
    for number, row_scores in enumerate(every):
        matching = [row for row in rows if row_scores[row] > 0]
        best = sorted(matching, key=lambda row, scores=row_scores: (-scores[row], ids[row]))[:k]
        found = hits.ids[number] != -1
        assert hits.ids[number][found].tolist() == ids[best].tolist()
        assert np.array_equal(hits.scores[number][found], row_scores[best])


def test_files_of_a_former_version_are_to_be_built_again(tmp_path):
    (shard,) = build(tmp_path, texts_of(5), [5])
    (shard / "word_bytes.npy").rename(shard / "data.csc.index.npy")
    with pytest.raises(OlderFormatError, match="index 'words': a former version made its files; run `mnemodex build`"):
        retriever([shard])


@pytest.mark.parametrize("question", ["", " \u200b", "the of and", "zzzz", "?!"])
def test_a_question_without_a_word_of_the_texts_has_no_hits(tmp_path, question):
    hits = retriever(build(tmp_path, texts_of(9), [4, 5])).search([question, "harbour"], 3)
    assert (hits.ids[0] == -1).all() and np.isneginf(hits.scores[0]).all()
    assert (hits.ids[1] >= 0).all()


def test_no_question_has_no_answer(tmp_path):
    assert retriever(build(tmp_path, texts_of(5), [5])).search([], 3).ids.shape == (0, 3)


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
        shards = build(Path(name), texts, np.diff(bounds).tolist())
        found = {word: scores(shards, word) for word in ("aa", "bb", "cc", "dd")}
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


def test_a_partition_more_is_a_shard_more(tmp_path):
    texts = texts_of(60)
    first, second = build(tmp_path, texts, [40, 20])
    alone = build(tmp_path / "alone", texts[:40], [40])[0]
    for file in (file for file in first.iterdir() if file.name != "chunk_ids.npy"):
        assert file.read_bytes() == (alone / file.name).read_bytes(), file.name
    assert np.array_equal(scores([first, second], "lamp"), expected_scores(reference(texts), "lamp"))


def test_batches_of_a_partition_are_counted_as_one(tmp_path):
    texts = texts_of(5000)
    (shard,) = build(tmp_path, texts, [5000])
    assert np.array_equal(scores([shard], "lamp straw"), expected_scores(reference(texts), "lamp straw"))


def test_rows_say_where_each_chunk_stands(tmp_path):
    found = [Rows.open(shard) for shard in build(tmp_path, texts_of(9), [4, 0, 5])]
    assert np.concatenate([rows.ids for rows in found]).tolist() == chunk_ids(9).tolist()
    assert [rows.labels for rows in found] == [("p0",), ("p1",), ("p2",)]
    assert [rows.row.tolist() for rows in found] == [[0, 1, 2, 3], [], [0, 1, 2, 3, 4]]


@pytest.mark.parametrize(
    "texts", [["", "  ", "the of who"], ["a i", "?!"]], ids=["stop-words-only", "letters-and-signs"]
)
def test_texts_without_a_word_score_nothing(tmp_path, texts):
    shards = build(tmp_path, texts, [len(texts)])
    assert scores(shards, "lamp").tolist() == [0.0] * len(texts)


def test_titles_are_searched_unless_left_out(tmp_path):
    texts, titles = ["bread and straw", "clock"], ["Saturn", ""]
    with_titles = build(tmp_path / "a", texts, [2], titles=titles)
    without = build(tmp_path / "b", texts, [2], titles=titles, with_title=False)
    assert scores(with_titles, "saturn").tolist()[1] == 0 < scores(with_titles, "saturn").tolist()[0]
    assert scores(without, "saturn").tolist() == [0, 0]


def test_the_files_are_arrays_and_json(tmp_path):
    (folder,) = build(tmp_path, texts_of(12), [12])
    for file in folder.iterdir():
        if file.suffix == ".npy":
            np.load(file, allow_pickle=False)
        else:
            json.loads(file.read_text(encoding="utf-8"))
    assert not any(file.is_dir() for file in folder.iterdir())


def test_building_leaves_the_table_as_it_was(tmp_path):
    parts = chunk_partitions(tmp_path / "table", texts_of(5), [5])
    before = parts[0].files["parquet"].read_bytes()
    (tmp_path / "out").mkdir()
    BM25Indexer(BM25Settings(), 5, 0).build(parts, tmp_path / "out")
    assert parts[0].files["parquet"].read_bytes() == before
    shutil.rmtree(tmp_path / "table")
    assert len(Rows.open(tmp_path / "out").ids) == 5
