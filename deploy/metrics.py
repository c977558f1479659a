"""What a server counts and measures, as Prometheus reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector
from typing_extensions import override

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from mnemodex.deploy.audit import Audit
    from mnemodex.deploy.memories import Memories

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128)


class Metrics:
    """The metrics of one process.

    Attributes:
        audit: the audit log, if there is one.
        running: requests that wait or are answered.
    """

    def __init__(self, memories: Memories) -> None:
        self.audit: Audit | None = None
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        registry.register(_State(memories, self))
        self._requests = Counter(
            "mnemodex_requests", "Requests that were answered", ("operation", "status"), registry=registry
        )
        self._seconds = Histogram(
            "mnemodex_request_seconds", "Seconds of a request", ("operation",), buckets=_SECONDS, registry=registry
        )
        self._search_seconds = Histogram(
            "mnemodex_search_seconds",
            "Seconds of a search, those in the queue too",
            ("memory", "index"),
            buckets=_SECONDS,
            registry=registry,
        )
        self._batches = Histogram(
            "mnemodex_batch_questions",
            "Questions that were searched together",
            ("memory", "index"),
            buckets=_SIZES,
            registry=registry,
        )
        self._reloads = Counter(
            "mnemodex_reloads", "Newer snapshots that were served or refused", ("memory", "result"), registry=registry
        )
        self.running = Gauge("mnemodex_requests_running", "Requests that wait or are answered", registry=registry)

    def request(self, operation: str, status: int, seconds: float) -> None:
        """Count a request."""
        self._requests.labels(operation, str(status)).inc()
        self._seconds.labels(operation).observe(seconds)

    def search(self, memory: str, index: str, seconds: float) -> None:
        """Count a search that was answered."""
        self._search_seconds.labels(memory, index).observe(seconds)

    def batch(self, memory: str, index: str, questions: int) -> None:
        """Count a batch."""
        self._batches.labels(memory, index).observe(questions)

    def reload(self, memory: str, result: str) -> None:
        """Count a newer snapshot."""
        self._reloads.labels(memory, result).inc()

    def families(self) -> list[dict[str, Any]]:
        """Return all values as JSON, which other processes can merge with theirs."""
        return [
            {
                "name": family.name,
                "documentation": family.documentation,
                "type": family.type,
                "samples": [(sample.name, sample.labels, sample.value) for sample in family.samples],
            }
            for family in self._registry.collect()
        ]


def exposition(replicas: Mapping[str, list[dict[str, Any]]]) -> bytes:
    """Return the text that Prometheus reads, of the families of each replica by its name, which becomes a label."""
    merged: dict[str, Metric] = {}
    for replica, families in replicas.items():
        for family in families:
            name = family["name"]
            metric = merged.setdefault(name, Metric(name, family["documentation"], family["type"]))
            for sample, labels, value in family["samples"]:
                # When a process began to count says nothing that its start does not say.
                if not sample.endswith("_created"):
                    metric.add_sample(sample, {**labels, "replica": replica}, value)
    registry = CollectorRegistry()
    registry.register(_Merged(merged.values()))
    return generate_latest(registry)


class _Merged(Collector):
    """Metrics of several processes."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        self._metrics = list(metrics)

    @override
    def collect(self) -> Iterator[Metric]:
        yield from self._metrics


class _State(Collector):
    """What is served, as it is when it is asked for."""

    def __init__(self, memories: Memories, metrics: Metrics) -> None:
        self._memories = memories
        self._metrics = metrics

    @override
    def collect(self) -> Iterator[Metric]:
        snapshots = Metric("mnemodex_snapshot", "The number of the snapshot that is served", "gauge")
        refused = Metric("mnemodex_index_refused", "Whether an index cannot be searched", "gauge")
        problems = Metric("mnemodex_memory_problem", "Whether something of a memory is not served", "gauge")
        kept = Metric("mnemodex_rows_bytes", "Memory of the rows of hits that are kept, decoded", "gauge")
        rows = Metric("mnemodex_rows", "Columns of row groups that hits were taken from: kept, or read then", "counter")
        for served in self._memories:
            label = {"memory": served.name}
            cache = served.memory.snapshot.rows
            kept.add_sample(kept.name, label, float(cache.bytes))
            for result, count in (("kept", cache.found), ("read", cache.read)):
                rows.add_sample(f"{rows.name}_total", {**label, "result": result}, float(count))
            snapshots.add_sample(snapshots.name, label, float(served.snapshot))
            problems.add_sample(problems.name, label, float(served.name in self._memories.problems))
            for index in served.memory.indexes:
                refused.add_sample(refused.name, {**label, "index": index}, float(index in served.refused))
        lost = Metric("mnemodex_audit_lost", "Entries of the audit log that could not be written", "gauge")
        lost.add_sample(lost.name, {}, float(self._metrics.audit.lost if self._metrics.audit else 0))
        yield from (snapshots, refused, problems, kept, rows, lost)
