"""The manifests of deploy/ as Kubernetes reads them: documents, pods, and what network policies let through."""

from __future__ import annotations

import copy
import gzip
from dataclasses import dataclass, field
from pathlib import Path

import yaml

ROOT = Path(__file__).parent.parent
KUBERNETES = ROOT / "deploy" / "kubernetes"
CRDS = ROOT.parent / "shared" / "kuberay"
"""KubeRay's definitions of its resources, of version 1.7."""
OVERLAYS = {"serve-incremental/incremental-upgrade.yaml": "serve/service.yaml"}
"""Files that are no documents but changes of one."""


def documents():
    """Every document that Kubernetes is given, by its file and kind; overlays are merged with what they change."""
    found = {}
    # Overlays come after what they change.
    for path in sorted(KUBERNETES.rglob("*.yaml"), key=lambda path: (_name(path) in OVERLAYS, path)):
        if path.name in {"kustomization.yaml", "recipe.yaml"}:
            continue
        name = _name(path)
        for read in yaml.safe_load_all(path.read_text(encoding="utf-8")):
            document = merged(found[f"{OVERLAYS[name]}:{read['kind']}"], read) if name in OVERLAYS else read
            key = f"{name}:{document['kind']}"
            found[key if key not in found else f"{key}:{document['metadata']['name']}"] = document
    return dict(sorted(found.items()))


def _name(path):
    return path.relative_to(KUBERNETES).as_posix()


def merged(base, patch):
    """A patch of a custom resource: objects are merged, everything else is replaced."""
    if not (isinstance(base, dict) and isinstance(patch, dict)):
        return copy.deepcopy(patch)
    return {key: merged(base.get(key), patch[key]) if key in patch else base[key] for key in base | patch}


def strict_schema(kind):
    """The schema of a KubeRay resource, version v1, that takes no field which it does not name."""
    path = CRDS / f"ray.io_{kind.lower()}s.yaml.gz"
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    definition = yaml.load(gzip.decompress(path.read_bytes()), loader)
    versions = {version["name"]: version for version in definition["spec"]["versions"]}
    schema = versions["v1"]["schema"]["openAPIV3Schema"]
    _forbid(schema)
    return schema


def _forbid(schema):
    if isinstance(schema, list):
        for part in schema:
            _forbid(part)
    elif isinstance(schema, dict):
        known = isinstance(schema.get("properties"), dict) and schema.get("type") == "object"
        if known and "additionalProperties" not in schema and not schema.get("x-kubernetes-preserve-unknown-fields"):
            schema["additionalProperties"] = False
        for part in schema.values():
            _forbid(part)


def pods(document, path=()):
    """Every pod that a document describes: where, and its spec."""
    if isinstance(document, dict):
        if "containers" in document:
            yield ".".join(path), document
        for key, value in document.items():
            yield from pods(value, (*path, key))
    elif isinstance(document, list):
        for number, value in enumerate(document):
            yield from pods(value, (*path, str(number)))


@dataclass(frozen=True)
class Pod:
    """A pod as network policies see it."""

    labels: dict[str, str]
    namespace: str = "mnemodex"


@dataclass
class Network:
    """Network policies of the namespace, as Kubernetes reads them: a pod that one selects is closed but for rules."""

    policies: list[dict] = field(default_factory=list)

    def lets(self, source, target, port, protocol="TCP"):
        """Whether one pod reaches a port of another."""
        return self._side("Egress", source, target, port, protocol) and self._side(
            "Ingress", target, source, port, protocol
        )

    def _side(self, direction, pod, peer, port, protocol):
        if pod.namespace != "mnemodex":
            return True
        rule_name, peers_name = direction.lower(), "to" if direction == "Egress" else "from"
        here = [
            policy["spec"]
            for policy in self.policies
            if direction in policy["spec"]["policyTypes"] and _selects(policy["spec"]["podSelector"], pod.labels)
        ]
        return not here or any(
            _opens(rule, peers_name, peer, port, protocol) for spec in here for rule in spec.get(rule_name, [])
        )


def _opens(rule, peers_name, peer, port, protocol):
    ports = rule.get("ports")
    if ports is not None and not any(item == {"protocol": protocol, "port": port} for item in ports):
        return False
    return peers_name not in rule or any(_is_peer(item, peer) for item in rule[peers_name])


def _is_peer(item, peer):
    assert set(item) <= {"namespaceSelector", "podSelector"}, item
    if "namespaceSelector" in item:
        near = _selects(item["namespaceSelector"], {"kubernetes.io/metadata.name": peer.namespace})
    else:
        near = peer.namespace == "mnemodex"
    return near and _selects(item.get("podSelector", {}), peer.labels)


def _selects(selector, labels):
    assert set(selector) <= {"matchLabels", "matchExpressions"}, selector
    for expression in selector.get("matchExpressions", []):
        assert expression["operator"] == "Exists", expression
    keys = [expression["key"] for expression in selector.get("matchExpressions", [])]
    return all(labels.get(key) == value for key, value in selector.get("matchLabels", {}).items()) and all(
        key in labels for key in keys
    )
