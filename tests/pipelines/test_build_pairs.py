"""Training pairs in a build: what computes them again, what is refused or warned of, and where they can be seen."""

from __future__ import annotations

import pytest
from builds import computed, manifest
from library import records, words_recipe, write_jsonl, write_parts
from tokenizer_models import byte_level, minilm, save

import mnemodex
from mnemodex.pipelines.stages.pairs import PairStats
from mnemodex.pipelines.verify import verify
from mnemodex.schemas.errors import IdCollisionError, ModelError, QueryError, RecipeError
from mnemodex.schemas.store.store import Store

pytestmark = pytest.mark.usefixtures("inline")

QUESTIONS = [
    {"id": "q1", "question": "Where are apples stored?", "gold_ids": ["orchard-1", "orchard-2"]},
    {"id": "q2", "question": "What does the harbour master keep?", "gold_ids": ["harbour-1"]},
]


@pytest.fixture
def queries(tmp_path):
    return write_jsonl(tmp_path / "train.jsonl", QUESTIONS)


@pytest.fixture
def recipe(tmp_path, queries):
    source = write_parts(tmp_path / "notes", records()[:18], 3)
    pairs = {"train": {"queries": str(queries)}}
    return words_recipe(source, tmp_path / "memory", ngram_pairs=pairs) | {"indexes": {}}


def changed(recipe, **spec):
    return {**recipe, "ngram_pairs": {"train": {**recipe["ngram_pairs"]["train"], **spec}}}


def test_pairs_are_a_table_of_the_memory_and_a_view_in_sql(recipe, tmp_path):
    result = mnemodex.build(recipe)
    assert computed(result)["ngram_pairs/train"] == 3 and result.warnings == []
    table = manifest(tmp_path / "memory").tables["ngram_pairs/train"]
    rows = mnemodex.open(tmp_path / "memory").sql(
        "SELECT d.key, p.query_id, p.query, count(*), count(*) FILTER (field = 'title'), "
        "bool_and(kind = 'supervised'), "
        "bool_and(CASE field WHEN 'title' THEN p.target = d.title ELSE contains(d.text, p.target) END) "
        "FROM ngram_pairs_train p JOIN documents d USING (doc_id) GROUP BY ALL ORDER BY ALL"
    )
    assert rows.fetchall() == [
        ("harbour-1", "q2", "What does the harbour master keep?", 11, 1, True, True),
        ("orchard-1", "q1", "Where are apples stored?", 11, 1, True, True),
        ("orchard-2", "q1", "Where are apples stored?", 11, 1, True, True),
    ]
    assert table.rows == 33 and sum(part.stats.of(PairStats).supervised for part in table.partitions) == 33


def test_an_unchanged_build_computes_nothing_and_starts_no_engine(recipe, monkeypatch):
    mnemodex.build(recipe)
    monkeypatch.setattr("mnemodex.pipelines.run.choose_engine", lambda *_, **__: pytest.fail("started"))
    result = mnemodex.build(recipe)
    assert (result.committed, computed(result)) == (False, {})
    assert sum(step.rows for step in result.steps if step.name == "ngram_pairs/train") == 33


def test_only_what_decides_the_pairs_makes_them_again(recipe, queries, tmp_path):
    mnemodex.build(recipe)
    again = {"ngram_pairs/train": 3}
    for spec in ({"length": 5}, {"per_query": 2}, {"seed": 1}, {"unsupervised": 1}):
        assert computed(mnemodex.build(changed(recipe, **spec))) == again
    other = save(byte_level(), tmp_path / "other")
    assert computed(mnemodex.build(changed(recipe, tokenizer=other))) == again
    moved = write_jsonl(tmp_path / "moved.jsonl", [{**row, "answers": ["straw"]} for row in QUESTIONS])
    assert computed(mnemodex.build(changed(recipe, queries=str(moved)))) == {}
    assert computed(mnemodex.build(changed(recipe, tokenizer=save(minilm(), tmp_path / "copy")))) == {}
    write_jsonl(queries, [{**QUESTIONS[0], "question": "Where?"}, QUESTIONS[1]])
    assert computed(mnemodex.build(recipe)) == again


def test_a_source_that_grew_has_only_its_new_partition_sampled(recipe, tmp_path):
    mnemodex.build(recipe)
    write_jsonl(tmp_path / "notes" / "part-9.jsonl", records()[18:20])
    assert computed(mnemodex.build(recipe))["ngram_pairs/train"] == 1


def test_pairs_are_the_same_in_any_partitions(recipe, tmp_path):
    whole = write_parts(tmp_path / "whole", records()[:18], 1)
    recipe = changed(recipe, unsupervised=2)
    mnemodex.build(recipe)
    mnemodex.build({**recipe, "source": {"path": str(whole)}}, memory=tmp_path / "other")
    query = "SELECT * FROM ngram_pairs_train ORDER BY pair_id"
    tables = [mnemodex.open(tmp_path / name).sql(query).to_arrow_table() for name in ("memory", "other")]
    assert tables[0].num_rows > 33 and tables[0].equals(tables[1])


