"""Engines: the one in this process, and a real Ray, which makes the same memory and gives errors by partition."""

from __future__ import annotations

import gzip
import json
import logging
import os
import re
from types import SimpleNamespace

import numpy as np
import pytest
from engines import InlineEngine
from library import records, words_recipe, write_jsonl, write_parts
from processes import descendants
from workshop import Workshop

import mnemodex
from mnemodex.pipelines import engine, ray_engine
from mnemodex.pipelines import run as run_module
from mnemodex.pipelines.documents.steps import document_steps
from mnemodex.pipelines.engine import LocalEngine, artifacts_of
from mnemodex.pipelines.progress import Progress
from mnemodex.pipelines.ray_engine import RayEngine
from mnemodex.pipelines.source_plan import plan_source
from mnemodex.pipelines.stages.chunk import ChunkSettings, ChunkStage
from mnemodex.pipelines.unit import Draft
from mnemodex.pipelines.verify import verify
from mnemodex.schemas.errors import CorruptFileError, MnemodexError, StageFailedError, UserError
from mnemodex.schemas.recipe import parse_recipe
from mnemodex.schemas.steps import Read, Resources, Step
from mnemodex.schemas.store.store import Store, open_store
from mnemodex.schemas.tables import CHUNKS, DOCUMENTS

INDEXES = {
    "dense": {"type": "dense"},
    "words": {"type": "bm25"},
    "both": {"type": "hybrid", "of": ["dense", "words"]},
}
ROWS = [{"id": str(number), "title": "", "text": "Gulls sleep on the mast."} for number in range(2000)]


def chunk_step(**resources):
    return Step(
        "chunks",
        "mnemodex.pipelines.stages.chunk:ChunkStage",
        (Read(DOCUMENTS, columns=ChunkStage.columns),),
        (CHUNKS,),
        ChunkSettings(chunker={"by": "document"}),
        resources=Resources(**resources),
    )


def carried_out(engine, step, units):
    """Have an engine compute units of a step, as a build does; its answers."""
    progress, answers, waiting = Progress(), [], list(units)
    progress.begin(step.name)
    while waiting or engine.busy:
        while waiting and engine.has_room(step, len(units)):
            progress.todo(step.name)
            engine.submit(step, waiting.pop(0))
        answers += engine.wait(progress)
    return answers


@pytest.fixture
def shop(tmp_path):
    return Workshop(tmp_path / "memory")


@pytest.fixture
def on_ray(shop, ray_session):
    made = RayEngine(shop.store, shop.files.run, address=None, objects={})
    yield made
    made.close()


def units_of(shop, step, *artifacts):
    """Units of one partition each."""
    shop.files.add(step)
    drafts = [Draft(artifact.label, [[artifact]]) for artifact in artifacts]
    return [shop.files.unit(step, draft, f"{number:020d}") for number, draft in enumerate(drafts)]


def poisoned(shop, label="poisoned"):
    """A partition of documents that is no Parquet file."""

    def write(folder):
        (folder / "data.parquet").write_bytes(b"no Parquet at all")
        return 1

    return shop.publish(DOCUMENTS, label, write)


def whole(shop, label, text="Gulls sleep."):
    row = {"doc_id": 1, "key": "k", "title": "", "text": text, "metadata": "{}", "content_hash": "", "source": "s"}
    return shop.table(DOCUMENTS, [{**row, "line": 1}], label)


@pytest.mark.ray
def test_a_build_on_ray_is_the_build_without_it(tmp_path, ray_session, monkeypatch, caplog):
    recipe = {
        "source": {"path": str(write_parts(tmp_path / "notes", records()[:9], 3))},
        "memory": str(tmp_path / "ray"),
        "indexes": INDEXES,
    }
    with caplog.at_level(logging.INFO, logger="mnemodex"):
        result = mnemodex.build(recipe, address="local")
    lines = [record.getMessage() for record in caplog.records if record.name == "mnemodex"]
    for step in ("documents", "chunks", "embeddings/minilm", "words"):
        assert any(line.startswith(f"{step}: 3 of 3 partitions, 9 rows, ") for line in lines), lines
    assert {step.name: step.computed for step in result.steps}["embeddings/minilm"] == 3
    assert result.engine == "Ray"
    assert mnemodex.build(recipe, address="local").committed is False

    monkeypatch.setattr(run_module, "choose_engine", InlineEngine)
    mnemodex.build({**recipe, "memory": str(tmp_path / "inline")})
    on_ray, inline = (open_store(tmp_path / name)[1] for name in ("ray", "inline"))
    assert on_ray.same_content(inline)
    assert verify(tmp_path / "ray").problems == []
    assert not any(path.name.startswith(("attempt-", "run-")) for path in (tmp_path / "ray" / "work").iterdir())
    for name in INDEXES:
        answers = [
            mnemodex.open(tmp_path / folder).retriever(name).search(["rye bread", "ships"], 4).chunks()
            for folder in ("ray", "inline")
        ]
        first, second = ([[chunk.key for chunk in row] for row in answer] for answer in answers)
        assert [row[0] for row in first] == [row[0] for row in second]


