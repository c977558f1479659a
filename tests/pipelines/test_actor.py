"""What nodes must agree on, and what a worker says whose node has other software, or none of ours."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import pytest
from ops_that_fail import Writes, notes, units_of

import mnemodex
from mnemodex.pipelines import actor
from mnemodex.pipelines.engine import artifacts_of
from mnemodex.pipelines.messages import Answer, Unit
from mnemodex.pipelines.ops.base import NoSettings
from mnemodex.pipelines.progress import Progress
from mnemodex.pipelines.ray_engine import RayEngine
from mnemodex.pipelines.worker import Worker
from mnemodex.schemas.errors import ModelError, NodeError
from mnemodex.schemas.spec import ModelRef, Spec
from mnemodex.schemas.store.store import Store

UNIT = Unit(step="chunks", label="p", fingerprint="f")
PACKAGE = Path(mnemodex.__file__).parent
REMEDY = "install the same package on all nodes, or pass it with --runtime-env"


def answer_of_a_node(path, home=None):
    """What a worker says of a unit in a process that finds Python modules in a folder first, as Ray would call it."""
    import ray

    ray.cloudpickle.register_pickle_by_value(actor)
    given = (str(path), "work/run", 1, ("n1", "rows"), home or actor.software(), {})
    code = ray.cloudpickle.dumps((actor.MnemodexWorker, given, UNIT.model_dump_json()))
    (path / "code").write_bytes(code)
    script = (
        "import sys; from ray import cloudpickle\n"
        f"worker, given, unit = cloudpickle.loads(open({str(path / 'code')!r}, 'rb').read())\n"
        "print(worker(*given).run(unit))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=False,
        cwd=path,
        env={**os.environ, "PYTHONPATH": str(path)},
    )
    assert done.returncode == 0, done.stderr
    return Answer.model_validate_json(done.stdout)


def assert_refuses(answer, reason):
    """The build fails with one sentence that names the node."""
    assert (answer.step, answer.label) == ("chunks", "p")
    with pytest.raises(NodeError) as raised:
        artifacts_of(answer)
    assert re.fullmatch(rf"node \S+ \(n1\) cannot take part in the build: {reason}; {REMEDY}", str(raised.value))


def hide(folder, *names):
    """Have processes that find modules in this folder find none of these names."""
    (folder / "sitecustomize.py").write_text(
        "import sys\n"
        "class Hidden:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.partition('.')[0] in {names!r}:\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Hidden())\n"
    )


class TestSoftware:
    def test_it_has_the_package_with_its_code_and_the_libraries(self):
        import numpy as np

        found = actor.software()
        assert re.fullmatch(rf"{re.escape(mnemodex.__version__)} \(code [0-9a-f]{{12}}\)", found["mnemodex"])
        assert found["numpy"] == np.__version__
        # A wheel for another kind of GPU is the same library.
        assert not any("+" in version for version in found.values())

    def test_a_node_with_the_same_has_no_difference(self):
        assert actor.difference(actor.software()) is None

    def test_what_is_missing_on_either_node_is_none(self):
        home = actor.software()
        assert actor.difference({"mnemodex": home["mnemodex"], "gulls": "1"}) is None

    def test_another_version_of_a_library_is_one(self):
        home = {**actor.software(), "numpy": "1.0"}
        here = actor.software()["numpy"]
        assert actor.difference(home) == f"it has numpy {here}, and the driver's node 1.0; {REMEDY}"

    def test_the_code_counts_and_not_where_it_lies(self, tmp_path, monkeypatch):
        copy = tmp_path / "copy"
        shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
        home = actor.software()
        monkeypatch.setattr(mnemodex, "__file__", str(copy / "__init__.py"))
        assert actor.software() == home
        (copy / "pipelines" / "plan.py").write_text("pass\n")
        assert actor.difference(home).startswith(f"it has mnemodex {mnemodex.__version__} (code ")
        assert actor.software()["numpy"] == home["numpy"]


class TestRefusal:
    """Of a worker whose node differs; its class comes by value."""

    def test_a_node_without_the_package(self, tmp_path):
        hide(tmp_path, "mnemodex")
        home = re.escape(actor.software()["mnemodex"])
        reason = rf"No module named 'mnemodex' \(mnemodex {home} is on the driver's node\)"
        assert_refuses(answer_of_a_node(tmp_path), reason)

    def test_a_node_without_a_library_that_every_worker_needs(self, tmp_path):
        hide(tmp_path, "pydantic")
        assert_refuses(answer_of_a_node(tmp_path), "No module named 'pydantic'")

    def test_a_node_with_other_code(self, tmp_path):
        shutil.copytree(PACKAGE, tmp_path / "mnemodex", ignore=shutil.ignore_patterns("__pycache__"))
        # So far from ours that nothing could be imported.
        (tmp_path / "mnemodex" / "pipelines" / "worker.py").write_text("raise SystemError('other code')\n")
        here, home = r"0\.1\.0 \(code \w{12}\)", re.escape(actor.software()["mnemodex"])
        assert_refuses(answer_of_a_node(tmp_path), rf"it has mnemodex {here}, and the driver's node {home}")

    def test_a_node_with_another_library(self, tmp_path):
        folder = tmp_path / "numpy-0.0.1.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: numpy\nVersion: 0.0.1\n")
        here = re.escape(actor.software()["numpy"])
        assert_refuses(answer_of_a_node(tmp_path), rf"it has numpy 0\.0\.1, and the driver's node {here}")


def test_libraries_use_the_cpus_of_the_worker_whatever_the_shell_of_its_node_says(tmp_path):
    script = (
        "from mnemodex.pipelines import actor\n"
        f"actor.MnemodexWorker({str(tmp_path)!r}, 'work/run', 3, ('n1', 'rows'), actor.software(), {{}})\n"
        "import faiss, os, pyarrow\n"
        "print(faiss.omp_get_max_threads(), pyarrow.cpu_count(), os.environ['RAYON_NUM_THREADS'])"
    )
    shell = {"OMP_NUM_THREADS": "7", "RAYON_NUM_THREADS": "7", "OMP_WAIT_POLICY": "active", "OMP_DISPLAY_ENV": "true"}
    env = {**os.environ, **shell}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, env=env)
    assert done.stdout == "3 3 3\n", done.stderr
    assert "OMP_WAIT_POLICY = 'PASSIVE'" in done.stderr


class Loads(Spec):
    """Settings of an op that loads a model."""

    model: Annotated[str, ModelRef()]


class TestModels:
    """That a step loads, on a node where they are others than on the driver's."""

    @pytest.fixture
    def model(self, tmp_path, monkeypatch):
        monkeypatch.setattr(Writes, "Settings", Loads)
        folder = tmp_path / "model"
        folder.mkdir()
        (folder / "config.json").write_text("{}")
        return folder

    @pytest.fixture
    def refusal(self, tmp_path, model):
        """What a worker says when the model was changed since the build began."""

        def ask(change):
            store = Store(tmp_path / "memory")
            store.prepare()
            run, (unit,) = units_of(store, notes("Writes", ["one"], Loads(model=str(model))))
            change()
            with pytest.raises(ModelError) as raised:
                artifacts_of(Worker(store, run, cpus=1, objects={})(unit, lambda rows: None))
            return str(raised.value)

        return ask

    def test_one_with_other_weights_is_refused_by_name(self, refusal, model):
        said = refusal(lambda: (model / "config.json").write_text('{"seed": 1}'))
        node = re.escape(socket.gethostname())
        assert re.match(
            rf"model '{model}' on node {node} differs from the driver's \(SHA-256 \w{{12}}…\); install", said
        )

    def test_one_that_is_missing_is_refused_by_name(self, refusal, model):
        said = refusal(lambda: shutil.rmtree(model))
        assert said.startswith(f"node {socket.gethostname()}: ") and str(model) in said

    def test_one_that_is_the_same_is_not(self, tmp_path, model):
        store = Store(tmp_path / "memory")
        store.prepare()
        run, (unit,) = units_of(store, notes("Writes", ["one"], Loads(model=str(model))))
        assert artifacts_of(Worker(store, run, cpus=1, objects={})(unit, lambda rows: None))


@pytest.mark.ray
def test_a_build_on_ray_says_which_node_differs_and_computes_nothing_there(tmp_path, ray_session):
    store = Store(tmp_path / "memory")
    store.prepare()
    step = notes(Writes.__name__, ["one"], NoSettings())
    run, (unit,) = units_of(store, step)
    engine = RayEngine(store, run, address=None, objects={})
    progress = Progress()
    progress.begin(step.name)
    try:
        assert engine.has_room(step, 1)
        engine._home["numpy"] = "0.0.1"
        engine.submit(step, unit)
        answers = []
        while not answers:
            answers += engine.wait(progress)
    finally:
        engine.close()
    with pytest.raises(NodeError, match=r"^node \S+ \(\w{12}\) cannot take part in the build: it has numpy"):
        artifacts_of(answers[0])
    assert store.whole("tables/notes/one-f") is None
    assert json.loads(answers[0].model_dump_json())["result"]["kind"] == "NodeError"
