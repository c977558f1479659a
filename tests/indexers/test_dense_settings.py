from __future__ import annotations

import pytest
from pydantic import ValidationError

from mnemodex.indexers.dense.factory import auto_factory
from mnemodex.indexers.dense.indexer import DenseIndexer
from mnemodex.indexers.vector_settings import DenseSettings
from mnemodex.schemas.errors import RecipeError
from mnemodex.schemas.validation import validate


def test_auto_grows_with_the_rows():
    assert [auto_factory(rows) for rows in (0, 20_000, 20_001, 2_000_000)] == ["Flat", "Flat", "HNSW32", "HNSW32"]
    assert auto_factory(2_000_001) == "IVF16384_HNSW32,SQ8"
    assert auto_factory(10**8) == "IVF65536_HNSW32,SQ8"
    assert auto_factory(10**9) == "IVF131072_HNSW32,SQ8"


@pytest.mark.parametrize("rows", [10, 10**6, 10**8, 10**10])
@pytest.mark.parametrize("metric", ["ip", "l2"])
def test_what_auto_says_can_be_made(rows, metric):
    indexer = DenseIndexer(DenseSettings(metric=metric), rows, 384)
    assert indexer.factory == auto_factory(rows)
    assert indexer.needs_training == (rows > 2_000_000)


@pytest.mark.parametrize("factory", ["HNSV32", "", "IVF,Flat", "PQ7", "IVF64,Flat,Nonsense"])
def test_a_string_that_is_no_factory_string_is_named(factory):
    with pytest.raises(RecipeError, match=f"factory '{factory}'"):
        DenseIndexer(DenseSettings(factory=factory), 1000, 24)


@pytest.mark.parametrize(
    ("factory", "reason"),
    [
        ("IDMap," * 3000 + "Flat", "18004 characters"),
        ("ZnLattice0x10_6", "0 is out"),
        ("HNSW2147483647", "2147483647 is"),
    ],
)
def test_strings_by_which_faiss_ends_the_process_are_refused(factory, reason):
    with pytest.raises(RecipeError, match=reason):
        DenseIndexer(DenseSettings(factory=factory), 1000, 24)


@pytest.mark.parametrize(
    ("factory", "reason"), [("IDMap,Flat", "IDMap"), ("NSG16", "NSG"), ("PCA8,NSG16", "NSG"), ("LSH", "LSH")]
)
def test_indexes_that_cannot_keep_the_promises_are_refused(factory, reason):
    with pytest.raises(RecipeError, match=reason):
        DenseIndexer(DenseSettings(factory=factory, metric="l2"), 1000, 24)


@pytest.mark.parametrize(
    "options",
    [
        {"m": 32},
        {"ef_construction": 100},
        {"engine": "hnswlib", "factory": "HNSW32"},
        {"engine": "hnswlib", "m": 1},
        {"engine": "annoy"},
        {"metric": "cosine"},
        {"order": "random"},
        {"target_recall": 0},
        {"target_recall": 1.5},
        {"shard_rows": 0},
        {"seed": -1},
        {"memory_budget": 0},
        {"memory_budget": "2 houses"},
        {"memory_budget": "2GB", "factory": "HNSW32"},
        {"memory_budget": "2GB", "engine": "hnswlib"},
        {"refine": "auto"},
        {"refine": 0, "factory": "IVF4,SQ8"},
        {"refine": 4, "engine": "hnswlib"},
        {"unknown": 1},
    ],
)
def test_options_that_make_no_sense_are_refused(options):
    with pytest.raises(ValidationError):
        DenseSettings(**options)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"refine": 0, "factory": "IVF4,SQ8"}, "refine: should be `auto`, or a whole number from 1 to 1000"),
        ({"refine": True, "factory": "IVF4,SQ8"}, "refine: should be `auto`, or a whole number from 1 to 1000"),
        ({"refine": 4, "engine": "hnswlib"}, "`refine` is no option of engine hnswlib"),
        ({"memory_budget": "-5"}, "memory_budget: should be a whole number of bytes, or a size such as 500MiB or 2GB"),
        ({"memory_budget": "1e3"}, "memory_budget: should be a whole number of bytes, or a size such as 500MiB or 2GB"),
    ],
)
def test_a_refused_option_is_explained_by_one_problem(options, said):
    with pytest.raises(RecipeError) as raised:
        validate(DenseSettings, options, name="recipe.yaml")
    assert said in str(raised.value) and ";" not in str(raised.value)


@pytest.mark.parametrize(
    "settings",
    [
        DenseSettings(factory="HNSW16"),
        DenseSettings(engine="hnswlib", m=8),
        DenseSettings(memory_budget="1.5GB"),
        DenseSettings(factory="IVF4,RaBitQ", refine="auto"),
        DenseSettings(factory="IVF4,RaBitQ", refine=12),
    ],
)
def test_settings_survive_the_manifest(settings):
    assert DenseSettings.model_validate(settings.model_dump(mode="json")) == settings


def test_only_what_decides_the_files_is_in_the_identity():
    def identity(rows=1000, **settings):
        return DenseIndexer(DenseSettings(**settings), rows, 24).settings.identity(step="build")

    assert identity() == identity(target_recall=0.5, embed="other", queries="q.jsonl", factory="Flat", order="lid_desc")
    assert identity() != identity(rows=100_000)
    assert identity(factory="HNSW8") != identity(factory="HNSW8", order="lid_desc")
    assert identity(engine="hnswlib") != identity(engine="hnswlib", m=8)
    assert identity(metric="ip") != identity(metric="l2")
    assert identity(seed=0) != identity(seed=1)