@pytest.mark.ray
def test_a_partition_that_fails_is_named_and_the_others_are_kept(shop, on_ray):
    step = chunk_step()
    bad, good = carried_out(on_ray, step, units_of(shop, step, poisoned(shop), whole(shop, "whole")))
    if bad.label == "whole":
        bad, good = good, bad
    with pytest.raises(StageFailedError, match="chunks partition poisoned: Arrow") as caught:
        artifacts_of(bad)
    assert "Traceback" in str(caught.value.__cause__)
    (artifact,) = artifacts_of(good)
    assert shop.read(artifact)["text"].to_pylist() == ["Gulls sleep."]


@pytest.mark.ray
def test_an_error_of_ours_keeps_its_class_on_the_way_from_a_worker(shop, on_ray):
    step, changed = chunk_step(), poisoned(shop, "changed")
    path = shop.store.root / changed.file(".parquet").path
    path.write_bytes(path.read_bytes().upper())
    (answer,) = carried_out(on_ray, step, units_of(shop, step, changed))
    with pytest.raises(CorruptFileError, match="differs from its checksum"):
        artifacts_of(answer)


@pytest.mark.ray
def test_ray_that_was_there_before_is_left_running(shop, on_ray):
    import ray

    step = chunk_step()
    carried_out(on_ray, step, units_of(shop, step, whole(shop, "p")))
    assert on_ray.start_seconds < 5
    on_ray.close()
    assert ray.is_initialized()


@pytest.mark.ray
@pytest.mark.parametrize(("resources", "workers"), [({}, 2), ({"workers": 1}, 1), ({"threads": True}, 2)])
def test_there_are_as_many_workers_as_a_step_may_have(shop, on_ray, resources, workers):
    step = chunk_step(**resources)
    units = units_of(shop, step, *(whole(shop, f"p{number}", f"Gull {number}.") for number in range(4)))
    before = set(descendants(os.getpid(), "ray::MnemodexWorker"))
    assert sorted(answer.label for answer in carried_out(on_ray, step, units)) == ["p0", "p1", "p2", "p3"]
    assert len(set(descendants(os.getpid(), "ray::MnemodexWorker")) - before) == workers


@pytest.mark.ray
def test_a_worker_goes_for_one_of_another_shape(shop, on_ray):
    small, large = chunk_step(), chunk_step(cpus=2)
    artifacts = [whole(shop, f"p{number}", f"Gull {number}.") for number in range(2)]
    carried_out(on_ray, small, units_of(shop, small, *artifacts))
    step = Step("again", large.op, large.reads, large.writes, large.settings, resources=large.resources)
    answers = carried_out(on_ray, step, units_of(shop, step, *artifacts))
    assert all(len(artifacts_of(answer)) == 1 for answer in answers) and len(answers) == 2


@pytest.mark.ray
@pytest.mark.parametrize("resources", [{"gpus": 1}, {"cpus": 99}])
def test_a_step_that_wants_more_than_any_node_has_is_given_what_there_is(shop, on_ray, resources):
    step = chunk_step(**resources)
    (answer,) = carried_out(on_ray, step, units_of(shop, step, whole(shop, "p")))
    assert len(artifacts_of(answer)) == 1


