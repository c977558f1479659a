"""Personalised PageRank over a weighted graph: exactly, for many questions at once, or near the seeds only."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from numpy.typing import NDArray

DAMPING = 0.5
"""The probability to walk on rather than to start again (HippoRAG's)."""

_QUESTIONS = 16
"""Questions that walk together: in single precision a node's numbers fill a cache line."""


class Mass(NamedTuple):
    """Probability on some of the nodes.

    Attributes:
        nodes: integers of shape (n,), each node once.
        values: of shape (n,); how they are scaled does not matter when they are seeds.
    """

    nodes: NDArray[np.integer]
    values: NDArray[np.floating]


class Walk:
    """A graph to walk on. A step goes along an edge with a probability proportional to its weight.

    Where a walk can go nowhere it starts again, as everywhere with probability 1 - damping, at a node drawn from the
    reset. That is igraph's personalised PageRank (by PRPACK) of an undirected graph.

    Args:
        indptr: int64 of shape (nodes + 1,), the adjacency's; may be mapped.
        indices: int32 of shape (pairs,), the adjacency's; may be mapped.
        weights: float32 of shape (pairs,), not negative, the same from either end.
        damping: the probability to walk on, less than 1.
    """

    def __init__(
        self,
        indptr: NDArray[np.int64],
        indices: NDArray[np.int32],
        weights: NDArray[np.float32],
        *,
        damping: float = DAMPING,
    ) -> None:
        from mnemodex.retrievers.graph.walking import strengths

        self.damping = damping
        self._adjacency = (_frozen(indptr), _frozen(indices), _frozen(weights))
        self._strength = strengths(self._adjacency[0], self._adjacency[2])

    @property
    def nodes(self) -> int:
        """The number of nodes."""
        return len(self._strength)

    def exact(self, resets: NDArray[np.floating]) -> NDArray[np.float64]:
        """The probability of every node, in double precision, right to 1e-10.

        Args:
            resets: of shape (questions, nodes), not negative: where walks start; rows need not sum to 1.

        Returns:
            Shape (questions, nodes); rows sum to 1, or are zeros where the reset is.
        """
        return self._iterate(resets, np.float64, 1e-10)

    def batched(self, resets: NDArray[np.floating], tolerance: float = 1e-6) -> NDArray[np.float32]:
        """As `exact`, in single precision, and no farther than a part `tolerance` of all walks goes.

        Takes 12 bytes a node for each of at most 16 questions at a time beside the result.
        """
        return self._iterate(resets, np.float32, tolerance)

    def _iterate(self, resets: NDArray[np.floating], dtype: Any, tolerance: float) -> NDArray[Any]:
        from mnemodex.retrievers.graph.walking import step

        found = np.empty(resets.shape, dtype)
        with np.errstate(divide="ignore"):
            scale = np.where(self._strength > 0, self.damping / self._strength, 0).astype(dtype)
        steps = math.ceil(math.log(tolerance) / math.log(self.damping))
        for start in range(0, len(resets), _QUESTIONS):
            block = np.ascontiguousarray(_shares(resets[start : start + _QUESTIONS]).T, dtype)
            here, there = block * scale[:, None], np.empty_like(block)
            for number in range(steps):
                last = number == steps - 1
                step(self._adjacency, np.ones_like(scale) if last else scale, block, here, there)
                here, there = there, here
            # The walks that got stuck start again; all that they would do is what the others do, so it is a scale.
            found[start : start + _QUESTIONS] = _shares(here.T)
        return found

    def push(self, seeds: Sequence[Mass], *, epsilon: float = 1e-6, threads: int = 1) -> list[Mass]:
        """The probability of the nodes around the seeds, by forward push (Andersen, Chung and Lang, 2006).

        The cost does not grow with the graph: at most 1 / (epsilon * (1 - damping)) edges a question.

        Args:
            seeds: for each question, where its walks start.
            epsilon: less than this for each of its neighbours may be left at a node, of a probability of 1.
            threads: questions that are answered side by side, each with 32 bytes a node.

        Returns:
            For each question the nodes that were met, in no certain order, with probabilities that sum to 1.
        """
        parts = [seeds[number::threads] for number in range(min(threads, len(seeds)))]
        if len(parts) <= 1:
            return self._push(seeds, epsilon)
        with ThreadPoolExecutor(len(parts)) as pool:
            answers = list(pool.map(lambda part: self._push(part, epsilon), parts))
        return [answers[number % threads][number // threads] for number in range(len(seeds))]

    def _push(self, seeds: Sequence[Mass], epsilon: float) -> list[Mass]:
        from mnemodex.retrievers.graph.walking import push

        size = max(self.nodes, 1)
        state, queue = np.zeros((size, 3)), np.zeros(2 * size, np.int32)
        found = []
        for nodes, values in seeds:
            start = (np.array(nodes, np.int64), _shares(np.array(values, np.float64)))
            met, came = push(self._adjacency, self._strength, start, self.damping, epsilon, state, queue)
            found.append(Mass(met, _shares(came)))
        return found


def _shares(masses: NDArray[np.floating]) -> NDArray[Any]:
    """Masses divided by their sum along the last axis, or zeros."""
    total = masses.sum(axis=-1, keepdims=True)
    return masses / np.where(total > 0, total, 1)


def _frozen(array: NDArray[Any]) -> NDArray[Any]:
    """A view that cannot be written to, so that kernels meet one type of array, whether it is mapped or not."""
    view = np.asarray(array).view()
    view.flags.writeable = False
    return view
