"""A worker that is given two units at once, as one with a GPU is."""

from __future__ import annotations

import threading

import pytest
from ops_that_fail import Writes, notes, units_of

from mnemodex.pipelines.engine import artifacts_of
from mnemodex.pipelines.ops.base import NoSettings
from mnemodex.pipelines.ops.inputs import Inputs
from mnemodex.pipelines.worker import Worker
from mnemodex.schemas.store.store import Store

CHECKED = []
"""The units whose inputs were checked before it was their turn."""
SECONDS = 20
"""That a test waits for what should come at once."""


class Meets(Writes):
    """Says that it computes, and waits until it may go on."""

    began = threading.Semaphore(0)
    go_on = threading.Semaphore(0)
    at_work = most = 0

    def run(self, inputs, output):
        Meets.at_work += 1
        Meets.most = max(Meets.most, Meets.at_work)
        Meets.began.release()
        assert Meets.go_on.acquire(timeout=SECONDS)
        Meets.at_work -= 1
        return super().run(inputs, output)


class Waiting(Store):
    """A memory whose publishing waits until it may go on."""

    began = threading.Semaphore(0)
    go_on = threading.Semaphore(0)

    def publish(self, *args, **options):
        self.began.release()
        assert self.go_on.acquire(timeout=SECONDS)
        return super().publish(*args, **options)


@pytest.fixture
def answers(tmp_path, monkeypatch):
    """Of the two units of a worker that has begun them both."""
    monkeypatch.setattr("ops_that_fail.Meets", Meets, raising=False)
    monkeypatch.setattr(Inputs, "check", lambda self: CHECKED.append(self.unit.label))
    store = Waiting(tmp_path / "memory")
    store.prepare()
    run, units = units_of(store, notes("Meets", ["first", "second"], NoSettings()))
    worker, given = Worker(store, run, cpus=1, objects={}), {}

    def work(unit):
        given[unit.label] = worker(unit, lambda rows: None)

    threads = [threading.Thread(target=work, args=(unit,), daemon=True) for unit in units]
    for thread in threads:
        thread.start()
    yield given
    Meets.go_on.release(2)
    Waiting.go_on.release(2)
    for thread in threads:
        thread.join(SECONDS)


def test_one_unit_is_computed_while_the_other_one_is_published(answers):
    assert Meets.began.acquire(timeout=SECONDS)
    # The other one waits for it, its inputs checked.
    assert not Meets.began.acquire(timeout=0.2)
    assert len(CHECKED) == 1
    Meets.go_on.release()
    assert Waiting.began.acquire(timeout=SECONDS)
    # It is not published yet, and the other one is at work.
    assert Meets.began.acquire(timeout=SECONDS) and not answers
    Waiting.go_on.release(2)
    Meets.go_on.release()
    for _ in range(100 * SECONDS):
        if len(answers) == 2:
            break
        threading.Event().wait(0.01)
    assert Meets.most == 1
    assert sorted(artifacts_of(answer)[0].label for answer in answers.values()) == ["first", "second"]