def test_a_salt_changes_the_ids_of_pairs(recipe, tmp_path):
    ids = []
    for name, salt in (("a", ""), ("b", "pepper")):
        mnemodex.build({**recipe, "id_salt": salt}, memory=tmp_path / name)
        ids.append(
            {row[0] for row in mnemodex.open(tmp_path / name).sql("SELECT pair_id FROM ngram_pairs_train").fetchall()}
        )
        assert verify(tmp_path / name).problems == []
    assert len(ids[0]) == len(ids[1]) == 33 and not ids[0] & ids[1]


def test_ids_of_pairs_that_collide_are_refused(recipe, tmp_path, monkeypatch):
    from mnemodex.pipelines.stages import pairs

    monkeypatch.setattr(pairs, "pair_ids", lambda table, *, salt: [5] * table.num_rows)
    with pytest.raises(IdCollisionError, match="the pair_id 5: a hash collision; set `id_salt`"):
        mnemodex.build(recipe)
    assert Store(tmp_path / "memory").current() is None


def test_gold_ids_that_no_document_has_are_warned_of(recipe, queries):
    write_jsonl(queries, [*QUESTIONS, {"id": "q3", "question": "Why?", "gold_ids": ["atlantis", "mu", "harbour-1"]}])
    expected = [
        f"ngram_pairs 'train': 2 of the 5 gold ids of {queries} are no document's key; `gold_ids` name documents "
        "by the source's own ids"
    ]
    assert mnemodex.build(recipe).warnings == expected
    assert mnemodex.build(recipe).warnings == expected


def test_a_table_without_pairs_is_warned_of(recipe, queries):
    write_jsonl(queries, [{"id": "q", "question": "Why?", "gold_ids": ["atlantis"]}])
    warnings = mnemodex.build(recipe).warnings
    assert any(warning.startswith("ngram_pairs 'train' has no pairs: ") for warning in warnings)


def test_without_the_section_there_is_no_table(recipe, tmp_path):
    mnemodex.build(recipe)
    del recipe["ngram_pairs"]
    result = mnemodex.build(recipe)
    assert (result.committed, computed(result)) == (True, {})
    assert list(manifest(tmp_path / "memory").tables) == ["documents", "chunks"]


@pytest.mark.parametrize(
    ("spec", "error", "message"),
    [
        ({"queries": "nowhere.jsonl"}, QueryError, r"nowhere\.jsonl: cannot be read"),
        ({"tokenizer": "pkg:nowhere/model"}, ModelError, "no package 'nowhere' is installed"),
        ({"queries": None}, RecipeError, "ngram_pairs.train: nothing to make pairs of; give `queries: FILE`, or"),
        ({"queries": None, "unsupervised": -1}, RecipeError, "ngram_pairs.train.unsupervised: should be 0 or more"),
        ({"lenght": 5}, RecipeError, "unknown key 'ngram_pairs.train.lenght'; did you mean 'length'?"),
    ],
)
def test_wrong_settings_are_refused_before_any_work(recipe, inline, spec, error, message):
    with pytest.raises(error, match=message):
        mnemodex.build(changed(recipe, **spec))
    assert inline.computed == 0


def test_questions_without_gold_ids_are_refused_before_any_work(recipe, queries, inline):
    write_jsonl(queries, [{"_id": "q", "text": "Why?"}])
    with pytest.raises(
        QueryError, match=r"train\.jsonl: no query has `gold_ids`, .* take `queries` out of ngram_pairs\.t"
    ):
        mnemodex.build(recipe)
    assert inline.computed == 0


def test_the_command_line_shows_and_asks_pairs(recipe, tmp_path, cli):
    mnemodex.build(recipe)
    assert "ngram_pairs/train" in cli("show", tmp_path / "memory").out
    query = "SELECT pair_id, tokens FROM ngram_pairs_train WHERE field = 'title' LIMIT 1"
    ((pair_id, tokens),) = cli("sql", tmp_path / "memory", query, "--json").json["rows"]
    assert int(pair_id) >= 0 and all(isinstance(token, int) for token in tokens)
    assert cli("verify", tmp_path / "memory").code == 0


def test_a_deletion_leaves_the_files_of_pairs_and_nobody_sees_those_of_the_document(recipe, tmp_path):
    mnemodex.build(recipe)
    before = set((tmp_path / "memory" / "tables").rglob("*.parquet"))
    memory = mnemodex.open(tmp_path / "memory")
    memory.delete(["orchard-1"])
    new = set((tmp_path / "memory" / "tables").rglob("*.parquet")) - before
    assert {path.relative_to(tmp_path / "memory" / "tables").parts[0] for path in new} == {"changes", "tombstones"}
    table = memory.snapshot.manifest.tables["ngram_pairs/train"]
    assert (table.rows, table.masked) == (22, 11)
    assert memory.sql("SELECT query_id, count(*) FROM ngram_pairs_train GROUP BY 1 ORDER BY 1").fetchall() == [
        ("q1", 11),
        ("q2", 11),
    ]
    assert verify(tmp_path / "memory").problems == []
    memory.compact()
    assert memory.snapshot.manifest.tables["ngram_pairs/train"].partitions.rows == 22
