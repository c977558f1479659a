"""Calibrations without processes of their own and without Ray, and one that is written by hand."""

from __future__ import annotations

import io
import sys
import time
from contextlib import redirect_stdout
from importlib import import_module

import pytest

import mnemodex
from mnemodex.pipelines.planner import calibration, searches, trials, vectors
from mnemodex.pipelines.planner.figures import Calibration, ResultCost, SearchTrial, TrialBuild, UnitCost, VectorTrial


def run_here(words, cwd):
    """What a process of its own would do, in this one."""
    began, output = time.process_time(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(output):
        patch.setattr(sys, "argv", [words[0], *words[1:]])
        if words[0] == "mnemodex":
            mnemodex.build(words[2], local=True)
        else:
            import_module(words[0]).main()
    return output.getvalue(), time.process_time() - began, 500 << 20


def stay_here(patch):
    """Let calibrations use no other process."""
    for module in (trials, searches, vectors):
        patch.setattr(module, "run_alone", run_here)
    patch.setattr(calibration, "build_with_ray", trials.build_sample)


def trial(documents, *, indexes=(), cpu=0.001, size=100):
    """A build whose costs grow with its documents: so many seconds and bytes each."""
    unit = UnitCost(rows=documents, cpu=cpu * documents, files={".parquet": 1000 + size * documents})
    shard = UnitCost(rows=documents, cpu=2 * cpu * documents, files={"data.npy": size * documents})
    results = {
        "documents": ResultCost(cut="partitions", units=(unit,)),
        "chunks": ResultCost(cut="partitions", units=(unit,)),
        **{name: ResultCost(cut="shards", units=(shard,), shard_rows=1_000_000) for name in indexes},
    }
    spent = sum(cost.cpu for cost in results.values())
    return TrialBuild(
        documents=documents,
        source_bytes=300 * documents,
        cpu=3 + spent,
        seconds=5,
        peak_bytes=400 << 20,
        results=results,
    )


def vector_trial(rows, *, lists=0, parameter=None, dimension=64):
    """An index over vectors whose costs follow the laws exactly."""
    probes = min(500, rows // 20)
    return VectorTrial(
        rows=rows,
        dimension=dimension,
        lists=lists,
        parameter=parameter,
        values=1,
        probes=probes,
        train=1e-9 * rows * lists,
        add=1e-6 * rows,
        exact=1e-8 * probes * rows,
        probe=1e-8 * probes * rows,
        bytes=4 * dimension * rows + 45,
        cache=1 << 40,
        search=1e-8 * rows,
    )


def written(recipe, indexes=(), vectors=None):
    """A calibration of costs that grow as the laws say."""
    builds = tuple(trial(size, indexes=indexes) for size in (100, 400, 1600))
    return Calibration(
        recipe=calibration.recipe_hash(recipe),
        machine="a machine",
        drawn="1,600 documents from random places of the source",
        load=0.5,
        trials=builds,
        texts=(),
        ray=(trial(100, indexes=indexes),),
        ray_cpus=2,
        hashed=1e9,
        vectors=vectors or {},
        layouts=dict.fromkeys(vectors or {}, "Flat"),
        searches=tuple(
            SearchTrial(documents=size, seconds=dict.fromkeys(indexes, 1e-6 * size)) for size in (100, 1600)
        ),
        models={},
    )
