"""Which workers there are and where, on made-up nodes."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from mnemodex.pipelines.placement import AHEAD, NodeSize, Placement, Shape
from mnemodex.schemas.steps import Resources

ONE = Shape(1)


class TestShape:
    @pytest.mark.parametrize(
        ("nodes", "needs", "units", "shape"),
        [
            # One CPU each, however many there are.
            ([NodeSize("a", 8, 0)], Resources(), 1, Shape(1)),
            ([NodeSize("a", 8, 0)], Resources(cpus=3), 1, Shape(3)),
            # Few units share all CPUs out among themselves.
            ([NodeSize("a", 8, 0)], Resources(threads=True), 1, Shape(8)),
            ([NodeSize("a", 8, 0)], Resources(threads=True), 3, Shape(2)),
            ([NodeSize("a", 8, 0)], Resources(threads=True), 100, Shape(1)),
            ([NodeSize("a", 8, 0), NodeSize("b", 8, 0)], Resources(threads=True), 4, Shape(4)),
            ([NodeSize("a", 8, 0), NodeSize("b", 8, 0)], Resources(threads=True), 1, Shape(8)),
            ([NodeSize("a", 8, 0)], Resources(cpus=2, threads=True), 8, Shape(2)),
            ([NodeSize("a", 8, 0)], Resources(threads=True), 0, Shape(8)),
            # Not more than the largest node has.
            ([NodeSize("a", 2, 0), NodeSize("b", 4, 0)], Resources(cpus=9), 1, Shape(4)),
            ([], Resources(cpus=2), 1, Shape(1)),
            # A GPU where there is one, with the CPUs that are asked for.
            ([NodeSize("a", 8, 0), NodeSize("b", 8, 2)], Resources(gpus=1, threads=True), 1, Shape(1, 1)),
            ([NodeSize("a", 8, 2)], Resources(gpus=2), 1, Shape(1, 2)),
            # A CPU of every GPU waits for the worker that feeds it, but not the last one.
            ([NodeSize("a", 16, 1)], Resources(threads=True), 1, Shape(15)),
            ([NodeSize("a", 16, 1), NodeSize("b", 8, 0)], Resources(threads=True), 4, Shape(5)),
            ([NodeSize("a", 2, 4)], Resources(threads=True), 1, Shape(1)),
            ([NodeSize("a", 1, 1)], Resources(threads=True), 1, Shape(1)),
            # Where there is none, the CPUs do it.
            ([NodeSize("a", 8, 0)], Resources(gpus=1, threads=True), 1, Shape(8)),
            ([NodeSize("a", 8, 1)], Resources(gpus=2, threads=True), 1, Shape(7)),
            ([NodeSize("a", 8, 0)], Resources(gpus=1), 1, Shape(1)),
            # Memory as asked for, but not more than the largest node has.
            ([NodeSize("a", 8, 0, 100)], Resources(memory=60), 1, Shape(1, 0, 60)),
            ([NodeSize("a", 8, 1, 100), NodeSize("b", 8, 1, 50)], Resources(gpus=1, memory=200), 1, Shape(1, 1, 100)),
        ],
    )
    def test_a_worker_has_what_its_step_can_use(self, nodes, needs, units, shape):
        assert Placement(nodes).shape(needs, units) == shape


def filled(placement, shape):
    """Begin workers of a shape as long as there is room for them next to the others."""
    while (room := placement.room(shape)) is not None and not room[1]:
        placed = placement.add(shape, room[0])
        placed.units.append("work")
    return [worker.node.name for worker in placement.workers]


class TestRoom:
    def test_workers_are_spread_over_the_nodes(self):
        placement = Placement([NodeSize("a", 2, 0), NodeSize("b", 4, 0)])
        assert Counter(filled(placement, ONE)) == {"a": 2, "b": 4}
        assert placement.room(ONE) is None

    def test_the_node_with_most_free_cpus_is_the_first(self):
        placement = Placement([NodeSize("a", 2, 0), NodeSize("b", 4, 0)])
        assert placement.room(ONE)[0].name == "b"

    def test_gpus_are_given_once(self):
        placement = Placement([NodeSize("a", 8, 1), NodeSize("b", 8, 2)])
        assert Counter(filled(placement, Shape(1, 1))) == {"a": 1, "b": 2}
        # The other CPUs are free for other steps.
        assert Counter(filled(placement, ONE)) == {"a": 8, "b": 8}

    def test_there_is_no_room_for_what_is_larger_than_every_node(self):
        placement = Placement([NodeSize("a", 2, 0), NodeSize("b", 2, 0)])
        assert placement.room(Shape(3)) is None
        assert placement.room(Shape(1, 1)) is None

    def test_an_idle_worker_of_the_shape_is_taken_again(self):
        placement = Placement([NodeSize("a", 2, 0)])
        worker = placement.add(ONE, placement.room(ONE)[0])
        assert placement.idle(ONE) is worker and placement.idle(Shape(2)) is None
        worker.units.append("work")
        assert placement.idle(ONE) is None

    def test_idle_workers_make_room_for_another_shape(self):
        placement = Placement([NodeSize("a", 2, 0)])
        idle = placement.add(ONE, placement.room(ONE)[0])
        busy = placement.add(ONE, placement.room(ONE)[0])
        busy.units.append("work")
        assert placement.room(Shape(2)) is None
        node, going = placement.room(Shape(1, 0))
        assert going == [idle]
        busy.units.clear()
        node, going = placement.room(Shape(2))
        assert (node.name, set(map(id, going))) == ("a", {id(idle), id(busy)})
        for worker in going:
            placement.remove(worker)
        assert placement.room(Shape(2)) == (node, []) and placement.workers == []

    def test_no_worker_goes_where_there_is_room_beside_it(self):
        placement = Placement([NodeSize("a", 2, 0), NodeSize("b", 2, 0)])
        worker = placement.add(ONE, placement.room(ONE)[0])
        node, going = placement.room(Shape(2))
        assert going == [] and node.name != worker.node.name

    def test_cpus_wait_for_the_workers_with_a_gpu(self):
        placement = Placement([NodeSize("a", 16, 1)])
        assert len(filled(placement, ONE)) == 15
        node, going = placement.room(Shape(1, 1))
        assert going == [] and node.threads(Shape(1, 1)) == 16 and node.threads(ONE) == 1
        placement.add(Shape(1, 1), node)
        assert placement.room(ONE) is None

    def test_a_worker_with_a_gpu_keeps_it_while_others_use_all_other_cpus(self):
        placement = Placement([NodeSize("a", 16, 1)])
        feeder = placement.add(Shape(1, 1), placement.room(Shape(1, 1))[0])
        workers = [placement.add(ONE, placement.room(ONE)[0]) for _ in range(15)]
        # It has nothing to do, and is not in the way.
        going = placement.room(Shape(15))[1]
        assert len(going) == 15 and feeder not in going and set(map(id, going)) == set(map(id, workers))

    def test_a_worker_with_a_gpu_is_given_a_unit_ahead_and_no_other_is(self):
        placement = Placement([NodeSize("a", 2, 1)])
        shape = Shape(1, 1)
        assert placement.ahead(shape) is None
        feeder, other = (placement.add(one, placement.room(one)[0]) for one in (shape, ONE))
        feeder.units.append("first")
        other.units.append("first")
        assert placement.idle(shape) is None and placement.room(shape) is None
        assert placement.ahead(shape) is feeder and placement.has_room(shape)
        assert placement.ahead(ONE) is None and not placement.has_room(ONE)
        feeder.units.append("second")
        assert len(feeder.units) == AHEAD and placement.ahead(shape) is None and not placement.has_room(shape)

    def test_memory_is_given_once(self):
        placement = Placement([NodeSize("a", 8, 0, 100), NodeSize("b", 8, 0, 250)])
        assert Counter(filled(placement, Shape(1, 0, 90))) == {"a": 1, "b": 2}
        assert placement.room(ONE) is not None

    def test_an_idle_worker_with_more_memory_does_and_one_with_less_goes(self):
        placement = Placement([NodeSize("a", 8, 0, 100)])
        worker = placement.add(Shape(1, 0, 60), placement.room(Shape(1, 0, 60))[0])
        assert placement.idle(Shape(1, 0, 50)) is worker and placement.idle(Shape(1, 0, 70)) is None
        assert placement.room(Shape(1, 0, 70))[1] == [worker]

    def test_only_as_many_idle_workers_go_as_are_in_the_way(self):
        placement = Placement([NodeSize("a", 4, 0)])
        idle = [placement.add(ONE, placement.room(ONE)[0]) for _ in range(4)]
        _, going = placement.room(Shape(2))
        assert len(going) == 2 and set(map(id, going)) <= set(map(id, idle))
        mixed = Placement([NodeSize("a", 4, 1)])
        for shape in (ONE, ONE, ONE, Shape(1, 1)):
            mixed.add(shape, mixed.room(shape)[0])
        assert [worker.shape for worker in mixed.room(Shape(1, 1))[1]] == [Shape(1, 1)]
        assert [worker.shape for worker in mixed.room(Shape(3))[1]] == [ONE] * 3


class TestNodes:
    def test_a_node_that_leaves_takes_its_workers_along(self):
        placement = Placement([NodeSize("a", 1, 0), NodeSize("b", 1, 0)])
        filled(placement, ONE)
        placement.update([NodeSize("b", 1, 0)])
        assert [worker.node.name for worker in placement.workers] == ["b"]
        assert placement.room(ONE) is None

    def test_a_worker_of_a_node_that_left_can_be_removed(self):
        placement = Placement([NodeSize("a", 1, 0), NodeSize("b", 1, 0)])
        filled(placement, ONE)
        gone = next(worker for worker in placement.workers if worker.node.name == "a")
        placement.update([NodeSize("b", 1, 0)])
        placement.remove(gone)
        assert [worker.node.name for worker in placement.workers] == ["b"]

    def test_a_node_that_joins_or_comes_back_is_free(self):
        placement = Placement([NodeSize("a", 1, 0)])
        filled(placement, ONE)
        placement.update([NodeSize("a", 1, 0), NodeSize("b", 2, 0)])
        assert Counter(filled(placement, ONE)) == {"a": 1, "b": 2}
        placement.update([])
        placement.update([NodeSize("a", 1, 0)])
        assert placement.workers == [] and placement.room(ONE) is not None

    def test_workers_are_numbered_once(self):
        placement = Placement([NodeSize("a", 2, 0)])
        first = placement.add(ONE, placement.room(ONE)[0])
        placement.remove(first)
        second = placement.add(ONE, placement.room(ONE)[0])
        assert first.number != second.number

    def test_removing_a_worker_twice_frees_its_cpus_once(self):
        placement = Placement([NodeSize("a", 1, 0)])
        worker = placement.add(ONE, placement.room(ONE)[0])
        placement.remove(worker)
        placement.remove(worker)
        assert filled(placement, ONE) == ["a"]


sizes = st.tuples(st.integers(0, 4), st.integers(0, 2), st.integers(0, 9))


class Cluster(RuleBasedStateMachine):
    """Workers begin and end, nodes join and leave; nothing of a node is ever given away twice."""

    @initialize(nodes=st.lists(sizes, min_size=1, max_size=4))
    def start(self, nodes):
        self.nodes = {f"n{number}": size for number, size in enumerate(nodes)}
        self.placement = Placement(self.listed())

    def listed(self):
        return [NodeSize(name, *size) for name, size in self.nodes.items()]

    def used(self, name, *, busy=False):
        """CPUs, GPUs and memory that the workers of a node have."""
        here = [worker for worker in self.placement.workers if worker.node.name == name]
        shapes = [worker.shape for worker in here if worker.units or not busy]
        return tuple(sum(shape[place] for shape in shapes) for place in range(3))

    @rule(shape=st.builds(Shape, st.integers(1, 4), st.integers(0, 2), st.integers(0, 5)))
    def begin(self, shape):
        room = self.placement.room(shape)
        if room is None:
            for name, size in self.nodes.items():
                cpus, gpus, memory = (has - used for has, used in zip(size, self.used(name, busy=True), strict=True))
                # A CPU for each GPU that no worker has, but not the node's only one.
                kept = 0 if shape.gpus else max(0, gpus - max(0, size[1] - max(size[0] - 1, 0)))
                assert cpus - kept < shape.cpus or gpus < shape.gpus or memory < shape.memory
            return
        node, going = room
        assert all(not worker.units and worker.node is node for worker in going)
        for worker in going:
            self.placement.remove(worker)
        self.placement.add(shape, node).units.append("work")

    @precondition(lambda self: self.placement.workers)
    @rule(number=st.integers(0, 99), gone=st.booleans())
    def end(self, number, gone):
        worker = self.placement.workers[number % len(self.placement.workers)]
        worker.units.clear()
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
        for name, size in self.nodes.items():
            assert all(used <= has for used, has in zip(self.used(name), size, strict=True))
        assert {worker.node.name for worker in self.placement.workers} <= self.nodes.keys()


TestCluster = Cluster.TestCase