@pytest.mark.ray
@pytest.mark.parametrize(("ending", "workers"), [(".gz", 1), ("", 2)])
def test_the_splits_of_a_compressed_file_go_to_one_worker(shop, on_ray, tmp_path, ending, workers):
    path = tmp_path / f"notes.jsonl{ending}"
    lines = "".join(json.dumps(row) + "\n" for row in ROWS * 2).encode()
    path.write_bytes(gzip.compress(lines) if ending else lines)
    recipe = parse_recipe(words_recipe(path, tmp_path / "memory"), name="r", base=tmp_path)
    splits = plan_source(shop.store, recipe).units
    step = next(iter(document_steps(SimpleNamespace(recipe=recipe), splits)))
    shop.files.add(step)
    units = [shop.files.unit(step, Draft(one.label, [], source=one), one.content[:20]) for one in step.source]
    before = set(descendants(os.getpid(), "ray::MnemodexWorker"))
    answers = carried_out(on_ray, step, units)
    assert sum(artifacts_of(answer)[0].rows for answer in answers) == 4000 and len(answers) == 4
    assert len(set(descendants(os.getpid(), "ray::MnemodexWorker")) - before) == workers


class Sentences:
    """A chunker that a caller passes."""

    identity = "sentences"

    def spans(self, texts):
        return [np.array([[0, len(text)]], np.int64) for text in texts]


def test_without_units_ray_is_not_touched(tmp_path, monkeypatch):
    monkeypatch.setattr(ray_engine, "start_ray", lambda address: pytest.fail("started"))
    engine = RayEngine(Store(tmp_path), "work/run", address="local", objects={})
    assert engine.busy == 0
    engine.close()
    recipe = words_recipe(write_jsonl(tmp_path / "notes.jsonl", records()[:2]), tmp_path / "memory")
    assert mnemodex.build(recipe, local=True).committed
    assert not mnemodex.build(recipe, address="local").committed


class TestEstimate:
    def test_work_grows_with_the_source_and_with_what_is_made_of_it(self, tmp_path, monkeypatch, inline):
        asked = []

        def choose(store, run, work, **options):
            asked.append(work)
            return InlineEngine(store, run, work, **options)

        monkeypatch.setattr(run_module, "choose_engine", choose)
        for number, (rows, sections) in enumerate(
            [(ROWS[:200], {}), (ROWS[:400], {}), (ROWS[:200], {"ngram_pairs": {"spans": {"unsupervised": 1}}})]
        ):
            source = write_jsonl(tmp_path / f"{number}.jsonl", rows)
            mnemodex.build(words_recipe(source, tmp_path / f"memory-{number}", **sections))
        assert asked[0] < asked[1] and asked[0] < asked[2]
        assert asked[1] < engine.LOCAL_SECONDS

    def test_a_model_makes_a_large_source_worth_a_ray(self, tmp_path, monkeypatch):
        asked = []

        def choose(store, run, work, **options):
            asked.append(work)
            raise UserError("chosen")

        monkeypatch.setattr(run_module, "choose_engine", choose)
        source = write_jsonl(tmp_path / "notes.jsonl", ROWS * 5)
        with pytest.raises(MnemodexError, match="chosen"):
            mnemodex.build({"source": str(source), "memory": str(tmp_path / "memory"), "indexes": INDEXES})
        assert asked[0] > engine.LOCAL_SECONDS


def test_the_local_engine_works_on_one_unit_after_the_other(shop):
    engine = LocalEngine(shop.store, shop.files.run, cpus=1, objects={})
    step = chunk_step()
    first, second = units_of(shop, step, whole(shop, "p"), poisoned(shop))
    assert engine.has_room(step, 2) and engine.busy == 0
    engine.submit(step, first)
    assert not engine.has_room(step, 2) and engine.busy == 1
    progress = Progress()
    progress.begin("chunks")
    progress.todo("chunks")
    (answer,) = engine.wait(progress)
    assert (answer.step, answer.label, engine.busy) == ("chunks", "p", 0)
    engine.submit(step, second)
    (answer,) = engine.wait(progress)
    with pytest.raises(StageFailedError, match="chunks partition poisoned: Arrow"):
        artifacts_of(answer)
    engine.close()


@pytest.mark.ray
def test_a_worker_that_cannot_start_is_one_message_with_the_reason(tmp_path, ray_session):
    source = write_jsonl(tmp_path / "notes.jsonl", [{"id": "a", "title": "", "text": "Gulls sleep."}])
    # Workers find no tests, as they find no module that is on the driver's node only.
    with pytest.raises(MnemodexError) as raised:
        mnemodex.build(words_recipe(source, tmp_path / "memory"), chunker=Sentences(), address="local")
    reason = r"\(ModuleNotFoundError: No module named 'test_engine'\)\. Install the same packages on all nodes"
    assert re.fullmatch(rf"a worker on node \w+ could not start {reason}", str(raised.value))
