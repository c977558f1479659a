"""Which workers there are and where, on made-up nodes."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from mnemodex.pipelines.placement import Placement, Shape
from mnemodex.schemas.steps import Resources

ONE = Shape(1)


class TestShape:
    @pytest.mark.parametrize(
        ("nodes", "needs", "units", "shape"),
        [
            # One CPU each, however many there are.
            ([("a", 8, 0)], Resources(), 1, Shape(1)),
            ([("a", 8, 0)], Resources(cpus=3), 1, Shape(3)),
            # Few units share all CPUs out among themselves.
            ([("a", 8, 0)], Resources(threads=True), 1, Shape(8)),
            ([("a", 8, 0)], Resources(threads=True), 3, Shape(2)),
            ([("a", 8, 0)], Resources(threads=True), 100, Shape(1)),
            ([("a", 8, 0), ("b", 8, 0)], Resources(threads=True), 4, Shape(4)),
            ([("a", 8, 0), ("b", 8, 0)], Resources(threads=True), 1, Shape(8)),
            ([("a", 8, 0)], Resources(cpus=2, threads=True), 8, Shape(2)),
            ([("a", 8, 0)], Resources(threads=True), 0, Shape(8)),
            # Not more than the largest node has.
            ([("a", 2, 0), ("b", 4, 0)], Resources(cpus=9), 1, Shape(4)),
            ([], Resources(cpus=2), 1, Shape(1)),
            # A GPU where there is one, with the CPUs that are asked for.
            ([("a", 8, 0), ("b", 8, 2)], Resources(gpus=1, threads=True), 1, Shape(1, 1)),
            ([("a", 8, 2)], Resources(gpus=2), 1, Shape(1, 2)),
            # Where there is none, the CPUs do it.
            ([("a", 8, 0)], Resources(gpus=1, threads=True), 1, Shape(8)),
            ([("a", 8, 1)], Resources(gpus=2, threads=True), 1, Shape(8)),
            ([("a", 8, 0)], Resources(gpus=1), 1, Shape(1)),
        ],
    )
    def test_a_worker_has_what_its_step_can_use(self, nodes, needs, units, shape):
        assert Placement(nodes).shape(needs, units) == shape


def filled(placement, shape):
    """Begin workers of a shape as long as there is room for them beside the others."""
    while (room := placement.room(shape)) is not None and not room[1]:
        placed = placement.add(shape, room[0])
        placed.unit = "work"
    return [worker.node.name for worker in placement.workers]


class TestRoom:
    def test_workers_are_spread_over_the_nodes(self):
        placement = Placement([("a", 2, 0), ("b", 4, 0)])
        assert Counter(filled(placement, ONE)) == {"a": 2, "b": 4}
        assert placement.room(ONE) is None

    def test_the_node_with_most_free_cpus_is_the_first(self):
        placement = Placement([("a", 2, 0), ("b", 4, 0)])
        assert placement.room(ONE)[0].name == "b"

    def test_gpus_are_given_once(self):
        placement = Placement([("a", 8, 1), ("b", 8, 2)])
        assert Counter(filled(placement, Shape(1, 1))) == {"a": 1, "b": 2}
        # The CPUs beside them are free for other steps.
        assert Counter(filled(placement, ONE)) == {"a": 8, "b": 8}

    def test_there_is_no_room_for_what_is_larger_than_every_node(self):
        placement = Placement([("a", 2, 0), ("b", 2, 0)])
        assert placement.room(Shape(3)) is None
        assert placement.room(Shape(1, 1)) is None

    def test_an_idle_worker_of_the_shape_is_taken_again(self):
        placement = Placement([("a", 2, 0)])
        worker = placement.add(ONE, placement.room(ONE)[0])
        assert placement.idle(ONE) is worker and placement.idle(Shape(2)) is None
        worker.unit = "work"
        assert placement.idle(ONE) is None

    def test_idle_workers_make_room_for_another_shape(self):
        placement = Placement([("a", 2, 0)])
        idle = placement.add(ONE, placement.room(ONE)[0])
        busy = placement.add(ONE, placement.room(ONE)[0])
        busy.unit = "work"
        assert placement.room(Shape(2)) is None
        node, going = placement.room(Shape(1, 0))
        assert going == [idle]
        busy.unit = None
        node, going = placement.room(Shape(2))
        assert (node.name, set(map(id, going))) == ("a", {id(idle), id(busy)})
        for worker in going:
            placement.remove(worker)
        assert placement.room(Shape(2)) == (node, []) and placement.workers == []

    def test_no_worker_goes_where_there_is_room_beside_it(self):
        placement = Placement([("a", 2, 0), ("b", 2, 0)])
        worker = placement.add(ONE, placement.room(ONE)[0])
        node, going = placement.room(Shape(2))
        assert going == [] and node.name != worker.node.name

    def test_a_worker_that_waits_for_its_queue_is_not_idle(self):
        placement = Placement([("a", 1, 0)])
        worker = placement.add(ONE, placement.room(ONE)[0])
        worker.unit = "first"
        worker.queue.append("second")
        assert placement.idle(ONE) is None and placement.room(ONE) is None

    def test_only_as_many_idle_workers_go_as_are_in_the_way(self):
        placement = Placement([("a", 4, 0)])
        idle = [placement.add(ONE, placement.room(ONE)[0]) for _ in range(4)]
        _, going = placement.room(Shape(2))
        assert len(going) == 2 and set(map(id, going)) <= set(map(id, idle))
        mixed = Placement([("a", 4, 1)])
        for shape in (ONE, ONE, ONE, Shape(1, 1)):
            mixed.add(shape, mixed.room(shape)[0])
        assert [worker.shape for worker in mixed.room(Shape(1, 1))[1]] == [Shape(1, 1)]
        assert [worker.shape for worker in mixed.room(Shape(3))[1]] == [ONE] * 3


class TestNodes:
    def test_a_node_that_leaves_takes_its_workers_along(self):
        placement = Placement([("a", 1, 0), ("b", 1, 0)])
        filled(placement, ONE)
        placement.update([("b", 1, 0)])
        assert [worker.node.name for worker in placement.workers] == ["b"]
        assert placement.room(ONE) is None

    def test_a_worker_of_a_node_that_left_can_be_removed(self):
        placement = Placement([("a", 1, 0), ("b", 1, 0)])
        filled(placement, ONE)
        gone = next(worker for worker in placement.workers if worker.node.name == "a")
        placement.update([("b", 1, 0)])
        placement.remove(gone)
        assert [worker.node.name for worker in placement.workers] == ["b"]

    def test_a_node_that_joins_or_comes_back_is_free(self):
        placement = Placement([("a", 1, 0)])
        filled(placement, ONE)
        placement.update([("a", 1, 0), ("b", 2, 0)])
        assert Counter(filled(placement, ONE)) == {"a": 1, "b": 2}
        placement.update([])
        placement.update([("a", 1, 0)])
        assert placement.workers == [] and placement.room(ONE) is not None

    def test_workers_are_numbered_once(self):
        placement = Placement([("a", 2, 0)])
        first = placement.add(ONE, placement.room(ONE)[0])
        placement.remove(first)
        second = placement.add(ONE, placement.room(ONE)[0])
        assert first.number != second.number

    def test_removing_a_worker_twice_frees_its_cpus_once(self):
        placement = Placement([("a", 1, 0)])
        worker = placement.add(ONE, placement.room(ONE)[0])
        placement.remove(worker)
        placement.remove(worker)
        assert filled(placement, ONE) == ["a"]


sizes = st.tuples(st.integers(0, 4), st.integers(0, 2))


class Cluster(RuleBasedStateMachine):
    """Workers begin and end, nodes join and leave; no node is ever given away twice."""

    @initialize(nodes=st.lists(sizes, min_size=1, max_size=4))
    def start(self, nodes):
        self.nodes = {f"n{number}": size for number, size in enumerate(nodes)}
        self.placement = Placement(self.listed())

    def listed(self):
        return [(name, *size) for name, size in self.nodes.items()]

    def used(self, name, *, busy=False):
        """CPUs and GPUs that the workers of a node have."""
        here = [worker for worker in self.placement.workers if worker.node.name == name]
        shapes = [worker.shape for worker in here if worker.unit is not None or not busy]
        return sum(shape.cpus for shape in shapes), sum(shape.gpus for shape in shapes)

    @rule(cpus=st.integers(1, 4), gpus=st.integers(0, 2))
    def begin(self, cpus, gpus):
        room = self.placement.room(Shape(cpus, gpus))
        if room is None:
            busy = {name: self.used(name, busy=True) for name in self.nodes}
            assert not any(
                size[0] - busy[name][0] >= cpus and size[1] - busy[name][1] >= gpus for name, size in self.nodes.items()
            )
            return
        node, going = room
        assert all(worker.unit is None and worker.node is node for worker in going)
        for worker in going:
            self.placement.remove(worker)
        self.placement.add(Shape(cpus, gpus), node).unit = "work"

    @precondition(lambda self: self.placement.workers)
    @rule(number=st.integers(0, 99), gone=st.booleans())
    def end(self, number, gone):
        worker = self.placement.workers[number % len(self.placement.workers)]
        worker.unit = None
        if gone:
            self.placement.remove(worker)

    @precondition(lambda self: self.nodes)
    @rule(number=st.integers(0, 99))
    def leave(self, number):
        del self.nodes[sorted(self.nodes)[number % len(self.nodes)]]
        self.placement.update(self.listed())

    @rule(number=st.integers(0, 5), size=sizes)
    def join(self, number, size):
        self.nodes.setdefault(f"n{number}", size)
        self.placement.update(self.listed())

    @invariant()
    def every_worker_has_its_own(self):
        for name, (cpus, gpus) in self.nodes.items():
            used = self.used(name)
            assert used[0] <= cpus and used[1] <= gpus
        assert {worker.node.name for worker in self.placement.workers} <= self.nodes.keys()


TestCluster = Cluster.TestCase
