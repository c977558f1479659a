"""Plans: `mnemodex plan`, what it says, and what it refuses."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from commands import assert_refused
from library import records, write_jsonl
from planning import stay_here, trial, vector_trial, written

import mnemodex
from mnemodex.indexers.vector_settings import DenseSettings
from mnemodex.pipelines.planner import calibration, sample, trials
from mnemodex.pipelines.planner.estimate import estimate
from mnemodex.pipelines.planner.limits import limits
from mnemodex.pipelines.planner.machine import Machine
from mnemodex.pipelines.planner.models import parameters
from mnemodex.pipelines.planner.vector_laws import plan_vectors
from mnemodex.pipelines.planner.vectors import layout_of, measure, try_vectors, vectors_like
from mnemodex.pipelines.preflight import check_inputs
from mnemodex.schemas.errors import RecipeError, StageFailedError, UserError
from mnemodex.schemas.recipe import load_recipe
from mnemodex.schemas.sections import DEFAULT_MODEL

DENSE = {"dense": tuple(map(vector_trial, (2048, 4096, 8192)))}
MACHINE = Machine(cores=4, memory=8 << 30)


@pytest.fixture
def recipe(tmp_path):
    """A recipe of BM25 over the library."""
    write_jsonl(tmp_path / "notes.jsonl", records())
    path = tmp_path / "recipe.yaml"
    path.write_text("source: notes.jsonl\nindexes: {words: {type: bm25}}\n")
    return path


@pytest.fixture
def kept(recipe, tmp_path):
    """A kept calibration of it."""
    path = tmp_path / "calibration.json"
    path.write_text(written(load_recipe(recipe), ["words"]).model_dump_json())
    return path


def plan_of(recipe, documents, **given):
    checked = load_recipe(recipe)
    return estimate(checked, written(checked, ["words"], **given), documents, MACHINE)


class TestEstimates:
    def test_costs_grow_as_the_builds_of_the_sample_showed(self, recipe):
        small, large = plan_of(recipe, 100_000), plan_of(recipe, 1_000_000)
        for plan in (small, large):
            parts = {part.name: part for part in plan.parts}
            assert parts["chunks"].cpu.value == pytest.approx(plan.documents * 0.001, rel=0.01)
            assert parts["chunks"].rows == plan.documents
            assert parts["chunks"].bytes.value == pytest.approx(100 * plan.documents + 1000 * plan.partitions, rel=0.01)
            assert parts["words"].cpu.value == pytest.approx(plan.documents * 0.002, rel=0.01)
            assert plan.cpu.low < plan.cpu.value < plan.cpu.high
        # The farther away, the wider.
        assert large.bytes.high / large.bytes.value > small.bytes.high / small.bytes.value > 1

    def test_bytes_that_are_written_are_hashed(self, recipe):
        small, large = (plan_of(recipe, documents) for documents in (10**6, 10**8))
        (start,), (hashed,) = small.of("start"), large.of("start")
        more = 3 * (large.bytes.value - small.bytes.value) / 1e9
        assert hashed.cpu.value - start.cpu.value == pytest.approx(more, rel=0.3)

    def test_a_larger_build_without_models_says_what_texts_take(self, recipe):
        checked = load_recipe(recipe)
        found = written(checked, ["words"])
        larger = trial(16_000, indexes=["words"], cpu=0.0015)
        plan = estimate(checked, found.model_copy(update={"texts": (larger,)}), 1_000_000, MACHINE)
        (chunks,) = (part for part in plan.parts if part.name == "chunks")
        assert chunks.cpu.value > 0.0014 * 1_000_000 > chunks.cpu.low
        assert plan.extrapolation == pytest.approx(1_000_000 / 1600)

    def test_starting_processes_is_counted_once(self, recipe):
        (start,) = plan_of(recipe, 1_000_000).of("start")
        assert start.cpu.value == pytest.approx(3, rel=0.4)

    @pytest.mark.parametrize(
        ("documents", "layout", "lists", "parameter"),
        [
            (10_000, "Flat", 0, None),
            (1_000_000, "HNSW32", 0, "efSearch"),
            (5 * 10**7, "IVF65536_HNSW32,SQ8", 16, "nprobe"),
        ],
    )
    def test_an_index_over_vectors_is_what_so_many_rows_make_it(self, recipe, documents, layout, lists, parameter):
        recipe.write_text("source: notes.jsonl\nindexes: {dense: {type: dense}}\n")
        checked = load_recipe(recipe)
        by_itself = tuple(vector_trial(rows, lists=lists, parameter=parameter) for rows in (2048, 4096, 8192))
        plan = estimate(checked, written(checked, ["dense"], {"dense": by_itself}), documents, MACHINE)
        parts = {part.name: part for part in plan.parts}
        assert (parts["dense"].layout, parts["dense"].units) == (layout, max(1, documents // 1_000_000))
        assert ("dense: trained" in parts) == layout.startswith("IVF")


class TestLimits:
    def test_the_first_to_break_comes_first_with_its_number_of_documents(self, recipe):
        plan = plan_of(recipe, 1_000_000)
        found = limits(plan, MACHINE)
        assert [limit.documents for limit in found] == sorted(limit.documents for limit in found)
        memory = next(
            limit for limit in found if limit.what.startswith("the indexes fill the memory of one machine (4 cores")
        )
        searched = sum(part.bytes.value for part in plan.of("index"))
        assert memory.documents == pytest.approx(1_000_000 * 0.8 * (8 << 30) / searched)
        assert next(limit.documents for limit in found if "id_salt" in limit.what) == pytest.approx(0.97e9, rel=0.01)


class TestMachines:
    def test_a_machine_is_written_in_words(self):
        found = Machine.parse("cores=32, memory=256GiB,gpus=2")
        assert (found.cores, found.memory, found.gpus) == (32, 256 << 30, 2)
        assert Machine.parse("disk=2TB").disk == 2 * 10**12 and found.disk is None
        assert Machine.parse("memory=1.5TiB") == Machine.here().model_copy(update={"memory": 3 << 39})

    @pytest.mark.parametrize("text", ["", "cores", "cores=0", "cores=4GiB", "memory=4 parsecs", "tape=3TB", "cores=-1"])
    def test_what_says_nothing_of_a_machine_is_refused(self, text):
        with pytest.raises(UserError, match="cores=32,memory=256GiB"):
            Machine.parse(text)


class TestCommand:
    def test_a_kept_calibration_is_used(self, recipe, kept, cli):
        ran = cli("plan", recipe, "--documents", 2_000_000, "--calibration", kept, "--queries-per-second", 100)
        assert ran.code == 0, ran.err
        assert "2,000,000 documents" in ran.out and "1,250 times fewer" in ran.out
        assert "What breaks first" in ran.out and "words" in ran.out
        assert "building" not in ran.err

    def test_json_has_each_figure_with_its_interval(self, recipe, kept, cli):
        words = ("plan", recipe, "--documents", 2_000_000, "--calibration", kept, "--machine", "cores=1,memory=1GiB")
        made = cli(*words, "--queries-per-second", 3, "--json").json
        assert made["documents"] == 2_000_000 and made["machine"] == {
            "cores": 1,
            "memory": 1 << 30,
            "gpus": 0,
            "disk": None,
        }
        assert made["bytes"]["low"] < made["bytes"]["value"] < made["bytes"]["high"]
        assert {part["name"] for part in made["parts"]} == {"documents", "chunks", "words", "between units"}
        # A question takes two seconds.
        (asked,) = made["questions"]
        assert asked["cpu_seconds"]["value"] == pytest.approx(2, rel=0.01) and asked["machines"] == 9

    def test_a_calibration_of_another_recipe_is_refused(self, recipe, kept, cli):
        recipe.write_text("source: notes.jsonl\nindexes: {words: {type: bm25, with_title: false}}\n")
        ran = cli("plan", recipe, "--documents", 1000, "--calibration", kept)
        assert_refused(ran, saying="is the calibration of another recipe; name another file")

    def test_a_file_that_is_no_calibration_is_refused(self, recipe, kept, cli):
        kept.write_text("{}")
        assert_refused(cli("plan", recipe, "--documents", 9, "--calibration", kept), saying="is no calibration of this")

    def test_vectors_that_were_measured_as_another_index_are_refused(self, recipe, tmp_path, cli):
        recipe.write_text("source: notes.jsonl\nindexes: {dense: {type: dense}}\n")
        kept = tmp_path / "dense.json"
        found = written(check_inputs(load_recipe(recipe)), ["dense"], DENSE)
        kept.write_text(found.model_dump_json())
        assert cli("plan", recipe, "--documents", 10_000, "--calibration", kept).code == 0
        ran = cli("plan", recipe, "--documents", 1_000_000, "--calibration", kept)
        assert_refused(ran, saying="index dense was measured as Flat, and is HNSW32 for 1000000 documents")

    def test_a_recipe_without_a_source_is_refused(self, recipe, cli):
        recipe.write_text("source: nowhere.jsonl\n")
        assert_refused(cli("plan", recipe, "--documents", 1000), saying="nowhere.jsonl: no such file or folder")

    def test_a_source_without_documents_is_refused(self, recipe, tmp_path, cli):
        (tmp_path / "notes.jsonl").write_text('{"id": "1", "text": " "}\n')
        assert_refused(cli("plan", recipe, "--documents", 1000), saying="no documents; a plan needs some")

    def test_a_calibration_without_disk_is_refused(self, recipe, cli, monkeypatch):
        usage = shutil.disk_usage(recipe.parent)
        monkeypatch.setattr(calibration.shutil, "disk_usage", lambda path: usage._replace(free=1 << 20))
        assert_refused(cli("plan", recipe, "--documents", 1000), code=1, saying="set TMPDIR to a folder with more")


class TestSample:
    def test_documents_come_from_all_over_the_source_with_their_metadata(self, tmp_path):
        rows = [{"id": str(n), "text": f"text {n}", "year": n} for n in range(5000)]
        write_jsonl(tmp_path / "a.jsonl", rows[:2500])
        write_jsonl(tmp_path / "b.jsonl", rows[2500:])
        (tmp_path / "recipe.yaml").write_text("source: {path: .}\nindexes: {words: {type: bm25}}\n")
        (tmp_path / "recipe.yaml").rename(tmp_path.parent / "recipe.yaml")
        path = tmp_path.parent / "recipe.yaml"
        path.write_text(f"source: {{path: {tmp_path}}}\nindexes: {{words: {{type: bm25}}}}\n")
        found = sample.draw(load_recipe(path), 3000)
        assert len(set(found.keys)) == len(found.lines) == 3000
        assert {int(key) // 2500 for key in found.keys} == {0, 1}
        assert json.loads(found.lines[0])["year"] == int(found.keys[0])

    def test_a_build_of_it_takes_the_triples_and_pairs_of_its_documents_only(self, tmp_path):
        write_jsonl(tmp_path / "notes.jsonl", records())
        keys = [row["id"] for row in records()]
        write_jsonl(
            tmp_path / "pairs.jsonl", [{"question": f"q{key}?", "answer": "a", "passage_id": key} for key in keys]
        )
        triples = [{"id": key, "triples": [["a", "b", "c"]]} for key in keys]
        write_jsonl(tmp_path / "triples.jsonl", triples)
        path = tmp_path / "recipe.yaml"
        path.write_text(
            "source: notes.jsonl\nqa_pairs: {from: pairs.jsonl}\ntriples: {from: triples.jsonl}\n"
            "indexes: {qa: {type: qa, factory: 'IVF64,Flat'}, graph: {type: graph}}\n"
        )
        recipe = load_recipe(path)
        drawn = sample.draw(recipe, 100)
        (tmp_path / "trial").mkdir()
        written_recipe = sample.sample_recipe(recipe, drawn, 5, tmp_path / "trial")
        for name in ("pairs", "triples"):
            assert len((tmp_path / "trial" / f"{name}.jsonl").read_text().splitlines()) == 5
        assert written_recipe["indexes"]["qa"]["factory"] == "auto"

    def test_what_no_model_reads_is_a_recipe_of_its_own(self, recipe):
        recipe.write_text(
            "source: notes.jsonl\nindexes: {words: {type: bm25}, dense: {type: dense}, both: {type: hybrid, "
            "of: [dense, words]}}\n"
        )
        assert set(sample.of_texts(load_recipe(recipe)).indexes) == {"words"}

    def test_pairs_alone_are_sampled_as_documents_are(self, tmp_path):
        write_jsonl(tmp_path / "pairs.jsonl", [{"question": f"what is {n}?", "answer": "a"} for n in range(50)])
        path = tmp_path / "recipe.yaml"
        path.write_text("qa_pairs: {from: pairs.jsonl}\n")
        drawn = sample.draw(load_recipe(path), 20)
        assert len(drawn.lines) == 20 and not drawn.keys


def test_a_plan_is_made_from_builds_of_the_source(recipe, tmp_path, cli, inline, monkeypatch):
    stay_here(monkeypatch)
    kept = tmp_path / "calibration.json"
    made = cli("plan", recipe, "--documents", 5000, "--seconds", 1, "--calibration", kept, "--json").json
    parts = {part["name"]: part for part in made["parts"]}
    assert {"documents", "chunks", "words", "between units"} <= set(parts)
    assert parts["chunks"]["rows"] == parts["words"]["rows"] == 5000
    assert {asked["index"] for asked in made["questions"]} == {"words"}
    # Nothing is left of the builds.
    assert not (tmp_path / "memories").exists()
    again = cli("plan", recipe, "--documents", 5000, "--calibration", kept, "--json").json
    # The disk has become fuller or emptier meanwhile.
    varying = {"limits": [], "machine": {}}
    assert {**again, **varying} == {**made, **varying}


def test_files_that_results_share_were_built_once(recipe, tmp_path):
    recipe.write_text("source: notes.jsonl\nindexes: {words: {type: bm25}, again: {type: bm25}}\n")
    mnemodex.build(recipe, local=True)
    found = trials.results_of(mnemodex.open(tmp_path / "memories" / "recipe").snapshot.manifest)
    assert "tables/documents" not in found
    assert found["words"].cpu > 0 and found["again"].cpu == 0
    assert found["words"].bytes == found["again"].bytes > 0


@pytest.mark.parametrize(
    ("given", "layout"),
    [
        ({}, "Flat"),
        ({"factory": "HNSW8"}, "HNSW8"),
        ({"factory": "IVF4096,SQ8"}, "IVF4096,SQ8"),
        ({"engine": "hnswlib"}, "hnswlib"),
        ({"memory_budget": "200kB"}, "IVF64,RaBitQ"),
    ],
)
def test_an_index_over_vectors_is_measured_by_itself_as_it_would_be(given, layout):
    settings = DenseSettings(embed="any", **given)
    few = np.random.default_rng(0).standard_normal((50, 16)).astype(np.float32)
    trials = [measure(settings, 10_000, vectors_like(few, rows)) for rows in (400, 800)]
    assert [trial.rows for trial in trials] == [400, 800] and trials[0].probes == 20
    # A hundred rows a list at least, of the 4,096 that many rows would have.
    assert [trial.lists for trial in trials] == ([4, 8] if "IVF" in layout else [0, 0])
    assert layout_of(settings, 10_000, 16) == layout
    assert 1.5 < trials[1].bytes / trials[0].bytes < 2.5
    assert plan_vectors(settings, 10_000, trials).build.value >= 0


def test_vectors_beyond_those_of_the_sample_are_like_them():
    few = np.eye(4, dtype=np.float32)
    many = vectors_like(few, 100)
    assert many.shape == (100, 4) and (many[:4] == few).all()
    assert np.allclose(np.linalg.norm(many, axis=1), 1, atol=1e-5)
    assert vectors_like(few, 2).shape == (2, 4)


def test_weights_that_are_looked_up_are_not_multiplied():
    # Six layers of 384: 6 x 12 x 384^2, and small ones; the table of words has 11.7 million.
    assert parameters(DEFAULT_MODEL) == pytest.approx(6 * 12 * 384**2, rel=0.05)
    assert parameters(DEFAULT_MODEL, with_output=True) > 20_000_000


def test_a_build_of_a_sample_that_fails_says_why(tmp_path):
    with pytest.raises(UserError, match=r"the build of a sample failed: .*nowhere\.json"):
        trials.run_alone(("mnemodex", "build", "nowhere.json"), tmp_path)
    with pytest.raises(StageFailedError, match=r"the build of a sample failed: ValueError"):
        trials.run_alone(("timeit", "-n1", "-r1", "raise ValueError"), tmp_path)


def test_a_budget_that_the_planned_rows_do_not_fit_names_the_index(recipe, tmp_path):
    recipe.write_text("source: notes.jsonl\nindexes: {small: {type: dense, memory_budget: 100kB}}\n")
    mnemodex.build(recipe, local=True)
    builds = [trial(size, indexes=["small"]) for size in (50, 100)]
    with pytest.raises(RecipeError, match=r"indexes\.small: memory_budget of 100,000 bytes: .* 1,000,000 vectors"):
        try_vectors(load_recipe(recipe), tmp_path / "memories" / "recipe", builds, 1_000_000, 1, print)


def test_a_process_of_its_own_has_one_cpu_and_its_output_is_returned(tmp_path):
    output, cpu, memory = trials.run_alone(
        ("timeit", "-n1", "-r1", "-s", "import os", "print(os.sched_getaffinity(0))"), tmp_path
    )
    assert output.startswith("{") and "," not in output.splitlines()[0]
    assert cpu > 0 and memory > 1 << 20
