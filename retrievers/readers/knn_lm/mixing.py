"""How the probabilities of a model and of its neighbours in a datastore are mixed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from mnemodex.schemas.errors import QueryError

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Buckets:
    """A weight (lambda) for each range of the nearest entry's squared distance (Drozdov et al., arXiv 2210.15859).

    Attributes:
        edges: ascending distances that part the ranges, n of them. A distance that equals an edge belongs to the range
            above it.
        weights: n + 1 weights between 0 and 1.

    Raises:
        QueryError: edges do not ascend or are not finite, or the weights are too many, too few, or no weights.
    """

    edges: tuple[float, ...]
    weights: tuple[float, ...]

    def __post_init__(self) -> None:
        if len(self.weights) != len(self.edges) + 1:
            msg = (
                f"buckets have {len(self.edges)} edges and {len(self.weights)} weights: give one weight more than edges"
            )
            raise QueryError(msg)
        if not all(map(math.isfinite, self.edges)) or any(
            a >= b for a, b in zip(self.edges, self.edges[1:], strict=False)
        ):
            msg = f"the edges of buckets are {list(self.edges)}: give finite distances that ascend"
            raise QueryError(msg)
        for weight in self.weights:
            _check_weight(weight)

    def weight_of(self, nearest: NDArray[np.float32]) -> NDArray[np.float64]:
        """The weight for squared distances of nearest entries: same shape."""
        return np.asarray(self.weights, np.float64)[np.searchsorted(self.edges, nearest, side="right")]


@dataclass(frozen=True, slots=True)
class Mixing:
    """Settings of kNN-LM (Khandelwal et al., 2020): p = weight · p_knn + (1 - weight) · p_lm.

    Attributes:
        k: neighbours of each token.
        weight: lambda, between 0 and 1, or one for each range of distances.
        temperature: of the softmax over negated squared distances, in their units; the datastore's `scale` by default.
        gate: look up only where the model's entropy, in nats, is at least this; elsewhere the model's probabilities
            stay as they are.
        rescore: take the exact distances of the k entries instead of the index's estimates.
        pointers: look up only where fewer than so many entries follow from the token before (RetoMaton; Alon et al.,
            2022): the successors of neighbours whose value was the token that came. None to look up always.

    Raises:
        QueryError: a setting is out of its range.
    """

    k: int = 64
    weight: float | Buckets = 0.25
    temperature: float | None = None
    gate: float | None = None
    rescore: bool = False
    pointers: int | None = None

    def __post_init__(self) -> None:
        if self.k < 1:
            msg = f"k is {self.k}: give at least 1 neighbour"
            raise QueryError(msg)
        if not isinstance(self.weight, Buckets):
            _check_weight(self.weight)
        if self.temperature is not None and not 0 < self.temperature < math.inf:
            msg = f"temperature is {self.temperature}: give a finite number above 0, in units of squared distance"
            raise QueryError(msg)
        if self.gate is not None and not 0 <= self.gate < math.inf:
            msg = f"gate is {self.gate}: give an entropy in nats, 0 or more, or None to look up everywhere"
            raise QueryError(msg)
        if self.pointers is not None and not 1 <= self.pointers <= self.k:
            msg = f"pointers is {self.pointers}: give 1 to k ({self.k}) entries, or None to search always"
            raise QueryError(msg)

    def weight_of(self, nearest: NDArray[np.float32]) -> NDArray[np.float64]:
        """The weight of places by the squared distance of their nearest entry: 0 where it is inf, for none was found.

        Args:
            nearest: shape (q,).

        Returns:
            Shape (q,).
        """
        if isinstance(self.weight, Buckets):
            weights = self.weight.weight_of(nearest)
        else:
            weights = np.full(len(nearest), self.weight, np.float64)
        return np.where(np.isinf(nearest), 0.0, weights)


def nearest_distance(distances: NDArray[np.float32]) -> NDArray[np.float32]:
    """The least squared distance of each row: (q, k) to (q,), inf where all are missing."""
    nearest: NDArray[np.float32] = distances.min(axis=1, initial=np.inf)
    return nearest


def log_weights(distances: NDArray[np.float32], temperature: float) -> NDArray[np.float64]:
    """The logarithm of each neighbour's part of p_knn: a softmax over `-distance / temperature`, for any distances.

    Args:
        distances: squared, of shape (q, k); inf for missing ones.
        temperature: in their units.

    Returns:
        Shape (q, k): -inf for missing ones.
    """
    nearest = nearest_distance(distances).astype(np.float64)
    # A row without neighbours has none to subtract: inf - inf would be NaN.
    gaps = distances.astype(np.float64) - np.where(np.isinf(nearest), 0.0, nearest)[:, None]
    with np.errstate(over="ignore", under="ignore"):
        logs: NDArray[np.float64] = -gaps / temperature
        total = np.exp(logs).sum(axis=1, keepdims=True)
    return logs - np.log(np.where(total > 0, total, 1.0))


def knn_log_probability(
    distances: NDArray[np.float32], tokens: NDArray[np.int32], targets: NDArray[np.int32], temperature: float
) -> NDArray[np.float64]:
    """The logarithm of p_knn of one token each: of the softmax over neighbours, the part of those with that token.

    Args:
        distances: squared, of shape (q, k); inf for missing ones, in any order.
        tokens: the neighbours' values, shape (q, k).
        targets: shape (q,).
        temperature: in the distances' units.

    Returns:
        Shape (q,): -inf where no neighbour has the token.
    """
    has = tokens == targets[:, None]
    logs = np.where(has, log_weights(distances, temperature), -np.inf)
    greatest = logs.max(axis=1, initial=-np.inf)
    found = np.isfinite(greatest)
    base = np.where(found, greatest, 0.0)
    with np.errstate(under="ignore"):
        total = np.exp(logs - base[:, None]).sum(axis=1)
    return np.where(found, base + np.log(np.where(found, total, 1.0)), -np.inf)


def token_log_probabilities(
    distances: NDArray[np.float32], tokens: NDArray[np.int32], temperature: float
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """The logarithms of p_knn of all tokens that have a part of it.

    Args:
        distances: squared, of shape (q, k); inf for missing ones, in any order.
        tokens: the neighbours' values, shape (q, k).
        temperature: in the distances' units.

    Returns:
        Rows, tokens and logarithms, one place for each token of each row, by row and token.
    """
    logs = log_weights(distances, temperature)
    row, column = np.nonzero(logs > -np.inf)
    token = tokens[row, column].astype(np.int64)
    order = np.lexsort((token, row))
    row, token, logs = row[order], token[order], logs[row, column][order]
    first = np.ones(len(row), bool)
    first[1:] = (row[1:] != row[:-1]) | (token[1:] != token[:-1])
    starts = np.flatnonzero(first)
    if not len(starts):
        return row, token, logs
    greatest = np.maximum.reduceat(logs, starts)
    with np.errstate(under="ignore"):
        parts = np.exp(logs - greatest[np.cumsum(first) - 1])
    return row[starts], token[starts], greatest + np.log(np.add.reduceat(parts, starts))


def mixed_log_probability(
    model: NDArray[np.float64], neighbours: NDArray[np.float64], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """ln(weight · p_knn + (1 - weight) · p_lm), element by element.

    Args:
        model: ln p_lm.
        neighbours: ln p_knn.
        weights: between 0 and 1; what `Mixing.weight_of` gives. Where it is 0 the model's stay as they are.
    """
    with np.errstate(divide="ignore", under="ignore"):
        return np.logaddexp(np.log(weights) + neighbours, np.log1p(-weights) + model)


def _check_weight(weight: float) -> None:
    if not 0 <= weight <= 1:
        msg = f"weight is {weight}: give a number between 0 and 1"
        raise QueryError(msg)
