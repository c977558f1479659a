"""How the probabilities of a model and of its neighbours in a datastore are mixed, and settings of that in files."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, fields
from itertools import pairwise
from typing import TYPE_CHECKING, Any, SupportsFloat, SupportsIndex

import numpy as np
from pydantic import TypeAdapter, ValidationError

from mnemodex.schemas.errors import QueryError
from mnemodex.schemas.validation import say_first

if TYPE_CHECKING:
    from pathlib import Path

    from mnemodex.indexers.arrays import Float32s, Float64s, Int32s, Int64s


@dataclass(frozen=True, slots=True)
class Buckets:
    """A weight (lambda) for each range of the nearest entry's squared distance (Drozdov et al., arXiv 2210.15859).

    Attributes:
        edges: n ascending distances between the ranges. A distance that equals an edge belongs to the range above it.
        weights: n + 1 weights between 0 and 1.

    Raises:
        QueryError: edges do not ascend or are not finite, or the weights are too many, too few, or no weights.
    """

    edges: tuple[float, ...]
    weights: tuple[float, ...]

    def __post_init__(self) -> None:
        counts = f"{len(self.edges)} edges and {len(self.weights)} weights"
        _check(len(self.weights) == len(self.edges) + 1, f"buckets have {counts}: give one weight more than edges")
        ascending = all(map(math.isfinite, self.edges)) and all(low < high for low, high in pairwise(self.edges))
        _check(ascending, f"the edges of buckets are {list(self.edges)}: give finite distances that ascend")
        for weight in self.weights:
            _check_weight(weight)

    def weight_of(self, nearest: Float32s) -> Float64s:
        """Return the weight for squared distances of nearest entries: same shape."""
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
        pointers: search only where fewer than so many entries follow from the token before (RetoMaton; Alon et al.,
            2022): the successors of neighbours whose value was the token that came. None to search always.

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
        for name in ("k", "temperature", "gate", "pointers"):
            _check_type(name, getattr(self, name), whole=name in {"k", "pointers"}, optional=name != "k")
        _check(self.k >= 1, f"k is {self.k}: give at least 1 neighbour")
        if not isinstance(self.weight, Buckets):
            _check_weight(self.weight)
        _check(
            self.temperature is None or 0 < self.temperature < math.inf,
            f"temperature is {self.temperature}: give a finite number above 0, in units of squared distance",
        )
        _check(
            self.gate is None or 0 <= self.gate < math.inf,
            f"gate is {self.gate}: give an entropy in nats, 0 or more, or None to look up everywhere",
        )
        _check(
            self.pointers is None or 1 <= self.pointers <= self.k,
            f"pointers is {self.pointers}: give 1 to k ({self.k}) entries, or None to search always",
        )

    def weight_of(self, nearest: Float32s) -> Float64s:
        """Return the weights for squared distances of nearest entries, shape (q,): 0 for inf, which means no entry."""
        weights = self.weight.weight_of(nearest) if isinstance(self.weight, Buckets) else self.weight
        return np.where(np.isinf(nearest), 0.0, weights)

    def save(self, path: Path) -> None:
        """Write the settings as one JSON object; buckets are `{"edges", "weights"}`."""
        path.write_text(json.dumps(asdict(self), indent=1, allow_nan=False) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> Mixing:
        """Read settings that `save` or a person wrote; those that are left out have their defaults.

        Raises:
            QueryError: the file cannot be read, or has a setting that is unknown or out of its range.
        """
        try:
            settings: Any = json.loads(path.read_text(encoding="utf-8-sig"))
            if isinstance(settings, dict):
                _check_names(settings, Mixing)
                _check_names(settings.get("weight"), Buckets)
            return TypeAdapter(Mixing).validate_json(json.dumps(settings), strict=True)
        except OSError as error:
            raise QueryError(f"{path}: cannot be read ({error.strerror}); correct the path") from error
        except ValidationError as error:
            raise QueryError(f"{path}: {say_first(error)}") from error
        except (QueryError, ValueError) as error:
            raise QueryError(f"{path}: {error}") from error


def nearest_distance(distances: Float32s) -> Float32s:
    """Return the least squared distance of each row: (q, k) to (q,), inf where all are missing."""
    nearest: Float32s = distances.min(axis=1, initial=np.inf)
    return nearest


def log_weights(distances: Float32s, temperature: float) -> Float64s:
    """Return the logarithm of each neighbour's part of p_knn, shape (q, k): a softmax over `-distance / temperature`.

    Distances are squared, of the same shape; inf for missing ones, whose part is 0. The temperature is in their units.
    """
    nearest = nearest_distance(distances).astype(np.float64)
    # A row without neighbours has none to subtract: inf - inf would be NaN.
    gaps = distances.astype(np.float64) - np.where(np.isinf(nearest), 0.0, nearest)[:, None]
    with np.errstate(over="ignore", under="ignore"):
        logs: Float64s = -gaps / temperature
        total = np.exp(logs).sum(axis=1, keepdims=True)
    return logs - np.log(np.where(total > 0, total, 1.0))


def knn_log_probability(distances: Float32s, tokens: Int32s, targets: Int32s, temperature: float) -> Float64s:
    """Return the logarithm of p_knn of one token, its target, for each row, shape (q,): -inf where no neighbour has it.

    Squared distances (inf for missing ones) and tokens are those of the neighbours, in any order, of shape (q, k). The
    temperature is in the distances' units.
    """
    logs = np.where(tokens == targets[:, None], log_weights(distances, temperature), -np.inf)
    greatest = logs.max(axis=1, initial=-np.inf)
    possible = np.isfinite(greatest)
    base = np.where(possible, greatest, 0.0)
    with np.errstate(under="ignore"):
        total = np.exp(logs - base[:, None]).sum(axis=1)
    return np.where(possible, base + np.log(np.where(possible, total, 1.0)), -np.inf)


def token_log_probabilities(distances: Float32s, tokens: Int32s, temperature: float) -> tuple[Int64s, Int64s, Float64s]:
    """Return the logarithms of p_knn of all tokens that neighbours have; arguments as for `knn_log_probability`.

    Returns:
        Rows, tokens and logarithms, one of each for each token of each row, by row and token.
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


