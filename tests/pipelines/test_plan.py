"""The plan of a build: which steps a recipe has, when they are known, and which of them clash."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Annotated, ClassVar

import pyarrow as pa
import pytest
from engines import InlineEngine
from library import records, write_jsonl, write_parts, write_triples

import mnemodex
from mnemodex.indexers.models.hashes import model_hash
from mnemodex.indexers.models.tokenizers import tokenizer_hash
from mnemodex.pipelines.declarations import declarations
from mnemodex.pipelines.documents.typed import inferred_columns
from mnemodex.pipelines.materialize import Materializer
from mnemodex.pipelines.ops.base import NoSettings, Op
from mnemodex.pipelines.plan import Plan, Unfinished, identity, order
from mnemodex.pipelines.progress import Progress
from mnemodex.pipelines.results import BuildResults
from mnemodex.pipelines.run_files import RunFiles
from mnemodex.pipelines.source_plan import plan_source
from mnemodex.schemas.errors import RecipeError
from mnemodex.schemas.manifest import Stats
from mnemodex.schemas.recipe import parse_recipe
from mnemodex.schemas.sections import DEFAULT_MODEL
from mnemodex.schemas.spec import ModelRef, ReadBy, Spec
from mnemodex.schemas.steps import All, Each, IndexKey, Range, Read, Resources, SourceUnit, Step
from mnemodex.schemas.store.store import Store
from mnemodex.schemas.tables import CHUNKS, DOCUMENTS, ERRORS, TableKey, TableSpec

A, B, C = (TableKey(name) for name in "abc")
SPEC = TableSpec(pa.schema([pa.field("number", pa.int64(), nullable=False)]))


class Numbers(Op):
    """Writes one row more than it reads; the first step writes as many as its source says."""

    seconds_per_megabyte: ClassVar[float] = 0.0

    def run(self, inputs, output):
        rows = int(inputs.unit.source) if inputs.unit.source else 1 + sum(part.rows for part in inputs.partitions(0))
        batch = pa.record_batch([pa.array(range(rows), pa.int64())], schema=SPEC.schema)
        output.write(SPEC, [batch])
        return Stats()


class NewerNumbers(Numbers):
    version = 2


def numbers(name, *reads, source=(), writes=None):
    units = tuple(SourceUnit(label, label, rows) for label, rows in source)
    return Step(name, "test_plan:Numbers", reads, writes or (TableKey(name),), NoSettings(), source=units)


class Rows:
    """A context that knows the rows of some tables."""

    def __init__(self, **rows):
        self.known = rows

    def rows(self, key):
        if key.label not in self.known:
            raise Unfinished
        return self.known[key.label]


class TestUnfolding:
    def test_steps_are_known_when_what_they_depend_on_is_finished(self):
        def trained(context):
            yield Step("index", "op", (Read(A),), (IndexKey("i"),), NoSettings())
            if context.rows(A) > 5:
                yield Step("train", "op", (Read(A),), (IndexKey("i", "trained"),), NoSettings())

        plan = Plan([("first", lambda context: [numbers("a")]), ("indexes.i", trained), ("last", lambda context: [])])
        assert [step.name for step in plan.unfold(Rows())] == ["a"]
        assert plan.waiting == ["indexes.i"]
        assert plan.unfold(Rows()) == []
        assert [step.name for step in plan.unfold(Rows(a=9))] == ["index", "train"]
        assert plan.waiting == [] and [step.name for step in plan.steps] == ["a", "index", "train"]
        assert plan.unfold(Rows(a=9)) == []

    def test_a_declaration_that_waits_half_way_gives_nothing_yet(self):
        def half(context):
            yield numbers("a")
            context.rows(A)
            yield numbers("b", Read(A))

        plan = Plan([("half", half)])
        assert plan.unfold(Rows()) == [] == plan.steps
        assert [step.name for step in plan.unfold(Rows(a=0))] == ["a", "b"]

    def test_what_is_wrong_with_a_declaration_is_not_waited_for(self):
        def wrong(context):
            raise RecipeError("too few rows")

        with pytest.raises(RecipeError, match="too few rows"):
            Plan([("wrong", wrong)]).unfold(Rows())


class TestClashes:
    def unfolded(self, *keys):
        Plan([("all", lambda context: [numbers(f"step {n}", writes=(key,)) for n, key in enumerate(keys)])]).unfold(
            Rows()
        )

    @pytest.mark.parametrize(
        ("keys", "message"),
        [
            ((CHUNKS, CHUNKS), "table chunks (step 1) is written by two steps (step 0)"),
            (
                (TableKey("embeddings", "m", "facts"), TableKey("embeddings", "m_facts")),
                "table embeddings/m_facts (step 1) has the SQL view of embeddings/m/facts (step 0)",
            ),
            (
                (TableKey("embeddings", "m_facts"), TableKey("embeddings", "m", "facts")),
                "table embeddings/m/facts (step 1) has the SQL view of embeddings/m_facts (step 0)",
            ),
            ((TableKey("x", draft=True),) * 2, "table x (step 1) is written by two steps (step 0)"),
        ],
    )
    def test_two_steps_that_write_one_table_or_view_are_refused(self, keys, message):
        with pytest.raises(RecipeError) as raised:
            self.unfolded(*keys)
        assert str(raised.value) == f"{message}; rename one of them in the recipe"

    def test_two_steps_of_one_name_are_refused(self):
        recipe = parse_recipe({"source": "n", "indexes": {"chunks": {"type": "bm25"}}}, name="r", base=Path("/r"))
        with pytest.raises(RecipeError, match=r"^two steps are called 'chunks'; rename the index that is called so$"):
            Plan(declarations(recipe, [])).unfold(BuildResults(recipe, None))

    @pytest.mark.parametrize("name", ["files", "indexes", "shards", "snapshots"])
    def test_a_table_with_the_name_of_a_view_of_the_catalogue_is_refused(self, name):
        with pytest.raises(RecipeError, match=f"table {name} .* has the name of a view of the catalogue; rename it"):
            self.unfolded(TableKey(name))

    @pytest.mark.parametrize(
        "keys",
        [
            (ERRORS, ERRORS),
            (IndexKey("a"), IndexKey("a", "trained")),
            (DOCUMENTS, TableKey("documents", draft=True)),
            (TableKey("embeddings", "m"), TableKey("embeddings", "m", "facts"), TableKey("embeddings", "m-facts")),
            (TableKey("words"), IndexKey("words")),
        ],
    )
    def test_what_has_a_name_of_its_own_is_taken(self, keys):
        self.unfolded(*keys)

    @pytest.mark.parametrize(
        ("other", "graph", "clashes"),
        [
            ("minilm_facts", {}, True),
            ("minilm_entities", {}, True),
            ("minilm_entities", {"synonymy": None}, False),
            ("minilm_chunks", {}, False),
        ],
    )
    def test_an_embedding_that_is_called_like_the_facts_of_another_is_refused_before_any_work(
        self, tmp_path, inline, other, graph, clashes
    ):
        notes = [row for row in records() if row["title"]][:3]
        recipe = {
            "source": str(write_jsonl(tmp_path / "n.jsonl", notes)),
            "memory": str(tmp_path / "memory"),
            "embed": {"minilm": {}, other: {"query_prefix": "q "}},
            "triples": {"from": str(write_triples(tmp_path / "t.jsonl", notes))},
            "indexes": {"walk": {"type": "graph", **graph}, "dense": {"type": "dense", "embed": other}},
        }
        if not clashes:
            assert mnemodex.build(recipe).committed
            return
        with pytest.raises(RecipeError) as raised:
            mnemodex.build(recipe)
        of = other.rpartition("_")[2]
        assert str(raised.value) == (
            f"recipe: indexes.walk: the vectors of {of} would have the SQL view of the embedding {other!r}; rename "
            "that embedding"
        )
        assert InlineEngine.computed == 0 and not (tmp_path / "memory").exists()


class TestIdentity:
    STEP = numbers("a", source=[("p", "3")])

    def test_code_its_version_and_what_decides_change_it(self):
        found = [
            identity(one)
            for one in (
                self.STEP,
                replace(self.STEP, op="test_plan:NewerNumbers"),
                replace(self.STEP, identity={"k1": 1.2}),
                replace(self.STEP, identity={"k1": 1.3}),
            )
        ]
        assert len(set(found)) == 4

    def test_a_version_of_the_code_changes_it(self, monkeypatch):
        before = identity(self.STEP)
        monkeypatch.setattr(Numbers, "version", 5)
        assert identity(self.STEP) != before

    def test_names_and_workers_do_not(self):
        other = replace(
            self.STEP,
            name="b",
            writes=(B,),
            reads=(Read(A),),
            resources=Resources(cpus=4),
            reuse="number",
            source=(),
        )
        assert identity(other) == identity(self.STEP)


class Models(Spec):
    first: Annotated[str, ModelRef()] = DEFAULT_MODEL
    second: Annotated[str | None, ModelRef("tokenizer"), ReadBy("other")] = None


def test_an_order_for_workers_names_what_is_loaded_with_its_hash():
    step = replace(numbers("a", Read(DOCUMENTS), Read(CHUNKS)), settings=Models(second=DEFAULT_MODEL))
    made = order(step, {A: replace(SPEC, parents={"number": "chunks"})})
    assert (made.name, made.op, made.reads, made.writes) == ("a", "test_plan:Numbers", ("documents", "chunks"), (A,))
    assert [(model.part, model.sha256) for model in made.models] == [
        ("weights", model_hash(DEFAULT_MODEL)),
        ("tokenizer", tokenizer_hash(DEFAULT_MODEL)),
    ]
    assert made.tables["a"].parents == {"number": "chunks"}
    assert type(made).model_validate_json(made.model_dump_json()) == made


def materialized(tmp_path, *declared):
    """Carry out a plan; rows by table and the units that were computed."""
    store = Store(tmp_path / "memory")
    store.prepare()
    results, files = BuildResults(None, store), RunFiles(store, {})
    plan = Plan([(str(number), declare) for number, declare in enumerate(declared)])
    work = Materializer(store, plan, results, former=None, files=files, progress=Progress())
    InlineEngine.computed = 0
    work.compute(InlineEngine(store, files.run))
    return {name: [part.rows for part in step.parts] for name, step in results.steps.items()}, InlineEngine.computed


class TestCarriedOut:
    SOURCE = numbers("a", source=[("p", "3"), ("q", "4")])

    def test_every_step_follows_what_it_reads(self, tmp_path):
        steps = [self.SOURCE, numbers("b", Read(A, Each())), numbers("c", Read(B, All()))]
        made = {"a": [3, 4], "b": [4, 5], "c": [10]}
        assert materialized(tmp_path / "1", lambda context: steps) == (made, 5)
        assert materialized(tmp_path / "2", lambda context: steps[::-1]) == (dict(reversed(made.items())), 5)

    def test_what_is_there_is_not_computed_again(self, tmp_path):
        found, computed = materialized(tmp_path, lambda context: [self.SOURCE])
        assert materialized(tmp_path, lambda context: [self.SOURCE]) == (found, 0) and computed == 2

    def test_a_step_can_depend_on_what_a_table_holds(self, tmp_path):
        def later(context):
            yield numbers("b", Read(A, Range(context.rows(A))))

        made, computed = materialized(tmp_path, later, lambda context: [self.SOURCE])
        assert made == {"a": [3, 4], "b": [8] * 7} and computed == 9

    def test_tables_without_partitions_hold_nothing_up(self, tmp_path):
        """Whatever the order in which steps were declared."""
        steps = [numbers("c", Read(B, Each())), numbers("b", Read(A, Each())), numbers("a")]
        assert materialized(tmp_path, lambda context: steps) == ({"c": [], "b": [], "a": []}, 0)

        def last(context):
            yield numbers("d", Read(TableKey("c"), All()))

        assert materialized(tmp_path, last, lambda context: steps)[0]["d"] == [1]

    def test_two_steps_that_do_the_same_share_their_files(self, tmp_path):
        steps = [self.SOURCE, numbers("b", Read(A, Each())), numbers("c", Read(A, Each()))]
        made, computed = materialized(tmp_path, lambda context: steps)
        assert made == {"a": [3, 4], "b": [4, 5], "c": [4, 5]} and computed == 4


FULL = {
    "chunks": {"by": "tokens", "size": 32},
    "triples": {"extractor": "llm", "model": "m", "base_url": "http://localhost:1/v1"},
    "embed": {"minilm": {}, "served": {"encoder": "openai", "model": "m", "base_url": "http://localhost:1/v1"}},
    "ngram_pairs": {"spans": {"unsupervised": 1}},
    "indexes": {
        "words": {"type": "bm25"},
        "grams": {"type": "ngram"},
        "keys": {"type": "seal"},
        "walk": {"type": "graph"},
        "remote": {"type": "dense", "embed": "served"},
        "both": {"type": "hybrid", "of": ["words", "remote"]},
    },
}


@pytest.fixture(scope="module")
def known(tmp_path_factory):
    """The steps of a recipe that are known before anything is computed, and what is waited for."""
    folder = tmp_path_factory.mktemp("plan")
    source = write_parts(folder / "notes", records()[:6], 2)
    recipe = parse_recipe({"source": str(source), **FULL}, name="r", base=Path(folder))
    store = Store(folder / "memory")
    store.prepare()
    plan = Plan(declarations(recipe, plan_source(store, recipe).units))
    plan.unfold(BuildResults(recipe, store))
    return {step.name: step for step in plan.steps}, plan.waiting


def test_steps_of_a_recipe_are_known_as_far_as_nothing_has_to_be_found_out(known):
    steps, waiting = known
    assert list(steps) == [
        *("documents", "documents: repeats", "documents: without repeats", "documents: ids", "chunks", "chunks: ids"),
        *("triples", "triples: ids", "mentions", "facts and entities: sort", "embeddings/minilm", "embeddings/served"),
        *("ngram_pairs/spans", "ngram_pairs/spans: ids", "passage words", "words", "grams", "walk"),
    ]
    assert waiting == ["graph", "codes", "indexes.remote"]


def test_tables_with_ids_of_their_own_are_checked_and_no_others(known):
    checked = {name for name in known[0] if name.endswith(": ids")}
    assert checked == {"documents: ids", "chunks: ids", "triples: ids", "ngram_pairs/spans: ids"}
    for name in checked:
        (read,) = known[0][name].reads
        assert read.table.label == name.removesuffix(": ids") and isinstance(read.how, All) and len(read.columns) == 1


def test_models_are_given_what_they_need(known):
    steps, _ = known
    # A server is asked by one worker, which asks several questions at once.
    assert steps["triples"].resources == steps["embeddings/served"].resources == Resources(workers=1)
    assert steps["embeddings/minilm"].resources == Resources(gpus=1, threads=True)


def test_the_splits_of_the_source_are_units_with_their_bytes(known, tmp_path):
    units = known[0]["documents"].source
    assert [unit.label for unit in units] == ["part-0.jsonl-00000", "part-1.jsonl-00000"]
    assert all(unit.bytes > 100 and unit.content and not unit.affinity for unit in units)


def test_every_op_of_a_build_is_there_with_a_version_and_settings(library):
    from mnemodex.schemas.kinds import load
    from mnemodex.schemas.store.store import open_store

    recipe = parse_recipe(open_store(library)[1].recipe, name="r", base=library)
    store = Store(library)
    units = plan_source(store, recipe).units
    fields, _ = inferred_columns(store, recipe, units, None)
    plan, results = Plan(declarations(recipe, units, fields)), BuildResults(recipe, store)
    work = Materializer(store, plan, results, former=store.current(), files=RunFiles(store, {}), progress=Progress())
    work.find()
    assert work.todo == {} and plan.waiting == []
    written = list(chain.from_iterable(step.writes for step in plan.steps))
    assert all(read.table in written for step in plan.steps for read in step.reads)
    for step in plan.steps:
        kind = load(step.op)
        assert (
            isinstance(kind.version, int)
            and kind.Settings.model_validate_json(step.settings.model_dump_json(by_alias=True)) == step.settings
        ), step.name
