"""Fixtures of all tests: builds without Ray, one memory for tests that only read, one Ray for those that need it."""

from __future__ import annotations

import asyncio
import os
import sys
import uuid
from typing import TYPE_CHECKING, Any

import pytest
from awaiting import Awaited
from commands import Ran
from engines import InlineEngine, local_ray
from hypothesis import settings
from library import dated, records, words_recipe, write_pairs, write_parts, write_triples
from object_stores import ENVIRONMENT, Proxy, make_bucket, moto_server
from packages import Packages

import mnemodex
from mnemodex.__main__ import main
from mnemodex.pipelines import run as run_module
from mnemodex.pipelines import source_plan
from mnemodex.pipelines.sources.packing import Packing
from mnemodex.schemas.store import object_client

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from fastapi import FastAPI
    from starlette.testclient import TestClient

    from mnemodex.pipelines.outcome import BuildResult
    from mnemodex.retrievers.memory import Memory
    from mnemodex.retrievers.remote.memory import RemoteMemory

# A machine that does other work too must not fail a property by its slowness.
settings.register_profile("mnemodex", deadline=None)
settings.load_profile("mnemodex")

LIBRARY_INDEXES = {
    "flat": {"type": "dense", "factory": "Flat"},
    "hnsw": {"type": "dense", "factory": "HNSW8", "shard_rows": 40},
    "ivf": {"type": "dense", "factory": "IVF4,Flat", "shard_rows": 40},
    "hnswlib": {"type": "dense", "engine": "hnswlib", "m": 8, "metric": "l2"},
    "words": {"type": "bm25"},
    "ngrams": {"type": "ngram"},
    "keys": {"type": "seal"},
    "bridge": {"type": "graph"},
    "hipporag2": {"type": "graph", "method": "hipporag2"},
    "lite": {"type": "graph", "method": "bridge-lite"},
    "sentences": {"type": "graph", "method": "bridge-lite", "of": "flat"},
    "next": {"type": "knn_lm", "factory": "Flat"},
    "asked": {"type": "qa"},
    "hops": {"type": "qa", "rounds": 3},
    "reranked": {"type": "qa", "rerank": {"by": "similarity"}},
    "both": {"type": "hybrid", "of": ["flat", "words"]},
    "all": {"type": "hybrid", "of": ["flat", "words", "asked"]},
    "near": {"type": "contiguity", "of": "flat"},
    "recent": {"type": "recency", "of": "flat", "field": "time", "half_life": "365000d"},
}


@pytest.fixture(autouse=True, scope="session")
def file_partitions() -> Iterator[None]:
    """Every file of a corpus is a partition, so that the small corpora of tests have several; see `packed`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(source_plan, "PACKING", Packing(most=0))
        yield


@pytest.fixture(autouse=True, scope="session")
def no_power_cuts() -> Iterator[None]:
    """Nothing waits for the disk: no test cuts the power, and what was written outlives a killed process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.fixture
