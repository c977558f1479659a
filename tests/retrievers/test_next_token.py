"""Next-token search with keys, against brute force over the table."""

from __future__ import annotations

import shutil
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from engines import InlineEngine
from language_models import make, saved

import mnemodex
from mnemodex.indexers.dense.vectors import pair_scores
from mnemodex.indexers.models.language_model import LanguageModel
from mnemodex.retrievers.readers.knn_lm import KnnLM
from mnemodex.retrievers.readers.knn_lm_report.explaining import explain
from mnemodex.schemas.errors import CorruptFileError, ModelError, QueryError


@pytest.fixture(scope="module")
def table(memory):
    rows = memory.sql(
        "SELECT position, doc_id, token_offset, key, value FROM lm_states_tiny ORDER BY position"
    ).fetchall()
    keys = np.stack([np.frombuffer(row[3], np.float16) for row in rows]).astype(np.float64)
    return np.array([row[0] for row in rows]), keys, np.array([row[4] for row in rows])


@pytest.fixture(scope="module")
def datastore(memory):
    return memory.retriever("next")


@pytest.fixture
def keys(table):
    rng = np.random.default_rng(3)
    return (table[1][rng.integers(len(table[1]), size=9)] + rng.normal(scale=0.3, size=(9, 32))).astype(np.float32)


def test_nearest_are_the_nearest_with_what_came_next(datastore, table, keys):
    positions, stored, values = table
    found = datastore.nearest(keys, 12)
    assert (found.distances.dtype, found.tokens.dtype, found.ids.dtype) == (np.float32, np.int32, np.int64)
    distances = ((stored[None] - keys[:, None].astype(np.float64)) ** 2).sum(-1)
    expected = np.sort(distances, axis=1)[:, :12]
    np.testing.assert_allclose(found.distances, expected, rtol=1e-3, atol=1e-3)
    where = np.searchsorted(positions, found.ids)
    assert np.array_equal(positions[where], found.ids) and np.array_equal(values[where], found.tokens)
    np.testing.assert_allclose(np.take_along_axis(distances, where, axis=1), expected, rtol=1e-3, atol=1e-3)


def test_named_entries_are_measured_exactly(datastore, table, keys):
    positions, stored, values = table
    rng = np.random.default_rng(1)
    ids = rng.choice(positions, size=(9, 6))
    ids[:, 2] = -1
    ids[3, 4] = 7
    found = datastore.measure(keys, ids)
    missing = np.zeros(ids.shape, bool)
    missing[:, 2] = missing[3, 4] = True
    assert np.isinf(found.distances[missing]).all() and (found.ids[missing] == -1).all()
    assert (found.tokens[missing] == -1).all() and np.array_equal(found.ids[~missing], ids[~missing])
    where = np.searchsorted(positions, np.where(missing, positions[0], ids))
    distances = ((stored[where] - keys[:, None].astype(np.float64)) ** 2).sum(-1)
    np.testing.assert_allclose(found.distances[~missing], distances[~missing], rtol=1e-5)
    assert np.array_equal(found.tokens[~missing], values[where][~missing])


def test_the_entry_after_is_the_next_token_of_the_text(datastore, memory):
    doc_id, tokens = memory.sql(
        "SELECT doc_id, tokens FROM lm_tokens_tiny ORDER BY len(tokens) DESC LIMIT 1"
    ).fetchall()[0]
    ids = np.array([[doc_id + 3, doc_id + 4, doc_id + len(tokens) - 1, doc_id + len(tokens)]])
    found = datastore.measure(np.zeros((1, 32), np.float32), ids)
    assert found.tokens[0].tolist() == [tokens[3], tokens[4], tokens[-1], -1]


def test_no_ids_are_no_neighbours(datastore):
    found = datastore.measure(np.zeros((2, 32), np.float32), np.zeros((2, 0), np.int64))
    assert found.distances.shape == (2, 0)


@pytest.mark.parametrize(
    ("shape", "k", "message"),
    [
        ((1, 32), 10**6, "k is 1000000, but the datastore 'next' has 7491 entries; take a smaller k"),
        ((1, 32), 0, "k is 0"),
        ((1, 31), 3, "of 32 dimensions"),
    ],
)
def test_wrong_questions_are_refused(datastore, shape, k, message):
    with pytest.raises(QueryError, match=message):
        datastore.nearest(np.zeros(shape, np.float32), k)


def test_a_key_that_is_no_number_is_refused(datastore, keys):
    keys[4, 3] = np.nan
    with pytest.raises(QueryError, match="query 4: its vector holds NaN or infinity"):
        datastore.nearest(keys, 3)


@pytest.mark.parametrize(("broken", "message"), [(np.nan, "holds NaN or infinity"), (None, "of 32 dimensions")])
def test_keys_to_measure_are_looked_at_too(datastore, keys, broken, message):
    keys = keys[:, :31] if broken is None else np.where(np.arange(32) == 3, broken, keys).astype(np.float32)
    with pytest.raises(QueryError, match=message):
        datastore.measure(keys, np.zeros((9, 2), np.int64))


