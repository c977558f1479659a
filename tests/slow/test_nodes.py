"""Builds on clusters of several nodes: one that dies, one without the package, two that build one memory."""

from __future__ import annotations

import re
import threading
from pathlib import Path

import pytest
from library import records, words_recipe, write_jsonl, write_parts
from ops_that_note import carry_out, read_notes, step
from passed_objects import Slow
from processes import wait_until

import mnemodex
from mnemodex.pipelines.verify import verify
from mnemodex.schemas.errors import NodeError, WriterBusyError
from mnemodex.schemas.steps import Range, Read
from mnemodex.schemas.store.store import Store
from mnemodex.schemas.tables import TableKey

pytestmark = pytest.mark.slow


def test_a_node_that_is_killed_during_a_gather_costs_its_units_only(cluster, tmp_path):
    nodes = [cluster.add_node(num_cpus=2, object_store_memory=100 << 20) for _ in range(2)]
    path = tmp_path / "notes"
    victim = nodes[0]

    def kill():
        wait_until(lambda: any(note.node == victim.node_id for note in read_notes(path, "gather")))
        cluster.remove_node(victim, allow_graceful=False)

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    store = Store(tmp_path / "memory")
    results = carry_out(
        store,
        step("scatter", path, 0.1, units=8),
        step("gather", path, 3, Read(TableKey("scatter"), Range(8))),
    )
    killer.join(timeout=10)
    assert not killer.is_alive()
    finished = [note for note in read_notes(path, "gather") if note.ended]
    lost = [note for note in read_notes(path, "gather") if note.ended is None]
    assert {note.node for note in lost} == {victim.node_id}
    # Every bucket is there once; those of the dead node were gathered by others.
    assert sorted(note.label for note in finished) == [f"{bucket:05d}" for bucket in range(8)]
    assert all(note.began > lost[0].began for note in finished if note.label in {one.label for one in lost})
    gathered = results.steps["gather"].parts
    assert [store.files.read(part.files[0].path).decode() for part in gathered] == sorted(n.label for n in finished)
    assert len(read_notes(path, "scatter")) == 8


def test_a_node_without_the_package_is_refused_by_its_name(cluster, tmp_path, monkeypatch):
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "class Hidden:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name.partition('.')[0] == 'mnemodex':\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Hidden())\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    bare = cluster.add_node(num_cpus=4, object_store_memory=100 << 20)
    recipe = words_recipe(write_jsonl(tmp_path / "notes.jsonl", records()[:4]), tmp_path / "memory")
    with pytest.raises(NodeError) as raised:
        mnemodex.build(recipe, address=cluster.address)
    message = (
        rf"node \S+ \({bare.node_id[:12]}\) cannot take part in the build: No module named 'mnemodex' .*; install the "
        "same package on all nodes, or pass it with --runtime-env"
    )
    assert re.fullmatch(message, str(raised.value))


def test_of_two_nodes_that_build_one_memory_the_second_is_refused(cluster, tmp_path):
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    nodes = [cluster.add_node(num_cpus=2, object_store_memory=100 << 20) for _ in range(2)]
    source = write_parts(tmp_path / "notes", records()[:8], 2)
    recipe = {"source": {"path": str(source)}, "memory": str(tmp_path / "memory")}
    recipe["indexes"] = {"dense": {"type": "dense", "factory": "Flat"}}
    address = cluster.address

    def build(seconds):
        try:
            return mnemodex.build(recipe, encoders={"mine": Slow(seconds=seconds)}, address=address).committed
        except WriterBusyError as error:
            return str(error)

    def on(node):
        where = NodeAffinitySchedulingStrategy(node.node_id, soft=False)
        return ray.remote(build).options(num_cpus=0, scheduling_strategy=where)

    first = on(nodes[0]).remote(5)
    wait_until(lambda: list((tmp_path / "memory").glob("tables/chunks/*.json")))
    assert "another build" in ray.get(on(nodes[1]).remote(0))
    assert ray.get(first) is True
    assert verify(tmp_path / "memory").problems == []
    assert not [name for name in Path(tmp_path / "memory" / "work").iterdir() if name.name.startswith("attempt-")]
