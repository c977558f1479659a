"""Fitting temperature and weight on one half of the texts."""

from __future__ import annotations

from dataclasses import replace
from operator import itemgetter
from typing import TYPE_CHECKING

import numpy as np

from mnemodex.retrievers.readers.knn_lm.mixing import Buckets, mixed_log_probability
from mnemodex.retrievers.readers.knn_lm_report.neighbourhoods import batches

if TYPE_CHECKING:
    from mnemodex.indexers.arrays import Bools, Float32s, Float64s, Int64s
    from mnemodex.retrievers.readers.knn_lm.mixing import Mixing
    from mnemodex.retrievers.readers.knn_lm_report.neighbourhoods import Neighbourhoods
    from mnemodex.retrievers.readers.knn_lm_report.reading import Readings

_OCTAVES = 8
"""Temperatures are tried from the datastore's scale divided by two to this power, to its product with it."""

_RANGES = 8
_TOKENS = 64
"""Tokens that a range of distances holds about at least."""

_PRIOR = 32.0
"""A range's weight is fitted as if so many more tokens had been predicted best by the weight of all."""

_HALVINGS = 50


def halves(readings: Readings) -> tuple[Bools, str]:
    """Choose about half of the tokens to fit on, bool of shape (n,), and say how: whole texts if possible.

    Texts that share much, as the articles of one subject, should not be parted inside: tokens of both halves would
    then not be independent.
    """
    texts, inverse, counts = np.unique(readings.text, return_inverse=True, return_counts=True)
    if len(texts) == 1:
        return np.arange(len(inverse)) < len(inverse) // 2, "fitted on the first half of the text"
    chosen = np.zeros(len(texts), bool)
    chosen[np.argsort(-counts, kind="stable")[::2]] = True
    return chosen[inverse], "fitted on every other text by length"


def fit(neighbourhoods: Neighbourhoods, rows: Bools, mixing: Mixing) -> tuple[Mixing, Mixing]:
    """Find the settings under which some tokens are most likely, with one weight and with a weight for each range.

    The likelihood is concave in a weight, whose best value is solved for at every temperature of a logarithmic grid,
    followed by a finer one around the best one. Weights of ranges are drawn towards the one of all tokens.

    The tokens are `rows`, all with neighbours, bool of shape (n,). The temperature given is the grid's middle; other
    settings than the weight are kept.
    """
    assert mixing.temperature is not None  # noqa: S101 - the caller gives one
    chosen = np.flatnonzero(rows)
    model = neighbourhoods.model()[chosen]
    edges, ranges = _ranges(neighbourhoods.nearest[chosen])
    members = [ranges == number for number in range(len(edges) + 1)]
    # Mean ln p of a token, and the temperature and settings that it is of.
    fixed: list[tuple[float, float, Mixing]] = []
    ranged: list[tuple[float, float, Mixing]] = []
    # From the middle outwards: of temperatures that are equally good, as where no neighbour helps, it is the nearest.
    grid: Float64s = mixing.temperature * np.exp2(sorted(range(-_OCTAVES, _OCTAVES + 1), key=abs))
    for _ in range(2):
        for temperature, neighbours in zip(grid.tolist(), likelihoods(neighbourhoods, chosen, grid), strict=True):
            weight = best_weight(model, neighbours)
            weights = np.array([best_weight(model[some], neighbours[some], prior=weight) for some in members])
            buckets = Buckets(tuple(edges.tolist()), tuple(weights.tolist()))
            for tried, setting, each in (
                (fixed, weight, np.full(len(model), weight)),
                (ranged, buckets, weights[ranges]),
            ):
                likelihood = float(mixed_log_probability(model, neighbours, each).mean())
                tried.append((likelihood, temperature, replace(mixing, temperature=temperature, weight=setting)))
        best = [max(tried, key=itemgetter(0)) for tried in (fixed, ranged)]
        middles = sorted({temperature for _, temperature, _ in best})
        grid = np.outer(middles, np.exp2(np.array([-3, -2, -1, 1, 2, 3]) / 4)).ravel()
    return best[0][2], best[1][2]


def best_weight(model: Float64s, neighbours: Float64s, *, prior: float | None = None) -> float:
    """Find the weight under which tokens are most likely: where the derivative of their concave likelihood is 0.

    Given are ln p of each token by the model alone, shape (n,), and ln p_knn. The result is drawn towards the prior as
    strongly as by 32 tokens.
    """
    # Only ratios matter, and the greater of the two is not too small for a double.
    greater = np.maximum(model, neighbours)
    alone, remembered = np.exp(model - greater), np.exp(neighbours - greater)
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        weight = (low + high) / 2
        slope = ((remembered - alone) / (weight * remembered + (1 - weight) * alone)).sum()
        if prior is not None:
            slope += _PRIOR * (prior / weight - (1 - prior) / (1 - weight))
        low, high = (weight, high) if slope > 0 else (low, weight)
    return low


def likelihoods(neighbourhoods: Neighbourhoods, rows: Int64s, temperatures: Float64s) -> Float64s:
    """Return the logarithms of p_knn of tokens at several temperatures, shape (t, m), in single precision.

    What is too small for it counts as 0; no weight below 1 makes a difference of that. The tokens are `rows`, shape
    (m,), which have neighbours.
    """
    result = np.empty((len(temperatures), len(rows)))
    for batch in batches(len(rows), neighbourhoods.distances.shape[1]):
        some = rows[batch]
        gaps = neighbourhoods.distances[some] - neighbourhoods.nearest[some, None]
        has = (neighbourhoods.values[some] == neighbourhoods.readings.tokens[some, None]).astype(np.float32)
        for number, temperature in enumerate(temperatures):
            with np.errstate(over="ignore", under="ignore"):
                parts = np.exp(gaps * np.float32(-1 / temperature))
            result[number, batch] = np.einsum("qk,qk->q", parts, has) / parts.sum(axis=1)
    with np.errstate(divide="ignore"):
        return np.log(result)


def _ranges(nearest: Float32s) -> tuple[Float64s, Int64s]:
    """Return edges that part tokens by their nearest distance into ranges of like many, and each token's range."""
    count = min(_RANGES, len(nearest) // _TOKENS)
    quantiles = np.quantile(nearest.astype(np.float64), np.arange(1, count) / count) if count > 1 else np.zeros(0)
    # Many tokens may have one distance, as the 0 of a text that the datastore has.
    edges = np.unique(quantiles[quantiles > nearest.min()])
    return edges, np.searchsorted(edges, nearest, side="right")
