"""Which workers there are and where: CPUs and GPUs of the nodes, shared out among the steps that need them."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mnemodex.schemas.steps import Resources


@dataclass(frozen=True, slots=True)
class Shape:
    """What one worker has."""

    cpus: int
    gpus: int = 0


@dataclass(slots=True, eq=False)
class Node:
    """A node of the cluster, and what of it is not given to workers."""

    name: str
    cpus: int
    gpus: int
    free_cpus: int
    free_gpus: int

    def fits(self, shape: Shape) -> bool:
        """Whether a worker of a shape has room."""
        return self.free_cpus >= shape.cpus and self.free_gpus >= shape.gpus


@dataclass(slots=True, eq=False)
class Placed:
    """A worker on a node.

    Attributes:
        shape: what it has.
        node: where it is.
        handle: what it is called with.
        number: unique in the build.
        unit: what it works on, if anything.
        queue: units that only it works on, for they go on where the one before ended.
    """

    shape: Shape
    node: Node
    handle: Any
    number: int
    unit: Any = None
    queue: deque[Any] = field(default_factory=deque)


class Placement:
    """Shares the nodes out among workers.

    Args:
        nodes: name, CPUs and GPUs of each.
    """

    def __init__(self, nodes: list[tuple[str, int, int]]) -> None:
        self._nodes: dict[str, Node] = {}
        self.workers: list[Placed] = []
        self._number = 0
        self.update(nodes)

    def update(self, nodes: list[tuple[str, int, int]]) -> None:
        """Take note of nodes that joined or left."""
        names = {name for name, _, _ in nodes}
        self.workers = [worker for worker in self.workers if worker.node.name in names]
        self._nodes = {name: node for name, node in self._nodes.items() if name in names}
        for name, cpus, gpus in nodes:
            self._nodes.setdefault(name, Node(name, cpus, gpus, cpus, gpus))

    def shape(self, needs: Resources, units: int) -> Shape:
        """Return what a worker of a step has: as many CPUs as can work where few units can use several each."""
        if needs.gpus and any(node.gpus >= needs.gpus for node in self._nodes.values()):
            return Shape(needs.cpus, needs.gpus)
        cpus = [node.cpus for node in self._nodes.values()]
        most = max(cpus, default=1)
        each = max(needs.cpus, min(most, sum(cpus) // max(units, 1))) if needs.threads else needs.cpus
        return Shape(min(each, max(most, 1)))

    def idle(self, shape: Shape) -> Placed | None:
        """Return a worker of a shape that has nothing to do."""
        return next((worker for worker in self.workers if worker.unit is None and worker.shape == shape), None)

    def room(self, shape: Shape) -> tuple[Node, list[Placed]] | None:
        """Return where a worker of a shape would have room, and the idle workers that are to go for it.

        No more go than are in the way: another worker has its model to load.
        """
        nodes = sorted(self._nodes.values(), key=lambda node: -node.free_cpus)
        for node in nodes:
            if node.fits(shape):
                return node, []
        for node in nodes:
            going = []
            cpus, gpus = shape.cpus - node.free_cpus, shape.gpus - node.free_gpus
            # A worker with a GPU goes first where one is wanted, and last where none is.
            for worker in sorted(self.workers, key=lambda one: one.shape.gpus, reverse=gpus > 0):
                if worker.node is node and worker.unit is None and (cpus > 0 or (gpus > 0 and worker.shape.gpus)):
                    going.append(worker)
                    cpus, gpus = cpus - worker.shape.cpus, gpus - worker.shape.gpus
            if cpus <= 0 and gpus <= 0:
                return node, going
        return None

    def add(self, shape: Shape, node: Node) -> Placed:
        """Note a new worker."""
        node.free_cpus -= shape.cpus
        node.free_gpus -= shape.gpus
        self._number += 1
        placed = Placed(shape, node, None, self._number)
        self.workers.append(placed)
        return placed

    def remove(self, worker: Placed) -> None:
        """Note that a worker is gone."""
        if worker in self.workers:
            self.workers.remove(worker)
            worker.node.free_cpus += worker.shape.cpus
            worker.node.free_gpus += worker.shape.gpus
