"""The contract of every indexer, whatever it builds."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from chunk_data import chunk_ids, chunk_partitions, document_partitions
from dense_data import clustered, partitions
from pydantic import ValidationError
from state_data import state_partitions

from mnemodex.indexers.base import Indexer, InputPartition
from mnemodex.indexers.dense.devices import set_threads
from mnemodex.indexers.graph.passages import write_passages
from mnemodex.indexers.rows import Rows
from mnemodex.pipelines.indexes.ops import make_indexer
from mnemodex.schemas.errors import RecipeError
from mnemodex.schemas.kinds import KINDS, load
from mnemodex.schemas.manifest import Recall, SearchParameters, Stats
from mnemodex.schemas.recipe import IndexSettings
from mnemodex.schemas.tables import PASSAGE_WORDS

if TYPE_CHECKING:
    from pathlib import Path

ROWS, DIMENSION = 90, 16
SIZES = [40, 0, 50]


def texts():
    rng = np.random.default_rng(0)
    return [" ".join(rng.choice(["lamp", "rye", "straw", "ferry", "slate"], rng.integers(0, 9))) for _ in range(ROWS)]


def words(folder):
    return chunk_partitions(folder, texts(), SIZES)


def documents(folder):
    return document_partitions(folder, texts(), SIZES)


def vectors(folder):
    return partitions(folder, clustered(ROWS, DIMENSION), SIZES, ids=chunk_ids(ROWS))


def questions(folder):
    return partitions(folder, clustered(ROWS, DIMENSION), SIZES, ids=chunk_ids(ROWS), of="questions")


def states(folder):
    return state_partitions(folder, clustered(ROWS, DIMENSION), SIZES, positions=chunk_ids(ROWS))


@dataclass(frozen=True)
class Case:
    """A kind of index: its settings, its table, a setting that changes the files and one that only a search reads."""

    settings: dict[str, Any]
    table: Any
    decisive: dict[str, Any]
    idle: dict[str, Any] = field(default_factory=dict)


CASES = {
    "flat": Case({"type": "dense", "embed": "e", "factory": "Flat"}, vectors, {"metric": "l2"}, {"target_recall": 0.5}),
    "hnsw": Case({"type": "dense", "embed": "e", "factory": "HNSW8"}, vectors, {"seed": 1}, {"queries": "q.jsonl"}),
    "ivf": Case({"type": "dense", "embed": "e", "factory": "IVF2,Flat"}, vectors, {"factory": "IVF3,Flat"}),
    "hnswlib": Case({"type": "dense", "embed": "e", "engine": "hnswlib"}, vectors, {"m": 8}, {"target_recall": 0.5}),
    "datastore-flat": Case({"type": "knn_lm", "lm": "m", "factory": "Flat"}, states, {"factory": "HNSW8"}),
    "datastore-ivf": Case(
        {"type": "knn_lm", "lm": "m", "factory": "IVF2,SQfp16"}, states, {"seed": 1}, {"target_recall": 0.5}
    ),
    "qa-flat": Case({"type": "qa", "embed": "e"}, questions, {"factory": "HNSW8"}, {"target_recall": 0.5}),
    "qa-codes": Case({"type": "qa", "embed": "e", "factory": "SQ8"}, questions, {"key": "question_answer"}),
    "bm25": Case({"type": "bm25"}, words, {"with_title": False}, {"k1": 0.9}),
    "ngram": Case({"type": "ngram"}, documents, {"document_array": False}),
    "contiguity": Case({"type": "contiguity", "of": "a"}, words, {"order": "turn"}, {"decay": 0.9}),
    "graph": Case({"type": "graph", "method": "bridge-lite"}, words, {"method": "bridge"}, {"synonymy": 0.5}),
}
"""One line an index type (and engine)."""

WITHOUT_FILES = {
    "hybrid": {"type": "hybrid", "of": ["a", "b"]},
    "seal": {"type": "seal", "of": "a"},
    "rerank": {"type": "rerank", "of": "a", "model": "m"},
    "recency": {"type": "recency", "of": "a", "field": "time", "half_life": "30d"},
}


@pytest.fixture(params=CASES.values(), ids=CASES.keys())
def case(request):
    set_threads(1)
    return request.param


OURS = [name for name in KINDS.names() if not KINDS.find(name).version]
STEPS = ("train", "build")


def checked(settings) -> Any:
    return load(KINDS.find(settings["type"]).settings).model_validate(settings)


def make(case, rows=ROWS, **changes) -> Any:
    return make_indexer(checked({**case.settings, **changes}), rows=rows, dimension=DIMENSION)


def decisive(indexer) -> Any:
    """What decides the files: the settings by step, and the tables that are read."""
    settings = indexer.settings
    tables = [indexer.table(settings), *indexer.aligned(settings), *indexer.whole(settings)]
    return [[settings.identity(step=step) for step in STEPS], [table.label for table in tables]]


def as_json(model) -> Any:
    """What a manifest has of it: NaN and infinity are refused."""
    return json.loads(json.dumps(model.model_dump(mode="json"), allow_nan=False))


def words_of(part, folder: Path) -> InputPartition:
    """The words and names of a partition of chunks."""
    folder.mkdir(parents=True)
    write_passages(part.files["parquet"], folder)
    return InputPartition(part.label, part.rows, {}, folder=folder)


def build(indexer, parts, out: Path, groups=None) -> list[Path]:
    """All steps of an indexer: the shards that are searched."""
    extras = {}
    if indexer.needs_training:
        extras["trained"] = out / "trained"
        extras["trained"].mkdir(parents=True)
        indexer.train(parts, extras["trained"])
    shards = []
    for number, group in enumerate(groups or [range(len(parts))]):
        shards.append(out / f"shard{number}")
        shards[-1].mkdir(parents=True)
        given = [parts[place] for place in group]
        if PASSAGE_WORDS in indexer.whole(indexer.settings):
            extras["tables"] = {PASSAGE_WORDS.label: [words_of(part, out / f"words-{part.label}") for part in given]}
        stats = indexer.build(given, shards[-1], **extras)
        assert stats.rows == sum(parts[place].rows for place in group)
        assert Stats.model_validate(as_json(stats)).of(type(stats)) == stats
    return shards


def test_every_registered_type_is_tested_here():
    assert {case.settings["type"] for case in CASES.values()} | set(WITHOUT_FILES) == set(OURS)


@pytest.mark.parametrize("name", OURS)
def test_a_type_says_what_it_is(name):
    kind = KINDS.find(name)
    settings = load(kind.settings)
    assert issubclass(settings, IndexSettings) and settings.model_fields["type"].default == name
    assert isinstance(load(kind.retriever), type)
    if kind.indexer:
        assert issubclass(load(kind.indexer), Indexer)
        assert isinstance(load(kind.indexer).version, int)


@pytest.mark.parametrize(
    ("kind", "hint"),
    [
        ("dens", "did you mean 'dense'"),
        ("annoy", "known: dense, bm25, ngram, seal, graph, knn_lm, hybrid, rerank, recency, contiguity, qa"),
        (5, "known:"),
        (None, "known:"),
        (["dense"], "did you mean 'dense'"),
    ],
)
def test_an_unknown_type_is_refused_with_the_nearest(kind, hint):
    with pytest.raises(RecipeError, match=hint):
        KINDS.find(kind)


@pytest.mark.parametrize("settings", [*(case.settings for case in CASES.values()), *WITHOUT_FILES.values()])
def test_settings_survive_the_manifest_and_refuse_what_is_unknown(settings):
    made = checked(settings)
    assert checked(as_json(made)) == made
    with pytest.raises(ValidationError):
        checked({**settings, "nonsense": 1})
    with pytest.raises(ValidationError):
        made.type = "other"


def test_an_index_without_files_has_neither_indexer_nor_steps():
    for settings in WITHOUT_FILES.values():
        kind = KINDS.find(settings["type"])
        assert (kind.indexer, kind.steps, kind.tables) == ("", "", "")
    assert all(KINDS.find(case.settings["type"]).indexer for case in CASES.values())


def test_the_identity_is_json_and_changes_with_what_decides_the_files(case):
    identity = decisive(make(case))
    assert json.loads(json.dumps(identity)) == identity == decisive(make(case))
    assert decisive(make(case, **case.decisive)) != identity
    assert decisive(make(case, **case.idle)) == identity


def test_an_index_holds_every_row_once_and_knows_where_it_stands(case, tmp_path):
    indexer, parts = make(case), case.table(tmp_path / "table")
    for number, groups in enumerate([[[0, 1, 2]], [[0], [1, 2]]]):
        shards = build(indexer, parts, tmp_path / str(number), groups)
        opened = [Rows.open(shard, id_column=indexer.id_column) for shard in shards]
        ids = np.concatenate([rows.ids for rows in opened])
        expected = chunk_ids(ROWS) + (indexer.id_column == "doc_id")
        assert sorted(ids.tolist()) == sorted(expected.tolist())
        starts = dict(zip(("p0", "p1", "p2"), np.cumsum([0, *SIZES[:-1]]).tolist(), strict=True))
        for rows in opened:
            place = [starts[rows.labels[part]] + row for part, row in zip(rows.partition, rows.row, strict=True)]
            assert np.array_equal(expected[place], rows.ids)
        assert all((shard / f"{indexer.id_column}s.npy").is_file() for shard in shards)


def test_building_writes_nothing_elsewhere_and_is_repeatable(case, tmp_path):
    indexer, parts = make(case), case.table(tmp_path / "table")
    before = {file: file.read_bytes() for file in (tmp_path / "table").rglob("*") if file.is_file()}
    first = build(indexer, parts, tmp_path / "first")
    second = build(make(case), parts, tmp_path / "second")
    assert {file: file.read_bytes() for file in (tmp_path / "table").rglob("*") if file.is_file()} == before
    for one, other in zip(first, second, strict=True):
        names = sorted(path.relative_to(one).as_posix() for path in one.rglob("*"))
        assert names == sorted(path.relative_to(other).as_posix() for path in other.rglob("*"))
        for name in names:
            if (one / name).is_file() and name not in {"index.faiss", "index.hnsw", "probe.npz"}:
                assert (one / name).read_bytes() == (other / name).read_bytes(), name


def test_no_file_is_a_pickle(case, tmp_path):
    indexer = make(case)
    for shard in build(indexer, case.table(tmp_path / "table"), tmp_path / "out"):
        for file in (path for path in shard.rglob("*") if path.is_file()):
            assert file.suffix in {".npy", ".npz", ".json", ".arrow", ".faiss", ".hnsw"}, file.name
            if file.suffix in {".npy", ".npz"}:
                loaded = np.load(file, allow_pickle=False)
                for name in getattr(loaded, "files", ()):
                    assert loaded[name].dtype != object
            assert not file.read_bytes().startswith(b"\x80\x04")


def test_a_measurement_says_what_the_manifest_keeps(case, tmp_path):
    indexer = make(case)
    if not indexer.measured_by:
        assert case.settings["type"] in {"bm25", "ngram", "graph", "contiguity"}, "these have no recall of their own"
        return
    shards = build(indexer, case.table(tmp_path / "table"), tmp_path / "out")
    assert all((shard / indexer.measured_by).is_file() for shard in shards)
    measured = indexer.measure(shards)
    assert Recall.model_validate(as_json(measured.recall)) == measured.recall
    assert 0 <= measured.recall.recall <= 1
    assert SearchParameters.model_validate(as_json(measured.search)) == measured.search


def test_a_table_without_rows_can_be_built(case, tmp_path):
    empty = case.table(tmp_path / "table")[1:2]
    indexer = make(case, rows=0)
    if indexer.needs_training:
        with pytest.raises(RecipeError, match="cannot be trained with 0 rows"):
            indexer.train(empty, tmp_path)
        return
    shards = build(indexer, empty, tmp_path / "out")
    assert sum(len(Rows.open(shard, id_column=indexer.id_column).ids) for shard in shards) == 0
