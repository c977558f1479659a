"""Clusters of several nodes, nodes larger than this machine, and a browser, for tests that `make slow` runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from browser import CHROMIUM, Browser
from engines import local_ray

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ray.cluster_utils import Cluster

TESTS = str(Path(__file__).parents[1])


@pytest.fixture(scope="module")
def big_node() -> Iterator[None]:
    """One node that says it has 16 CPUs and a GPU."""
    with local_ray(cpus=16, gpus=1):
        yield


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """A cluster whose head has one CPU, and to which this process is connected; `add_node` adds others."""
    import ray
    from ray.cluster_utils import Cluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", TESTS)
        made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "object_store_memory": 100 << 20})
        ray.init(address=made.address, log_to_driver=False, logging_level="ERROR")
        yield made
        ray.shutdown()
        made.shutdown()


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """A browser; without one, tests are skipped."""
    if CHROMIUM is None:
        pytest.skip("no Chromium on the path")
    made = Browser(tmp_path_factory.mktemp("profile"))
    yield made
    made.close()
