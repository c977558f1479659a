"""What a worker makes of units that kill it, and of errors."""

from __future__ import annotations

import errno
import json
from dataclasses import asdict

import pytest

from mnemodex.pipelines.jobs import JobSpec, Unit
from mnemodex.pipelines.worker import MAX_DEATHS, Worker, result
from mnemodex.schemas.errors import IdCollisionError, NotFiniteError, SourceError, StageFailedError
from mnemodex.schemas.store.store import Store


@pytest.fixture
def store(tmp_path):
    made = Store(tmp_path / "memory")
    made.prepare()
    return made


def unit(label: str, **payload) -> str:
    return Unit("tables/notes", label, "f", payload).to_json()


def worker(store: Store, run: str = "run-1", *, job: str = "Dies", **settings) -> Worker:
    settings = {"deaths": str(store.root.parent / "deaths"), **settings}
    return Worker(str(store.root), json.dumps(asdict(JobSpec(f"jobs_that_fail:{job}", settings))), 1, run)


def restart(store: Store, text: str, times: int, **options) -> str:
    """Give a unit to new workers as Ray does: again after each death, so many times at most."""
    for _ in range(times):
        try:
            return worker(store, **options)(text)
        except SystemExit:
            continue
    pytest.fail(f"it killed {times} workers")


def test_a_unit_that_kills_every_worker_fails_in_the_end_and_is_named(store):
    with pytest.raises(StageFailedError, match=f"tables/notes partition bad: .*its worker died {MAX_DEATHS} times"):
        result(restart(store, unit("bad", die=99), MAX_DEATHS + 1))
    assert (store.root.parent / "deaths").read_text() == "bad" * MAX_DEATHS


@pytest.mark.parametrize("deaths", range(MAX_DEATHS))
def test_a_unit_that_kills_fewer_workers_is_done(store, deaths):
    (artifact,) = result(restart(store, unit("shy", die=deaths), MAX_DEATHS))
    assert artifact["label"] == "shy"
    assert store.whole("tables/notes/shy-f") is not None


def test_deaths_are_counted_for_each_unit_and_each_run_by_itself(store):
    bad = unit("bad", die=MAX_DEATHS)
    for _ in range(MAX_DEATHS - 1):
        with pytest.raises(SystemExit):
            worker(store)(bad)
    # The other unit, and the same unit in the next build, start from none.
    assert result(worker(store)(unit("good")))[0]["label"] == "good"
    with pytest.raises(SystemExit):
        worker(store, "run-2")(bad)
    assert result(worker(store, "run-2")(bad))[0]["label"] == "bad"


def test_a_unit_that_is_done_or_fails_leaves_no_count_behind(store):
    worker(store)(unit("good"))
    worker(store, job="Fails", error=["ValueError", "no"])(unit("bad"))
    assert list(store.files.walk("work")) == []


@pytest.mark.parametrize("error", [SourceError("a.jsonl line 3: no"), NotFiniteError("NaN"), IdCollisionError("two")])
def test_an_error_of_ours_comes_back_as_itself(store, error):
    answer = worker(store, job="Fails", error=[type(error).__name__, str(error)])(unit("bad"))
    with pytest.raises(type(error)) as raised:
        result(answer)
    assert str(raised.value) == str(error)
    assert "Traceback" in str(raised.value.__cause__)


def test_any_other_error_is_a_failed_stage_that_names_the_partition(store):
    answer = worker(store, job="Fails", error=["ValueError", "no such thing"])(unit("bad"))
    with pytest.raises(StageFailedError, match=r"^tables/notes partition bad: ValueError: no such thing$"):
        result(answer)


def test_a_full_disk_is_said_to_be_full(store, monkeypatch):
    told = worker(store, job="Fails", error=["OSError", errno.ENOSPC, "No space left on device"])(unit("bad"))
    with pytest.raises(StageFailedError, match=r"partition bad: no space left on the disk .* run the build again"):
        result(told)
    # Libraries in C fail in their own words.
    monkeypatch.setattr("mnemodex.schemas.store.files.LocalFiles.is_full", lambda self: True)
    told = worker(store, job="Fails", error=["RuntimeError", "write error"])(unit("bad"))
    with pytest.raises(StageFailedError, match=r"no space left on the disk \(write error\)"):
        result(told)