def packed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small files are packed together, as in builds of users."""
    monkeypatch.setattr(source_plan, "PACKING", Packing())


@pytest.fixture
def inline(monkeypatch: pytest.MonkeyPatch) -> type[InlineEngine]:
    """Builds run in this process; the class counts the units that they compute."""
    monkeypatch.setattr(run_module, "choose_engine", InlineEngine)
    InlineEngine.computed = InlineEngine.started = 0
    return InlineEngine


@pytest.fixture
def packages(tmp_path: Path) -> Iterator[Packages]:
    """A folder into which a test installs packages; they are gone after it."""
    with pytest.MonkeyPatch.context() as patch:
        made = Packages(tmp_path / "site", patch)
        yield made
    made.forget()


@pytest.fixture
def build(tmp_path: Path, inline: type[InlineEngine]) -> Callable[..., BuildResult]:
    """Builds the folder `notes` (or what is given) into `memory`."""

    def run(path: Path | None = None, *, memory: str = "memory", **sections: Any) -> BuildResult:
        return mnemodex.build(words_recipe(path or tmp_path / "notes", tmp_path / memory, **sections))

    return run


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Ran]:
    """Runs a command of the command line in this process."""

    def run(*arguments: object) -> Ran:
        monkeypatch.setattr(sys, "argv", ["mnemodex", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return Ran(int(ended.value.code or 0), out, err)

    return run


@pytest.fixture(scope="module")
def one_thread() -> Iterator[None]:
    """Torch shares tiny models out to no threads, which wait for each other a hundred times as long on busy cores."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A memory of the library in three partitions with every kind of index. Only for reading."""
    folder = tmp_path_factory.mktemp("library")
    # It takes seconds to import, and most tests have nothing to do with it.
    import task_models
    from language_models import saved

    cross_encoder = task_models.saved("SequenceClassification", folder / "cross-encoder", num_labels=1)
    recipe = {
        "source": {"path": str(write_parts(folder / "source", dated(records()), 3))},
        "memory": str(folder / "memory"),
        "chunks": {"by": "tokens", "size": 32, "overlap": 8},
        "triples": {"from": str(write_triples(folder / "triples.jsonl", records()))},
        "qa_pairs": {"from": str(write_pairs(folder / "pairs.jsonl", records()))},
        "lm": {"tiny": {"model": saved("llama", folder / "model"), "window": 64, "overlap": 16}},
        "indexes": LIBRARY_INDEXES | {"crossed": {"type": "rerank", "of": "words", "model": cross_encoder}},
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run_module, "choose_engine", InlineEngine)
        mnemodex.build(recipe)
    return folder / "memory"


@pytest.fixture(scope="session")
def small_memory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`source` and `memory`, of two snapshots, with rows in all tables and all kinds of indexes. Leave it as it is."""
    # It imports Transformers.
    from small_memory import build_small

    folder = tmp_path_factory.mktemp("small")
    build_small(folder)
    return folder


@pytest.fixture(scope="session")
def memory(library: Path) -> Memory:
    """The library, opened."""
    return mnemodex.open(library)


@pytest.fixture(scope="session")
def served(library: Path) -> FastAPI:
    """The application of a server of the library."""
    from mnemodex.deploy.app import http_app
    from mnemodex.deploy.service import Service
    from mnemodex.deploy.settings import ServerSettings

    service = Service(ServerSettings(memories={"library": library}, sql=True))
    return http_app(service.settings, service)


@pytest.fixture(scope="session")
def server_client(served: FastAPI) -> Iterator[TestClient]:
    """Sends requests to the server of the library."""
    from starlette.testclient import TestClient

    with TestClient(served, base_url="http://localhost") as client:
        yield client


@pytest.fixture(scope="session")
def connected(server_client: TestClient) -> RemoteMemory:
    """The library of a server, asked by threads."""
    return mnemodex.connect("http://localhost", client=server_client)


@pytest.fixture(scope="session")
def awaited(served: FastAPI) -> Iterator[Awaited]:
    """The library of a server, asked by an event loop."""
    import httpx2

    with asyncio.Runner() as runner:
        client = httpx2.AsyncClient(transport=httpx2.ASGITransport(served))
        yield Awaited(runner, runner.run(mnemodex.aconnect("http://localhost", client=client)))
        runner.run(client.aclose())


@pytest.fixture(scope="session")
def s3_address() -> Iterator[str]:
    """The address of a server of S3."""
    with moto_server() as address:
        yield address


@pytest.fixture
def bucket(s3_address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The URL of an empty bucket, with what a user sets to reach it."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_address)
    monkeypatch.setenv("MNEMODEX_CACHE", str(tmp_path / "cache"))
    return make_bucket(s3_address, f"bucket-{uuid.uuid4().hex}")


@pytest.fixture
def proxy(bucket: str, s3_address: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """What stands between a test and the object store, of which nothing is asked more than twice."""
    made = Proxy(s3_address)
    monkeypatch.setenv("AWS_ENDPOINT_URL", made.address)
    monkeypatch.setattr(object_client, "_RETRIES", 1)
    yield made
    made.close()


@pytest.fixture(scope="session")
def ray_session() -> Iterator[None]:
    """One local Ray with two CPUs; the engine takes the Ray that is there."""
    with local_ray(cpus=2):
        yield