def mixed_log_probability(model: Float64s, neighbours: Float64s, weights: Float64s) -> Float64s:
    """Return ln(weight · p_knn + (1 - weight) · p_lm), element by element, given ln p_lm and ln p_knn.

    The weights are between 0 and 1, as `Mixing.weight_of` gives them. Where it is 0, `model` is returned bit by bit.
    """
    with np.errstate(divide="ignore", under="ignore"):
        return np.logaddexp(np.log(weights) + neighbours, np.log1p(-weights) + model)


def _check(valid: bool, message: str) -> None:
    if not valid:
        raise QueryError(message)


def _check_type(name: str, value: Any, *, whole: bool, optional: bool) -> None:
    numeric = isinstance(value, SupportsIndex if whole else SupportsFloat) and not isinstance(value, bool)
    what = "a whole number" if whole else "a number"
    _check(numeric or (optional and value is None), f"{name} is {value!r}, a {type(value).__name__}: give {what}")


def _check_weight(weight: float) -> None:
    _check_type("weight", weight, whole=False, optional=False)
    _check(0 <= weight <= 1, f"weight is {weight}: give a number between 0 and 1")


def _check_names(settings: Any, kind: type[Mixing | Buckets]) -> None:
    """Refuse unknown settings, which validation of standard dataclasses ignores."""
    known = [field.name for field in fields(kind)]
    if isinstance(settings, dict) and (unknown := sorted(set(settings) - set(known))):
        raise QueryError(f"no setting {unknown[0]!r}; there are {', '.join(known)}")
