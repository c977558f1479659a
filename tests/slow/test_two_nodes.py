"""The demo's corpus with every kind of index, built by two nodes of which one dies, and by one machine."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tokenizer_models
from processes import send, wait_until
from ray_nodes import RayNodes, environment, ray_nodes
from recovery import assert_same, stop_one_at_work

import mnemodex
from mnemodex.demo import corpus, manual, pairs
from mnemodex.pipelines import source_plan
from mnemodex.pipelines.sources.packing import Packing

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

RAY = (sys.executable, "-m", "ray.scripts.scripts")


@pytest.fixture(scope="module")
def recipe(tmp_path_factory) -> dict[str, Any]:
    """The demo's recipe, with next tokens by a tiny model, and a memory that one machine built of it."""
    folder = tmp_path_factory.mktemp("demo")
    recipe = {
        "memory": str(folder / "local"),
        "source": str(corpus.write_corpus(folder / "source", full=False)),
        "chunks": {"by": "tokens", "size": corpus.CHUNK_TOKENS, "overlap": 16},
        "triples": manual.TRIPLES,
        "qa_pairs": pairs.PAIRS,
        "lm": {"tiny": {"model": save_model(folder / "model")}},
        "indexes": {
            **manual.INDEXES,
            "qa": pairs.index(folder / "questions.jsonl"),
            "next": {"type": "knn_lm", "factory": "IVF64,SQfp16"},
        },
    }
    with pytest.MonkeyPatch.context() as patch:
        # That of the command line, which builds the others.
        patch.setattr(source_plan, "PACKING", Packing())
        mnemodex.build(recipe, local=True)
    return recipe


def save_model(folder: Path) -> str:
    """Save a small language model with random weights, which reads few tokens a word."""
    from transformers import GPT2Config, GPT2LMHeadModel

    tokenizer = tokenizer_models.minilm()
    ids = {"vocab_size": tokenizer.get_vocab_size(), "bos_token_id": None, "eos_token_id": None}
    config = GPT2Config(**ids, n_positions=1024, n_embd=32, n_layer=2, n_head=2)
    GPT2LMHeadModel(config).save_pretrained(folder)
    return tokenizer_models.save(tokenizer, folder)


def build_on(cluster: RayNodes, path: Path) -> list[str]:
    return [sys.executable, "-m", "mnemodex", "build", str(path), "--address", cluster.address]


def submit_to(cluster: RayNodes, path: Path) -> list[str]:
    build = [sys.executable, "-m", "mnemodex", "build", str(path), "--address", "auto"]
    return [*RAY, "job", "submit", "--address", cluster.dashboard or "", "--", *build]


@pytest.mark.parametrize("command", [build_on, submit_to])
def test_a_worker_then_a_node_dies_and_the_memory_is_that_of_one_machine(recipe, tmp_path, command):
    memory = tmp_path / "memory"
    path = tmp_path / "recipe.yaml"
    path.write_text(json.dumps({**recipe, "memory": str(memory)}))
    with ray_nodes(cpus=1, jobs=command is submit_to) as cluster:
        victim = cluster.add(cpus=1)
        with (tmp_path / "output").open("wb") as output:
            process = subprocess.Popen(command(cluster, path), env=environment(), stdout=output, stderr=output)
        try:
            kill_worker(process, victim.raylet, memory)
            kill_worker(process, victim.raylet, memory, then=partial(send, victim.raylet, signal.SIGKILL))
            assert process.wait(timeout=1200) == 0, (tmp_path / "output").read_text()
        finally:
            process.kill()
    assert_same(memory, Path(recipe["memory"]))
    assert_answers_same(mnemodex.open(memory), mnemodex.open(recipe["memory"]))


def kill_worker(process, raylet, memory, *, then=None) -> None:
    """Kill a worker of a node while it computes a unit; `then` the node, while the worker is stopped."""

    def at_work():
        assert process.poll() is None, "the build ended before a worker was found at work"
        return stop_one_at_work(raylet, memory)

    found: list[int] = []
    wait_until(lambda: found.append(at_work()) or found[-1], seconds=600, step=0.01)
    if then is not None:
        then()
    send(found[-1], signal.SIGKILL)


def assert_answers_same(memory, expected) -> None:
    assert memory.indexes == expected.indexes
    for name, index in memory.snapshot.manifest.indexes.items():
        one, other = memory.retriever(name), expected.retriever(name)
        if index.type == "ngram":
            assert one.count(manual.PHRASES).tolist() == other.count(manual.PHRASES).tolist()
        hits, wanted = (each.search(manual.QUESTIONS, k=10) for each in (one, other))
        np.testing.assert_array_equal(hits.ids, wanted.ids, err_msg=name)
        np.testing.assert_allclose(hits.scores, wanted.scores, rtol=1e-5, err_msg=name)
