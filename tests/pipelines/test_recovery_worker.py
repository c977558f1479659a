"""What a worker makes of errors, and an engine of units that kill their workers."""

from __future__ import annotations

import errno
import os
import signal

import pytest
from ops_that_fail import Deaths, Error, deaths, notes, units_of
from processes import descendants, send, wait_until
from recovery import WORKER

from mnemodex.pipelines.engine import artifacts_of
from mnemodex.pipelines.ops.base import NoSettings
from mnemodex.pipelines.progress import Progress
from mnemodex.pipelines.ray_engine import MAX_DEATHS, RayEngine
from mnemodex.pipelines.worker import Worker
from mnemodex.schemas.errors import IdCollisionError, NotFiniteError, SourceError, StageFailedError
from mnemodex.schemas.store.store import Store


@pytest.fixture
def store(tmp_path):
    made = Store(tmp_path / "memory")
    made.prepare()
    return made


def answer_of(store, step):
    """What a worker of its own says of the step's only unit."""
    run, (unit,) = units_of(store, step)
    return Worker(store, run, cpus=1, objects={})(unit, lambda rows: None)


def fail(store, name, *arguments):
    return answer_of(store, notes("Fails", ["bad"], Error(name=name, arguments=arguments)))


def left(store):
    """What unfinished work left behind, but for the step itself."""
    return [path for path in store.files.list("work") if not path.startswith("work/run-")]


@pytest.mark.ray
@pytest.mark.usefixtures("ray_session")
class TestDeaths:
    """On Ray, whose workers are killed by SIGKILL."""

    def run(self, store, *, between=None, **times):
        """Work on a unit of each name, which kills so many workers; answers by name, and the deaths.

        With `between`, the last unit waits until the others are done and that was called.
        """
        noted = store.root.parent / "deaths"
        step = notes("Dies", list(times), Deaths(noted=str(noted), times=times))
        run, units = units_of(store, step)
        engine, progress, told = RayEngine(store, run, address=None, objects={}), Progress(), {}
        progress.begin(step.name)

        def work(units):
            while units or engine.busy:
                while units and engine.has_room(step, len(times)):
                    engine.submit(step, units.pop(0))
                told.update({answer.label: answer for answer in engine.wait(progress)})

        try:
            if between is not None:
                last = units.pop()
                work(units)
                between()
                units = [last]
            work(units)
        finally:
            engine.close()
        return told, deaths(noted)

    def test_a_unit_that_kills_every_worker_fails_in_the_end_and_is_named(self, store):
        told, noted = self.run(store, bad=99)
        with pytest.raises(
            StageFailedError, match=f"^notes partition bad: its worker died {MAX_DEATHS} times .*memory"
        ):
            artifacts_of(told["bad"])
        assert noted == ["bad"] * MAX_DEATHS

    @pytest.mark.parametrize("count", range(MAX_DEATHS))
    def test_a_unit_that_kills_fewer_workers_is_done(self, store, count):
        told, noted = self.run(store, shy=count)
        (artifact,) = artifacts_of(told["shy"])
        assert artifact.label == "shy" and noted == ["shy"] * count
        assert store.whole("tables/notes/shy-f") == artifact
        store.clean()
        assert [name for name in store.files.names("work") if not name.startswith("run-")] == []

    def test_deaths_are_counted_for_each_unit_and_each_build_by_itself(self, store):
        times = {"one": MAX_DEATHS - 1, "good": 0, "other": MAX_DEATHS - 1, "bad": 2 * MAX_DEATHS - 1}
        told, noted = self.run(store, **times)
        done = [label for label in times if label != "bad"]
        assert [artifacts_of(told[label])[0].label for label in done] == done
        with pytest.raises(StageFailedError, match="partition bad: "):
            artifacts_of(told["bad"])
        assert noted.count("bad") == MAX_DEATHS
        # The same unit in the next build starts from none.
        told, noted = self.run(store, bad=2 * MAX_DEATHS - 1)
        assert artifacts_of(told["bad"])[0].label == "bad" and noted.count("bad") == 2 * MAX_DEATHS - 1

    def test_a_worker_that_died_while_it_had_nothing_to_do_is_no_units_fault(self, store):
        def kill_all():
            idle = descendants(os.getpid(), WORKER)
            assert idle and all(send(pid, signal.SIGKILL) for pid in idle)
            wait_until(lambda: not set(idle) & set(descendants(os.getpid(), WORKER)))

        told, noted = self.run(store, between=kill_all, one=0, other=0, shy=MAX_DEATHS - 1)
        assert [artifacts_of(told[label])[0].label for label in told] == list(told) and len(told) == 3
        assert noted == ["shy"] * (MAX_DEATHS - 1)


def test_what_is_done_is_published_and_leaves_nothing_behind(store):
    (artifact,) = artifacts_of(answer_of(store, notes("Writes", ["good"], NoSettings())))
    assert store.whole("tables/notes/good-f") == artifact
    assert left(store) == []


def test_what_failed_leaves_nothing_behind(store):
    fail(store, "ValueError", "no")
    assert store.whole("tables/notes/bad-f") is None
    assert left(store) == [] and list(store.files.list("tables")) == []


@pytest.mark.parametrize("error", [SourceError("a.jsonl line 3: no"), NotFiniteError("NaN"), IdCollisionError("two")])
def test_an_error_of_ours_comes_back_as_itself(store, error):
    answer = fail(store, type(error).__name__, str(error))
    with pytest.raises(type(error)) as raised:
        artifacts_of(answer)
    assert str(raised.value) == str(error)
    assert "Traceback" in str(raised.value.__cause__)


def test_any_other_error_is_a_failed_stage_that_names_the_partition(store):
    with pytest.raises(StageFailedError, match=r"^notes partition bad: ValueError: no such thing$"):
        artifacts_of(fail(store, "ValueError", "no such thing"))
    # As is what a step says of itself.
    with pytest.raises(StageFailedError, match=r"^notes partition bad: nothing to write$"):
        artifacts_of(fail(store, "StageFailedError", "nothing to write"))


def test_a_full_disk_is_said_to_be_full(store, monkeypatch):
    told = fail(store, "OSError", errno.ENOSPC, "No space left on device")
    with pytest.raises(StageFailedError, match=r"partition bad: no space left on the disk .* build again"):
        artifacts_of(told)
    # Libraries in C fail in their own words.
    with monkeypatch.context() as patch:
        patch.setattr("mnemodex.schemas.store.local_files.LocalFiles.is_full", lambda self: True)
        told = fail(store, "RuntimeError", "write error")
    with pytest.raises(StageFailedError, match=r"no space left on the disk \(write error\)"):
        artifacts_of(told)
