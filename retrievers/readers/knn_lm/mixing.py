"""How the probabilities of a model and of its neighbours in a datastore are mixed."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Buckets:
    """A weight (lambda) for each range of the nearest entry's squared distance (Drozdov et al., arXiv 2210.15859).

    Attributes:
        edges: ascending distances that part the ranges, n of them.
        weights: n + 1 weights between 0 and 1.
    """

    edges: tuple[float, ...]
    weights: tuple[float, ...]


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
    """

    k: int = 64
    weight: float | Buckets = 0.25
    temperature: float | None = None
    gate: float | None = None
    rescore: bool = False
    pointers: int | None = None
