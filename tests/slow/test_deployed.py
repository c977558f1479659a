"""What the manifests of deploy/ run, on a cluster of two nodes on this machine."""

from __future__ import annotations

import copy
import subprocess
import sys

import httpx
import pytest
from documentation import run_main
from library import records, words_recipe, write_jsonl
from manifests import documents
from processes import wait_until
from ray_nodes import free_port
from serving import served

import mnemodex

pytestmark = pytest.mark.slow


@pytest.fixture
def config(tmp_path, monkeypatch):
    """The service's configuration, with folders and a port of this machine, and workers of one CPU."""
    import yaml

    service = next(document for document in documents().values() if document["kind"] == "RayService")
    config = copy.deepcopy(yaml.safe_load(service["spec"]["serveConfigV2"]))
    (application,) = config["applications"]
    (deployment,) = application["deployments"]
    # Proxies of several nodes cannot listen to one port of one machine.
    config["proxy_location"] = "HeadOnly"
    config["http_options"] |= {"host": "127.0.0.1", "port": free_port()}
    application["args"]["memories"] = {"corpus": str(tmp_path / "memory")}
    application["args"]["keys"] = str(tmp_path / "keys.json")
    deployment["ray_actor_options"]["num_cpus"] = 1
    return config


def test_the_services_configuration_answers_from_two_nodes(cluster, config, tmp_path):
    from ray.serve._private.api import serve_start
    from ray.serve.schema import ServeDeploySchema

    mnemodex.build(words_recipe(write_jsonl(tmp_path / "notes.jsonl", records()), tmp_path / "memory"), local=True)
    made = run_main(
        "keys", "add", str(tmp_path / "keys.json"), "--name", "reader", "--scope", "search", "--scope", "admin"
    )
    key = {"Authorization": f"Bearer {made.out.strip()}"}
    # The head has a CPU too: one replica for each.
    cluster.add_node(num_cpus=1, object_store_memory=100 << 20)
    # As Ray's dashboard does when KubeRay sends it the configuration.
    client = serve_start(http_options=config["http_options"] | {"location": config["proxy_location"]})
    try:
        client.deploy_apps(ServeDeploySchema.model_validate(config))
        address = f"http://127.0.0.1:{config['http_options']['port']}"
        wait_until(lambda: status(f"{address}/readyz") == 200, seconds=300, step=0.2)
        asked = {"index": "words", "queries": [records()[0]["text"]], "k": 1}
        answer = httpx.post(f"{address}/v1/search", json=asked, headers=key)
        assert answer.status_code == 200, answer.text
        assert (answer.json()["memory"], answer.json()["hits"][0][0]["key"]) == ("corpus", records()[0]["id"])
        assert status(f"{address}/v1/indexes") == 401
        # Replicas are found by the names that the configuration gives.
        assert httpx.post(f"{address}/v1/reload", json={}, headers=key, timeout=60).status_code == 200
        deployed = client.get_serve_details()["applications"]["mnemodex"]["deployments"]["replica"]
        assert len({replica["node_id"] for replica in deployed["replicas"]}) == 2
    finally:
        client.shutdown()


def test_the_command_serves_on_a_cluster_that_runs(cluster, library, tmp_path):
    made = run_main("keys", "add", str(tmp_path / "keys.json"), "--name", "reader", "--scope", "search")
    key = made.out.strip()
    on_cluster = ("--address", cluster.address, "--keys", tmp_path / "keys.json", "--replicas", 2)
    cluster.add_node(num_cpus=1, object_store_memory=100 << 20)
    with served(library, *on_cluster) as server:
        url = f"http://127.0.0.1:{server.port}"
        with mnemodex.connect(url, key=key) as memory:
            (hits,) = memory.retriever("words").search([records()[0]["text"]], 1).chunks()
            assert hits[0].key == records()[0]["id"]
        assert status(f"{url}/v1/indexes") == 401
        command = [sys.executable, "-m", "mnemodex", "serve", library, *on_cluster]
        refused = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
        assert refused.returncode != 0 and "Ray Serve runs there already" in refused.stderr
        assert server.stop()[0] == 0
    # The cluster goes on, and may serve again.
    with served(library, *on_cluster) as server:
        assert status(f"http://127.0.0.1:{server.port}/readyz") == 200


def status(address):
    """The status of an answer; None where nobody answers."""
    try:
        return httpx.get(address).status_code
    except httpx.TransportError:
        return None
