"""The worker as an actor of Ray, and what the nodes of a build must agree on.

Ray sends this module's code to the nodes, so that it runs, and says what is wrong, where the package is not there or is
another version. Therefore nothing of ours is imported at its top.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import socket
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

LIBRARIES = (
    "numpy",
    "pyarrow",
    "duckdb",
    "scipy",
    "numba",
    "faiss-gpu",
    "faiss-cpu",
    "hnswlib",
    "PyStemmer",
    "pydivsufsort",
    "torch",
    "transformers",
    "tokenizers",
    "sentence-transformers",
    "gguf",
    "spacy",
)
"""Distributions whose version can change what a step gives."""

PLUGINS = tuple(f"mnemodex.{what}" for what in ("kinds", "sources", "chunkers", "extractors", "generators", "encoders"))
"""Entry points of packages that add to ours."""

_REPORT_SECONDS = 1.0
_REMEDY = "install the same package on all nodes, or pass it with --runtime-env"


def software() -> dict[str, str]:
    """Return the hash of our package's code, and the versions of the libraries and plug-ins that are installed.

    Raises:
        ModuleNotFoundError: our package is not there.
    """
    import mnemodex

    root = Path(str(mnemodex.__file__)).parent
    code = hashlib.sha256()
    # In a checkout, the folders of the package are links.
    files = [Path(folder) / name for folder, _, names in os.walk(root, followlinks=True) for name in names]
    for path in sorted(path for path in files if path.suffix == ".py"):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        code.update(f"{path.relative_to(root).as_posix()}\0{content}".encode())
    found = {"mnemodex": f"{mnemodex.__version__} (code {code.hexdigest()[:12]})"}
    # What follows the plus sign says what a wheel was built for: another one on nodes with a GPU.
    found |= {name: version.partition("+")[0] for name, version in installed(LIBRARIES).items()}
    # Of two of one name, that which comes first on the path is imported.
    for package in reversed(list(metadata.distributions())):
        if any(entry.group in PLUGINS for entry in package.entry_points):
            found[package.name] = package.version
    return found


def installed(names: Iterable[str]) -> dict[str, str]:
    """Return the versions of those distributions that are installed."""
    found = {}
    for name in names:
        with contextlib.suppress(metadata.PackageNotFoundError):
            found[name] = metadata.version(name)
    return found


def difference(home: Mapping[str, str]) -> str | None:
    """Return why this node cannot work with one that has the software `home`, or None.

    What is missing here is no difference: a step that needs it says so.
    """
    try:
        here = software()
    except ModuleNotFoundError as error:
        return f"{error} (mnemodex {home['mnemodex']} is on the driver's node); {_REMEDY}"
    for name, version in home.items():
        if here.get(name, version) != version:
            return f"it has {name} {here[name]}, and the driver's node {version}; {_REMEDY}"
    return None


class MnemodexWorker:
    """A worker as Ray calls it; its process is named after the class.

    Args:
        root: the memory's folder.
        run: the folder of the build's steps and lists below the memory.
        cpus: CPU threads it may use.
        place: what the node is called, and where the worker notes how many rows of its unit are done.
        home: the software of the driver's node.
        objects: what the caller of `build` passed.
    """

    def __init__(
        self, root: str, run: str, cpus: int, place: tuple[str, str], home: dict[str, str], objects: dict[str, Any]
    ) -> None:
        # Read by OpenMP, BLAS, Arrow and Rust's pools when they are loaded; they would take what the shell of the node
        # says, or every core of it.
        os.environ["OMP_NUM_THREADS"] = os.environ["RAYON_NUM_THREADS"] = str(cpus)
        # OpenMP's threads burn a core while one waits for another: a graph of HNSW took two times the CPU time on a
        # busy node, and longer.
        os.environ["OMP_WAIT_POLICY"] = "passive"
        node, rows_file = place
        self._written = 0.0
        self._refusal = difference(home)
        if self._refusal is None:
            try:
                from mnemodex.pipelines.worker import Worker
                from mnemodex.schemas.store.store import Store
            except ImportError as error:
                self._refusal = f"{error}; {_REMEDY}"
        if self._refusal is not None:
            self._refusal = f"node {socket.gethostname()} ({node}) cannot take part in the build: {self._refusal}"
            return
        self._rows_file = rows_file
        self._store = Store(root)
        self._worker = Worker(self._store, run, cpus=cpus, objects=objects)

    def run(self, text: str) -> str:
        """Work on a unit."""
        if self._refusal is not None:
            given = json.loads(text)
            failure = {"kind": "NodeError", "message": self._refusal, "detail": sys.version}
            return json.dumps({"step": given["step"], "label": given["label"], "result": failure})
        from mnemodex.pipelines.messages import Unit

        unit = Unit.model_validate_json(text)

        def report(rows: int) -> None:
            if time.monotonic() - self._written > _REPORT_SECONDS:
                self._written = time.monotonic()
                self._store.files.put_note(self._rows_file, json.dumps([unit.step, unit.label, rows]).encode())

        return self._worker(unit, report).model_dump_json()
