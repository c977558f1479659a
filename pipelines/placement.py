"""Which workers there are and where: CPUs, GPUs and memory of the nodes, shared out among the steps that need them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mnemodex.schemas.steps import Resources

AHEAD = 2
"""Units that a worker with a GPU is given: while one is computed, the other one is checked or published."""


class Shape(NamedTuple):
    """What one worker has; memory in bytes."""

    cpus: int
    gpus: int = 0
    memory: int = 0


class NodeSize(NamedTuple):
    """What a node of the cluster has; memory in bytes."""

    name: str
    cpus: int
    gpus: int
    memory: int = 0


class Node:
    """A node of the cluster, and what of it is not given to workers."""

    def __init__(self, size: NodeSize) -> None:
        self.size = size
        self.name = size.name
        self.free = Shape(size.cpus, size.gpus, size.memory)

    @property
    def kept(self) -> int:
        """CPUs that wait for workers with a GPU: one for each GPU, as far as other steps have one too."""
        return min(self.size.gpus, max(self.size.cpus - 1, 0))

    def threads(self, shape: Shape) -> int:
        """Return the CPU threads of a worker: with a GPU those of its share of the node, for the GPU is not to wait."""
        return max(shape.cpus, self.size.cpus * shape.gpus // self.size.gpus) if shape.gpus else shape.cpus

    def take(self, shape: Shape, sign: int = 1) -> None:
        """Give a worker what it has, or with the sign -1 take it back."""
        self.free = Shape(*(free - sign * taken for free, taken in zip(self.free, shape, strict=True)))

    def lack(self, shape: Shape, going: Iterable[Placed] = ()) -> Shape:
        """Return what is missing for a worker of a shape once some workers are gone; nothing where all is zero."""
        gone = [worker.shape for worker in going]
        cpus, gpus, memory = (sum(column) for column in zip(self.free, *gone, strict=True))
        kept = 0 if shape.gpus else max(0, self.kept - (self.size.gpus - gpus))
        return Shape(max(0, shape.cpus - cpus + kept), max(0, shape.gpus - gpus), max(0, shape.memory - memory))


_NOTHING = Shape(0)


@dataclass(slots=True, eq=False)
class Placed:
    """A worker on a node.

    Attributes:
        handle: what it is called with.
        number: unique in the build.
        units: what it was given and has not answered; it works on the first one.
    """

    shape: Shape
    node: Node
    handle: Any
    number: int
    units: list[Any] = field(default_factory=list)

    def can_do(self, shape: Shape) -> bool:
        """Whether it has what a step of a shape needs, and no CPU or GPU more."""
        return self.shape[:2] == shape[:2] and self.shape.memory >= shape.memory


class Placement:
    """Shares nodes of some sizes out among workers."""

    def __init__(self, nodes: Sequence[NodeSize]) -> None:
        self._nodes: dict[str, Node] = {}
        self.workers: list[Placed] = []
        self._number = 0
        self.update(nodes)

    def update(self, nodes: Sequence[NodeSize]) -> None:
        """Take note of nodes that joined or left."""
        names = {size.name for size in nodes}
        self.workers = [worker for worker in self.workers if worker.node.name in names]
        self._nodes = {name: node for name, node in self._nodes.items() if name in names}
        for size in nodes:
            self._nodes.setdefault(size.name, Node(size))

    def shape(self, needs: Resources, units: int) -> Shape:
        """Return what a worker of a step has: as many CPUs as can work where few units can use several each.

        A step that wants more than any node has gets what the largest one has.
        """
        sizes = [node.size for node in self._nodes.values()]
        memory = min(needs.memory, max((size.memory for size in sizes), default=0))
        if needs.gpus and any(size.gpus >= needs.gpus for size in sizes):
            return Shape(needs.cpus, needs.gpus, memory)
        cpus = [node.size.cpus - node.kept for node in self._nodes.values()]
        most = max(cpus, default=1)
        each = max(needs.cpus, min(most, sum(cpus) // max(units, 1))) if needs.threads else needs.cpus
        return Shape(min(each, max(most, 1)), 0, memory)

    def idle(self, shape: Shape) -> Placed | None:
        """Return a worker for a shape that has nothing to do."""
        return next((worker for worker in self.workers if not worker.units and worker.can_do(shape)), None)

    def ahead(self, shape: Shape) -> Placed | None:
        """Return a worker with a GPU that can be given another unit while it works."""
        return next(
            (worker for worker in self.workers if shape.gpus and len(worker.units) < AHEAD and worker.can_do(shape)),
            None,
        )

    def has_room(self, shape: Shape) -> bool:
        """Return whether another unit of a step whose workers have a shape can be begun."""
        return any(find(shape) is not None for find in (self.idle, self.room, self.ahead))

    def room(self, shape: Shape) -> tuple[Node, list[Placed]] | None:
        """Return where a worker of a shape would have room, and the idle workers that are to go for it.

        No more go than are in the way: another worker has its model to load.
        """
        nodes = sorted(self._nodes.values(), key=lambda node: -node.free.cpus)
        for node in nodes:
            if node.lack(shape) == _NOTHING:
                return node, []
        for node in nodes:
            going = self._in_the_way(node, shape)
            if node.lack(shape, going) == _NOTHING:
                return node, going
        return None

    def _in_the_way(self, node: Node, shape: Shape) -> list[Placed]:
        """Return idle workers of a node that have what a worker of a shape lacks."""
        idle = [worker for worker in self.workers if worker.node is node and not worker.units]
        # A worker with a GPU goes first where one is wanted, and last where none is.
        idle.sort(key=lambda worker: worker.shape.gpus, reverse=node.lack(shape).gpus > 0)
        going: list[Placed] = []
        while (lack := node.lack(shape, going)) != _NOTHING:
            others = (worker for worker in idle if worker not in going)
            worker = next((worker for worker in others if node.lack(shape, [*going, worker]) != lack), None)
            if worker is None:
                break
            going.append(worker)
        return going

    def add(self, shape: Shape, node: Node) -> Placed:
        """Note a new worker."""
        node.take(shape)
        self._number += 1
        placed = Placed(shape, node, None, self._number)
        self.workers.append(placed)
        return placed

    def remove(self, worker: Placed) -> None:
        """Note that a worker is gone."""
        if worker in self.workers:
            self.workers.remove(worker)
            worker.node.take(worker.shape, -1)
