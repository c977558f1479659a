"""The engine on a real Ray: the same memory as without it, errors by partition, and lines of progress."""

from __future__ import annotations

import hashlib
import logging

import pytest
from engines import InlineEngine
from library import records, write_parts

import mnemodex
from mnemodex.pipelines import build as build_module
from mnemodex.pipelines.engine import Engine
from mnemodex.pipelines.jobs import JobSpec, Unit
from mnemodex.pipelines.progress import Progress
from mnemodex.pipelines.verify import verify
from mnemodex.schemas.errors import CorruptFileError, StageFailedError
from mnemodex.schemas.manifest import Artifact, FileEntry
from mnemodex.schemas.store.store import Store, open_store

INDEXES = {
    "dense": {"type": "dense"},
    "words": {"type": "bm25"},
    "both": {"type": "hybrid", "of": ["dense", "words"]},
}
CHUNK = JobSpec("mnemodex.pipelines.jobs:TableJob", {"stage": "chunk", "settings": {"chunks": {}, "id_salt": ""}})


def unit_of(store, label, content):
    """A chunk unit whose documents partition holds these bytes."""
    path = f"tables/documents/{label}-0.parquet"
    file = store.files.root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    entry = FileEntry(path=path, bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
    artifact = Artifact(label=label, fingerprint="0", rows=1, files=(entry,))
    return Unit("tables/chunks", label, "f" * 20, {"input": artifact.model_dump(mode="json")})


@pytest.mark.ray
def test_a_build_on_ray_is_the_build_without_it(tmp_path, ray_session, monkeypatch, caplog):
    recipe = {
        "source": {"path": str(write_parts(tmp_path / "notes", records()[:9], 3))},
        "memory": str(tmp_path / "ray"),
        "indexes": INDEXES,
    }
    with caplog.at_level(logging.INFO, logger="mnemodex"):
        result = mnemodex.build(recipe)
    lines = [record.getMessage() for record in caplog.records if record.name == "mnemodex"]
    for stage in ("documents", "chunks", "embeddings/minilm", "words"):
        assert any(line.startswith(f"{stage}: 3 of 3 partitions, 9 rows, ") for line in lines), lines
    assert {stage.name: stage.computed for stage in result.stages}["embeddings/minilm"] == 3
    assert mnemodex.build(recipe).committed is False

    monkeypatch.setattr(build_module, "Engine", InlineEngine)
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
def test_a_partition_that_fails_is_named_and_the_others_are_kept(tmp_path, ray_session):
    store = Store(tmp_path / "memory")
    store.prepare()
    engine = Engine(store)
    with pytest.raises(StageFailedError, match="tables/chunks partition poisoned: Arrow") as caught:
        list(engine.run(CHUNK, [unit_of(store, "poisoned", b"no Parquet at all")]))
    assert "Traceback" in str(caught.value.__cause__)
    engine.close()


@pytest.mark.ray
def test_an_error_of_ours_keeps_its_class_on_the_way_from_an_actor(tmp_path, ray_session):
    store = Store(tmp_path / "memory")
    store.prepare()
    unit = unit_of(store, "changed", b"one content")
    (tmp_path / "memory" / "tables/documents/changed-0.parquet").write_bytes(b"two content")
    with pytest.raises(CorruptFileError, match="differs from its checksum"):
        list(Engine(store).run(CHUNK, [unit]))


@pytest.mark.ray
def test_ray_that_was_there_before_is_left_running(tmp_path, ray_session):
    import ray

    engine = Engine(Store(tmp_path))
    engine.start()
    assert engine.start_seconds < 5
    engine.close()
    assert ray.is_initialized()


def test_without_units_ray_is_not_touched(tmp_path, monkeypatch):
    engine = Engine(Store(tmp_path))
    monkeypatch.setattr(engine, "start", lambda: pytest.fail("started"))
    assert list(engine.run(CHUNK, [])) == []
    engine.close()


class TestProgress:
    def artifact(self, rows):
        return Artifact(label="p", fingerprint="f", rows=rows, files=(FileEntry(path="a", bytes=5, sha256=""),))

    def test_a_stage_counts_what_was_found_and_what_was_computed(self, caplog):
        progress = Progress()
        with (
            caplog.at_level(logging.INFO, logger="mnemodex"),
            progress.stage("chunks", partitions=3, found=[self.artifact(7)], todo=2) as stage,
        ):
            stage.done(self.artifact(2))
            stage.done(self.artifact(3))
        (report,) = progress.stages
        assert (report.name, report.partitions, report.computed) == ("chunks", 3, 2)
        assert (report.rows, report.computed_rows, report.bytes) == (12, 5, 15)
        assert report.rate == pytest.approx(5 / report.seconds)
        assert [r.getMessage().rsplit(",", 1)[0] for r in caplog.records] == ["chunks: 2 of 2 partitions, 5 rows"]

    def test_a_stage_with_nothing_to_do_says_nothing(self, caplog):
        progress = Progress()
        with caplog.at_level(logging.INFO), progress.stage("chunks", partitions=1, found=[self.artifact(7)], todo=0):
            pass
        assert caplog.records == [] and progress.stages[0].rate is None

    def test_long_stages_say_a_line_now_and_then(self, caplog, monkeypatch):
        from mnemodex.pipelines import progress as module

        clock = iter(range(0, 1000, 4))
        monkeypatch.setattr(module.time, "perf_counter", lambda: next(clock))
        with caplog.at_level(logging.INFO), Progress().stage("embed", partitions=6, found=[], todo=6) as stage:
            for _ in range(6):
                stage.done(self.artifact(1))
        lines = [record.getMessage() for record in caplog.records]
        assert 2 <= len(lines) < 6 and lines[-1].startswith("embed: 6 of 6")

    def test_bars_are_drawn_on_stderr_only(self, capsys):
        with Progress(bars=True).stage("embed", partitions=2, found=[], todo=2) as stage:
            stage.done(self.artifact(1))
            stage.done(self.artifact(1))
        assert capsys.readouterr().out == ""
