"""What deploys builds and the server: every file is valid, closed, and of the versions that are tested."""

from __future__ import annotations

import importlib
import json
import re
import shlex
import shutil
import subprocess
import tomllib

import jsonschema
import pytest
import typer
import yaml
from documentation import run_main
from library import records, write_jsonl
from manifests import CRDS, KUBERNETES, ROOT, Network, Pod, documents, pods, strict_schema

from mnemodex.__main__ import app
from mnemodex.schemas.errors import UserError

DOCUMENTS = documents()
CUSTOM = {key: value for key, value in DOCUMENTS.items() if value["apiVersion"].startswith("ray.io/")}
PODS = {f"{key} {where}": spec for key, document in DOCUMENTS.items() for where, spec in pods(document)}
CONTAINERS = {
    f"{key} {item['name']}": item
    for key, spec in PODS.items()
    for item in [*spec["containers"], *spec.get("initContainers", [])]
}
DOCKERFILE = ROOT / "deploy" / "Dockerfile"
COMPOSE = yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text(encoding="utf-8"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
LOCK = dict(re.findall(r"^([\w.-]+)==([\w.]+)", (ROOT / "requirements.lock").read_text(encoding="utf-8"), re.MULTILINE))


def of_kind(kind):
    return [document for document in DOCUMENTS.values() if document["kind"] == kind]


(SERVED,) = (
    yaml.safe_load(config) for config in {service["spec"]["serveConfigV2"] for service in of_kind("RayService")}
)
"""What Ray Serve is told by each way to upgrade."""


@pytest.fixture(scope="module", params=["RayJob", "RayService"])
def custom_kind(request):
    if not CRDS.is_dir():
        pytest.skip("KubeRay's definitions are not here")
    return request.param, jsonschema.Draft202012Validator(strict_schema(request.param))


class TestCustomResources:
    def test_they_are_as_kuberay_defines_them_without_a_field_it_does_not_know(self, custom_kind):
        kind, validator = custom_kind
        ours = of_kind(kind)
        assert ours
        for document in ours:
            assert document["apiVersion"] == "ray.io/v1"
            assert [f"{error.json_path}: {error.message}" for error in validator.iter_errors(document)] == []

    def test_a_field_that_is_misspelt_would_be_seen(self, custom_kind):
        kind, validator = custom_kind
        for document in of_kind(kind):
            for old, new in (("readOnlyRootFilesystem", "readonlyRootFilesystem"), ("rayVersion", "rayversion")):
                wrong = json.loads(json.dumps(document).replace(old, new))
                assert list(validator.iter_errors(wrong)), new

    def test_what_the_operator_asks_beyond_the_schema_is_kept(self):
        (job,) = of_kind("RayJob")
        assert job["spec"]["shutdownAfterJobFinishes"] and job["spec"]["submissionMode"] == "K8sJobMode"
        for service in of_kind("RayService"):
            strategy = service["spec"]["upgradeStrategy"]
            if strategy["type"] == "NewClusterWithIncrementalUpgrade":
                options = strategy["clusterUpgradeOptions"]
                assert service["spec"]["rayClusterConfig"]["enableInTreeAutoscaling"]
                assert 0 < options["stepSizePercent"] <= options["maxSurgePercent"] <= 100

    def test_upgrades_are_by_a_new_cluster_or_step_by_step(self):
        kinds = {document["spec"]["upgradeStrategy"]["type"] for document in of_kind("RayService")}
        assert kinds == {"NewCluster", "NewClusterWithIncrementalUpgrade"}

    def test_a_build_is_tried_again_and_ends(self):
        (job,) = of_kind("RayJob")
        assert job["spec"]["backoffLimit"] > 0 and job["spec"]["activeDeadlineSeconds"] > 0

    @pytest.mark.parametrize("key", CUSTOM)
    def test_ray_asks_for_a_token_which_the_operator_makes(self, key):
        (cluster,) = (
            value for name, value in CUSTOM[key]["spec"].items() if name in {"rayClusterSpec", "rayClusterConfig"}
        )
        assert cluster["authOptions"] == {"mode": "token"}


class TestPods:
    @pytest.mark.parametrize("key", PODS)
    def test_they_run_as_nobody_who_may_ask_kubernetes(self, key):
        spec, context = PODS[key], PODS[key]["securityContext"]
        assert context["runAsNonRoot"] is True and context["runAsUser"] == context["runAsGroup"] == 10001
        assert context["seccompProfile"] == {"type": "RuntimeDefault"}
        # Ray's autoscaler is what asks it for pods.
        assert spec["automountServiceAccountToken"] is False or key.startswith("serve-incremental/")
        assert not {"hostNetwork", "hostPID", "hostIPC"} & set(spec)

    @pytest.mark.parametrize("key", CONTAINERS)
    def test_containers_cannot_change_their_image_or_gain_rights(self, key):
        assert CONTAINERS[key]["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }

    @pytest.mark.parametrize("key", CONTAINERS)
    def test_containers_ask_for_and_are_held_to_cpu_memory_and_disk(self, key):
        resources = CONTAINERS[key]["resources"]
        assert set(resources["requests"]) == set(resources["limits"]) == {"cpu", "memory", "ephemeral-storage"}

    @pytest.mark.parametrize("key", PODS)
    def test_what_is_written_goes_to_memories_or_to_folders_of_the_pod_with_a_bound(self, key):
        volumes = {volume["name"]: volume for volume in PODS[key]["volumes"]}
        for item in PODS[key]["containers"]:
            mounts = {mount["mountPath"]: mount for mount in item["volumeMounts"]}
            assert "/tmp" in mounts
            for path, mount in mounts.items():
                volume = volumes[mount["name"]]
                if mount.get("readOnly"):
                    continue
                claim = volume.get("persistentVolumeClaim", {})
                assert volume.get("emptyDir", {}).get("sizeLimit") or claim["claimName"] == "mnemodex-memories", path

    def test_servers_cannot_write_memories(self):
        mounts = [
            mount
            for key, item in CONTAINERS.items()
            if key.startswith("serve")
            for mount in item["volumeMounts"]
            if mount["mountPath"] in {"/memories", "/etc/mnemodex"}
        ]
        assert mounts and all(mount["readOnly"] for mount in mounts)

    @pytest.mark.parametrize("key", CONTAINERS)
    def test_images_are_named_by_a_version(self, key):
        folder = KUBERNETES / key.partition("/")[0]
        kustomization = yaml.safe_load((folder / "kustomization.yaml").read_text(encoding="utf-8"))
        if "images" not in kustomization:
            kustomization = yaml.safe_load((KUBERNETES / "serve" / "kustomization.yaml").read_text(encoding="utf-8"))
        assert CONTAINERS[key]["image"] == "mnemodex"
        assert [image["newTag"] for image in kustomization["images"]] == [f"{PROJECT['project']['version']}-cpu"]

    def test_traffic_waits_until_the_memories_are_warm(self):
        workers = [item for key, item in CONTAINERS.items() if key.startswith("serve") and item["name"] == "ray-worker"]
        assert workers
        for item in workers:
            assert item["readinessProbe"]["httpGet"] == {"path": "/readyz", "port": 8000}
            assert item["livenessProbe"]["httpGet"]["port"] == 52365

    def test_no_pod_of_ray_waits_for_a_probe_of_the_operators(self):
        # Those run wget, which the image does not have.
        for key, item in CONTAINERS.items():
            if item["name"].startswith("ray-"):
                assert {"readinessProbe", "livenessProbe"} <= set(item), key

    def test_all_nodes_see_the_same_memories(self):
        for claim in of_kind("PersistentVolumeClaim"):
            assert claim["spec"]["accessModes"] == ["ReadWriteMany"]

    def test_the_namespace_takes_restricted_pods_only(self):
        (namespace,) = of_kind("Namespace")
        assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
        names = {document["metadata"].get("namespace", "mnemodex") for document in DOCUMENTS.values()}
        assert names == {namespace["metadata"]["name"]}


class TestNetwork:
    NETWORK = Network(of_kind("NetworkPolicy"))
    WORKER = Pod({"mnemodex.io/cluster": "serve", "ray.io/node-type": "worker"})
    HEAD = Pod({"mnemodex.io/cluster": "serve", "ray.io/node-type": "head"})
    BUILD_WORKER = Pod({"mnemodex.io/cluster": "build", "ray.io/node-type": "worker"})
    BUILD_HEAD = Pod({"mnemodex.io/cluster": "build", "ray.io/node-type": "head"})
    SUBMITTER = Pod({"mnemodex.io/cluster": "build"})
    INGRESS = Pod({"app.kubernetes.io/name": "ingress-nginx"}, "ingress-nginx")
    OPERATOR = Pod({"app.kubernetes.io/name": "kuberay-operator"}, "kuberay-operator")
    STRANGER = Pod({"app": "other"}, "default")
    NEIGHBOUR = Pod({"app": "other"})
    NAMES = Pod({"k8s-app": "kube-dns"}, "kube-system")
    RAY = (6379, 8265, 10001, 10002, 52365)

    def test_pods_have_the_labels_that_policies_select(self):
        for key, document in CUSTOM.items():
            for template in templates(document):
                assert template["metadata"]["labels"]["mnemodex.io/cluster"] == key.partition("/")[0].partition("-")[0]

    def test_the_ingress_reaches_the_servers_port_and_no_other(self):
        assert self.NETWORK.lets(self.INGRESS, self.WORKER, 8000)
        for port in self.RAY:
            assert not self.NETWORK.lets(self.INGRESS, self.WORKER, port)
            assert not self.NETWORK.lets(self.INGRESS, self.HEAD, port)
        assert not self.NETWORK.lets(self.INGRESS, self.BUILD_HEAD, 8265)

    def test_rays_ports_are_open_among_the_pods_of_a_cluster(self):
        for port in self.RAY:
            assert self.NETWORK.lets(self.WORKER, self.HEAD, port) and self.NETWORK.lets(self.HEAD, self.WORKER, port)
            assert self.NETWORK.lets(self.BUILD_WORKER, self.BUILD_HEAD, port)
            assert self.NETWORK.lets(self.SUBMITTER, self.BUILD_HEAD, port)

    def test_two_clusters_do_not_reach_each_other(self):
        for port in (*self.RAY, 8000):
            assert not self.NETWORK.lets(self.BUILD_WORKER, self.HEAD, port)
            assert not self.NETWORK.lets(self.WORKER, self.BUILD_HEAD, port)

    def test_nobody_else_reaches_anything(self):
        for target in (self.WORKER, self.HEAD, self.BUILD_HEAD, self.BUILD_WORKER, self.SUBMITTER):
            for port in (*self.RAY, 8000):
                assert not self.NETWORK.lets(self.STRANGER, target, port)
                assert not self.NETWORK.lets(self.NEIGHBOUR, target, port)

    def test_the_operator_reaches_dashboards_and_nothing_of_the_workers(self):
        assert self.NETWORK.lets(self.OPERATOR, self.HEAD, 8265)
        assert self.NETWORK.lets(self.OPERATOR, self.BUILD_HEAD, 8265)
        assert not self.NETWORK.lets(self.OPERATOR, self.HEAD, 6379)
        assert not self.NETWORK.lets(self.OPERATOR, self.WORKER, 52365)

    def test_pods_reach_the_name_server_and_nothing_outside(self):
        for source in (self.WORKER, self.BUILD_WORKER, self.BUILD_HEAD, self.SUBMITTER):
            assert self.NETWORK.lets(source, self.NAMES, 53, "UDP")
            assert not self.NETWORK.lets(source, self.STRANGER, 443)


def templates(document):
    """Pod templates of a document."""
    if isinstance(document, dict):
        if isinstance(document.get("spec"), dict) and "containers" in document["spec"]:
            yield document
        for value in document.values():
            yield from templates(value)
    elif isinstance(document, list):
        for value in document:
            yield from templates(value)


class TestSecrets:
    def test_no_file_holds_one(self):
        files = [path for path in (ROOT / "deploy").rglob("*") if path.suffix in {".yaml", ""} and path.is_file()]
        assert DOCKERFILE in files
        for path in files:
            text = path.read_text(encoding="utf-8")
            # Keys and tokens are long and have digits; names are words.
            assert not [word for word in re.findall(r"[A-Za-z0-9+]{30,}", text) if re.search(r"\d", word)], path
            assert "PRIVATE KEY" not in text

    def test_the_example_of_a_secret_lets_nobody_in(self):
        (secret,) = of_kind("Secret")
        assert json.loads(secret["stringData"]["keys.json"])["keys"] == []


class TestVersions:
    def test_rays_version_is_the_one_that_is_locked(self):
        versions = {version for document in CUSTOM.values() for version in find(document, "rayVersion")}
        assert versions == {LOCK["ray"]}

    def test_pythons_version_is_the_one_that_is_tested(self):
        (image,) = re.findall(r"^ARG PYTHON=(\d+\.\d+)\.\d+-slim-\w+$", DOCKERFILE.read_text(), re.MULTILINE)
        assert image == PROJECT["tool"]["mypy"]["python_version"]
        cluster = (ROOT / "deploy/cluster/ray-cluster.yaml").read_text(encoding="utf-8")
        assert set(re.findall(r"python(3\.\d+)", cluster)) == {image}

    def test_the_packages_version_is_that_of_images_and_wheels(self):
        version = PROJECT["project"]["version"]
        assert f'image.version="{version}"' in DOCKERFILE.read_text()
        assert {service["image"] for service in COMPOSE["services"].values()} == {f"mnemodex:{version}-cpu"}
        assert f"mnemodex-{version}-py3-none-any.whl" in (ROOT / "deploy/cluster/ray-cluster.yaml").read_text()


def find(document, name):
    """Values of a key, wherever it is."""
    if isinstance(document, dict):
        yield from (value for key, value in document.items() if key == name)
        for value in document.values():
            yield from find(value, name)
    elif isinstance(document, list):
        for value in document:
            yield from find(value, name)


class TestBuildJob:
    def test_its_command_plans_the_memory_of_its_recipe(self, tmp_path):
        (job,) = of_kind("RayJob")
        program, *words = shlex.split(job["spec"]["entrypoint"])
        source = write_jsonl(tmp_path / "corpus.jsonl", records()[:4])
        recipe = (KUBERNETES / "build-cpu" / "recipe.yaml").read_text(encoding="utf-8")
        recipe = recipe.replace("/sources/corpus.jsonl", str(source)).replace("/memories", str(tmp_path / "memories"))
        assert program == "mnemodex" and words == ["build", "/etc/mnemodex/recipe.yaml", "--address", "auto"]
        (tmp_path / "recipe.yaml").write_text(recipe)
        words[1] = str(tmp_path / "recipe.yaml")
        typer.main.get_command(app).commands["build"].make_context("build", words[1:])
        ran = run_main(*words[:2], "--dry-run")
        assert ran.code == 0, ran.err
        assert all(name in ran.out for name in ("dense", "words"))
        assert not (tmp_path / "memories/corpus/CURRENT").exists()

    def test_its_recipe_and_folders_are_mounted_on_every_node(self):
        (job,) = of_kind("RayJob")
        nodes = [spec for where, spec in pods(job) if "rayClusterSpec" in where]
        assert len(nodes) == 2
        for spec in nodes:
            (item,) = spec["containers"]
            mounts = {mount["mountPath"] for mount in item["volumeMounts"]}
            assert {"/etc/mnemodex", "/memories", "/sources", "/tmp", "/dev/shm"} == mounts


class TestService:
    def test_ray_serve_knows_every_name_of_its_configuration(self):
        from ray.serve.schema import ServeDeploySchema

        read = ServeDeploySchema.model_validate(SERVED).model_dump(exclude_unset=True, mode="json")
        assert without_arguments(read) == without_arguments(SERVED)

    def test_it_names_the_application_its_settings_and_its_deployment(self):
        from ray.serve._private.api import call_user_app_builder_with_args_if_necessary

        (application,) = SERVED["applications"]
        module, name = application["import_path"].split(":")
        builder = getattr(importlib.import_module(module), name)
        built = call_user_app_builder_with_args_if_necessary(builder, application["args"])
        assert [deployment["name"] for deployment in application["deployments"]] == [built._bound_deployment.name]
        with pytest.raises(UserError, match="args"):
            call_user_app_builder_with_args_if_necessary(builder, application["args"] | {"memory": "/memories/corpus"})

    def test_every_worker_has_a_replica_which_takes_its_cpus(self):
        (application,) = SERVED["applications"]
        (deployment,) = application["deployments"]
        for service in of_kind("RayService"):
            (group,) = service["spec"]["rayClusterConfig"]["workerGroupSpecs"]
            (item,) = group["template"]["spec"]["containers"]
            assert deployment["num_replicas"] == application["args"]["replicas"] == group["replicas"]
            assert deployment["ray_actor_options"]["num_cpus"] == int(item["resources"]["limits"]["cpu"])
            mounts = {mount["mountPath"] for mount in item["volumeMounts"]}
            assert {path.rpartition("/")[0] for path in application["args"]["memories"].values()} <= mounts
            assert application["args"]["keys"].rpartition("/")[0] in mounts


def without_arguments(config):
    """A configuration of Ray Serve without what is ours to read, and with numbers of one type."""
    applications = [{key: value for key, value in each.items() if key != "args"} for each in config["applications"]]
    return json.loads(json.dumps(config | {"applications": applications}), parse_int=float)


class TestRayCluster:
    def test_it_is_as_ray_reads_it(self):
        from ray.autoscaler._private.util import prepare_config, validate_config

        config = yaml.safe_load((ROOT / "deploy/cluster/ray-cluster.yaml").read_text(encoding="utf-8"))
        prepared = prepare_config(config)
        validate_config(prepared)
        assert prepared["max_workers"] == len(config["provider"]["worker_ips"])

    def test_ray_starts_with_a_token_everywhere(self):
        config = yaml.safe_load((ROOT / "deploy/cluster/ray-cluster.yaml").read_text(encoding="utf-8"))
        for name in ("head_start_ray_commands", "worker_start_ray_commands"):
            (start,) = (command for command in config[name] if "ray start" in command)
            assert "RAY_AUTH_MODE=token" in start
        assert "/home/mnemodex/.ray/auth_token" in config["file_mounts"]


class TestCompose:
    @pytest.mark.parametrize("name", COMPOSE["services"])
    def test_a_container_cannot_change_its_image_or_gain_rights(self, name):
        service = COMPOSE["services"][name]
        assert service["read_only"] is True and service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"] and service["user"].endswith(":-10001:10001}")
        assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory", "pids"}

    @pytest.mark.parametrize("name", COMPOSE["services"])
    def test_its_command_is_one_of_the_programs(self, name):
        command, *words = COMPOSE["services"][name]["command"]
        typer.main.get_command(app).commands[command].make_context(command, words)

    def test_the_server_is_for_this_machine_with_keys_and_cannot_write_memories(self):
        service = COMPOSE["services"]["serve"]
        assert service["ports"] == ["127.0.0.1:8000:8000"] and "--keys" in service["command"]
        assert all(volume.endswith(":ro") for volume in service["volumes"])
        assert "/readyz" in service["healthcheck"]["test"][-1]


class TestDockerfile:
    def test_both_targets_end_as_a_user_without_rights(self):
        stages = re.split(r"^FROM ", DOCKERFILE.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
        last = {stage.split(" AS ")[1].split()[0]: stage for stage in stages}
        for target in ("cpu", "cuda"):
            assert last[target].rstrip().endswith("USER 10001:10001"), target
            assert last[target].startswith("runtime AS")
        assert "HEALTHCHECK" in last["runtime"] and "/healthz" in last["runtime"]

    def test_each_extra_that_it_installs_is_one(self):
        (extras,) = re.findall(r"for extra in \(([^)]*)\)", DOCKERFILE.read_text(encoding="utf-8"))
        assert set(re.findall(r"\w+", extras)) <= set(PROJECT["project"]["optional-dependencies"])

    def test_the_context_holds_what_the_wheel_is_made_of_and_nothing_else(self):
        ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
        kept = {line[1:] for line in ignored if line.startswith("!")}
        assert "*" in ignored and kept >= {"pyproject.toml", "requirements.lock", "mnemodex", "deploy", "schemas"}
        assert not kept & {"tests", ".git", "memories", ".venv"}

    @pytest.mark.skipif(shutil.which("hadolint") is None, reason="no hadolint on the path")
    def test_hadolint_has_nothing_to_say(self):
        ran = subprocess.run(["hadolint", str(DOCKERFILE)], capture_output=True, text=True, check=False)
        assert (ran.returncode, ran.stdout) == (0, "")
