"""Builds on clusters of several nodes: one that dies, one without the package, two that build one memory."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest
from library import records, words_recipe, write_jsonl, write_parts, write_triples
from passed_objects import Slow
from processes import wait_until
from recovery import assert_same, stop_one_at_work

import mnemodex
from mnemodex.pipelines.graph import steps as graph_steps
from mnemodex.pipelines.ray_engine import MAX_DEATHS, RayEngine
from mnemodex.pipelines.verify import verify
from mnemodex.schemas.errors import NodeError, WriterBusyError

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("step", ["facts and entities: sort", "facts and entities"], ids=["scatter", "gather"])
def test_a_node_that_is_killed_in_the_midst_of_a_unit_costs_that_unit_only(cluster, tmp_path, monkeypatch, step):
    # Ranges of ids of which there are several.
    monkeypatch.setattr(graph_steps, "_RANGE_ROWS", 8)
    rows = records()
    recipe = words_recipe(write_parts(tmp_path / "notes", rows, 8), tmp_path / "memory")
    recipe["triples"] = {"from": str(write_triples(tmp_path / "triples.jsonl", rows))}
    mnemodex.build({**recipe, "memory": str(tmp_path / "undisturbed")}, local=True)
    victim, _ = [cluster.add_node(num_cpus=1, object_store_memory=100 << 20) for _ in range(2)]
    raylet = victim.all_processes["raylet"][0].process.pid
    begun, killed, begin = defaultdict(list), [], RayEngine._begin

    def begin_and_kill(engine, worker, unit):
        begin(engine, worker, unit)
        begun[unit.step, unit.label].append(worker.node.name)
        if not killed and unit.step == step and worker.node.name == victim.node_id:
            wait_until(lambda: is_answered(engine, unit) or stop_one_at_work(raylet, tmp_path / "memory"))
            if not is_answered(engine, unit):
                cluster.remove_node(victim, allow_graceful=False)
                killed.append((unit.step, unit.label))

    monkeypatch.setattr(RayEngine, "_begin", begin_and_kill)
    assert mnemodex.build(recipe, address=cluster.address).committed
    assert len([unit for unit in begun if unit[0] == step]) > 2
    assert len(begun[killed[0]]) > 1
    # Ray may not know for a moment that the node is gone.
    assert {node for nodes in begun.values() for node in nodes[:-1]} == {victim.node_id}
    assert_same(tmp_path / "memory", tmp_path / "undisturbed")


def is_answered(engine, unit):
    import ray

    (reference,) = [reference for reference, (_, running) in engine._running.items() if running is unit]
    return bool(ray.wait([reference], timeout=0)[0])


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


def test_a_unit_whose_worker_ray_stops_for_want_of_memory_says_so(tmp_path):
    recipe = words_recipe(write_jsonl(tmp_path / "notes.jsonl", records()[:4]), tmp_path / "memory")
    (tmp_path / "recipe.yaml").write_text(json.dumps(recipe))
    # Whatever the machine uses is too much.
    env = {**os.environ, "RAY_memory_usage_threshold": "0.0001", "RAY_memory_monitor_refresh_ms": "100"}
    command = [sys.executable, "-m", "mnemodex", "build", str(tmp_path / "recipe.yaml"), "--address", "local"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (
        1,
        f"error: documents partition notes.jsonl-00000: its worker died {MAX_DEATHS} times (Ray stopped it, as its "
        "node was short of memory). Use nodes with more memory, or have fewer workers share it: `ray start --num-cpus "
        "N` on each node, and --address",
    )
