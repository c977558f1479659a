"""Which steps run when and where on a node of 16 CPUs and a GPU: made-up ones, for the machine need not have them."""

from __future__ import annotations

import pytest
from ops_that_note import carry_out, read_notes, step

from mnemodex.schemas.steps import All, Each, Read
from mnemodex.schemas.store.store import Store
from mnemodex.schemas.tables import TableKey

pytestmark = pytest.mark.slow

TEXTS, PIECES = TableKey("texts"), TableKey("pieces")


@pytest.fixture(scope="module")
def notes(big_node, tmp_path_factory):
    """What the units of a build said of themselves."""
    folder = tmp_path_factory.mktemp("resources")
    path = folder / "notes"
    results = carry_out(
        Store(folder / "memory"),
        step("texts", path, 0.2, units=40),
        step("pieces", path, 0.5, Read(TEXTS, Each())),
        step("vectors", path, 0.2, Read(PIECES, Each()), gpus=1, threads=True),
        step("graph", path, 0.5, Read(PIECES, All()), threads=True),
        step("suffixes", path, 0.5, Read(TEXTS, Each()), threads=True),
    )
    assert all(results.complete(TableKey(name)) for name in results.steps)
    return lambda name: read_notes(path, name)


def test_only_a_step_that_asks_for_a_gpu_holds_it(notes):
    assert {note.gpus for note in notes("vectors")} == {1}
    for name in ("texts", "pieces", "graph", "suffixes"):
        assert {note.gpus for note in notes(name)} == {0}, name


def test_one_worker_with_a_gpu_outlives_all_partitions(notes):
    assert len({note.pid for note in notes("vectors")}) == 1 and len(notes("vectors")) == 40


def test_a_partition_is_embedded_while_the_next_one_is_chunked(notes):
    embedded = [note for note in notes("vectors") if any(note.meets(other) for other in notes("pieces"))]
    assert len(embedded) >= 2
    # Those of the GPU do not wait for the end of a step of the CPUs.
    assert min(note.began for note in notes("vectors")) < min(note.ended for note in notes("pieces")[-10:])


def test_a_step_of_one_unit_has_all_cpus_but_that_of_the_gpu(notes):
    (graph,) = notes("graph")
    assert graph.cpus == 15


def test_a_step_of_many_units_has_fifteen_of_them_at_once(notes):
    units = notes("suffixes")
    assert {note.cpus for note in units} == {1}
    most = max(sum(note.began <= other.began < note.ended for note in units) for other in units)
    both = notes("suffixes") + notes("pieces") + notes("texts")
    most = max(most, *(sum(note.began <= other.began < note.ended for note in both) for other in both))
    assert most == 15


def test_workers_of_cpus_go_on_to_the_next_step(notes):
    pids = {note.pid for name in ("texts", "pieces", "suffixes") for note in notes(name)}
    assert len(pids) <= 15