def test_measuring_many_takes_no_more_memory_than_a_block(datastore, table, monkeypatch):
    monkeypatch.setattr("mnemodex.retrievers.next_token.BLOCK_BYTES", 8 * 32 * 50 * 4)
    sizes = []

    def counted(queries, vectors, metric):
        sizes.append(vectors.size)
        return pair_scores(queries, vectors, metric)

    monkeypatch.setattr("mnemodex.retrievers.next_token.pair_scores", counted)
    rng = np.random.default_rng(5)
    ids, asked = rng.choice(table[0], size=(90, 50)), rng.normal(size=(90, 32)).astype(np.float32)
    found = datastore.measure(asked, ids)
    assert max(sizes) <= 32 * 50 * 4 and len(sizes) > 20
    stored = table[1][np.searchsorted(table[0], ids)]
    np.testing.assert_allclose(found.distances, ((stored - asked[:, None].astype(np.float64)) ** 2).sum(-1), rtol=1e-5)


def test_threads_get_the_answers_of_one(library):
    retriever = mnemodex.open(library).retriever("next")
    prompts = ["Apples from the", "The keeper", "Water turns the mill wheel in spring"] * 12
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda prompt: retriever.search([prompt], 5).ids[0].tolist(), prompts))
    assert found == [retriever.search([prompt], 5).ids[0].tolist() for prompt in prompts]


def test_search_says_the_same_while_a_reader_is_attached(library):
    memory = mnemodex.open(library)
    retriever = memory.retriever("next")
    hits = retriever.search(["Apples from the"], 3)
    alone = explain(retriever, ["Apples from the"], hits)
    with KnnLM(retriever, k=4, weight=0.9).attach(retriever.prompt_keys.model.model) as knn:
        assert np.array_equal(retriever.search(["Apples from the"], 3).ids, hits.ids)
        assert explain(retriever, ["Apples from the"], hits) == alone
        assert knn.stats.lookups == 0


def test_what_it_was_made_of(datastore, memory):
    info, told = datastore.info, memory.snapshot.manifest.language_models["tiny"]
    assert (info.rows, info.dimension, info.key, info.vocabulary) == (7491, 32, "ffn_input", 400)
    assert (info.window, info.overlap, info.prefix) == (64, 16, ())
    assert (info.model_sha256, info.tokenizer_sha256) == (told.sha256, told.tokenizer_sha256)
    assert info.scale > 0


def test_its_sample_is_what_the_model_gives(datastore):
    info = datastore.info
    model = LanguageModel(info.model).model
    given = []
    model.model.layers[-1].mlp.register_forward_pre_hook(lambda _, inputs: given.append(inputs[0]))
    with torch.no_grad():
        model(torch.from_numpy(info.sample_tokens[None, :-1].astype(np.int64)))
    keys = given[0][0].numpy()[-len(info.sample_keys) :]
    assert len(info.sample_keys) > 16
    np.testing.assert_allclose(info.sample_keys, keys, atol=2e-3, rtol=2e-3)


@pytest.fixture
def own(tmp_path):
    """A memory of its own, to be damaged, and its model."""
    (tmp_path / "a.txt").write_text("The harbour master keeps two logs. " * 20)
    recipe = {
        "source": {"path": str(tmp_path / "a.txt")},
        "memory": str(tmp_path / "memory"),
        "lm": {"tiny": {"model": saved("llama", tmp_path / "model"), "window": 64, "overlap": 16}},
        "indexes": {"next": {"type": "knn_lm", "factory": "IVF4,SQfp16"}},
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mnemodex.pipelines.run.choose_engine", InlineEngine)
        mnemodex.build(recipe)
    return tmp_path


def test_another_model_by_the_same_name_is_refused(own):
    model = make("llama")
    with torch.no_grad():
        model.lm_head.weight.add_(0.5)
    model.save_pretrained(own / "model")
    with pytest.raises(ModelError, match=r"was built with another .* install that one, or rebuild the memory"):
        mnemodex.open(own / "memory").retriever("next").search(["a"], 3)


def test_a_missing_shard_is_told_by_its_path(own):
    (shard,) = mnemodex.open(own / "memory").snapshot.index("next").shards
    shutil.rmtree(own / "memory" / shard.folder)
    with pytest.raises(CorruptFileError, match=rf"{shard.folder}/.*missing"):
        mnemodex.open(own / "memory").retriever("next")


def test_a_prompt_longer_than_a_window_is_read_at_its_end(own):
    retriever = mnemodex.open(own / "memory").retriever("next")
    long = "The harbour master keeps two logs. " * 40
    whole, end = retriever.search([long], 3), retriever.search([long[-600:]], 3)
    np.testing.assert_allclose(whole.scores, end.scores, atol=1e-3)
