"""Fitting temperature and weight on one half of the texts, and reporting the other half."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from mnemodex.retrievers.readers.knn_lm.mixing import Buckets, mixed_log_probability
from mnemodex.retrievers.readers.knn_lm_report.figures import Figures, figures
from mnemodex.retrievers.readers.knn_lm_report.neighbour_files import batches
from mnemodex.retrievers.readers.knn_lm_report.settings import to_json
from mnemodex.schemas.errors import QueryError

if TYPE_CHECKING:
    from numpy.typing import NDArray

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


@dataclass(frozen=True, slots=True)
class Fit:
    """Settings that were fitted on one half, and what they do to the other.

    Attributes:
        mixing: the settings.
        figures: of the half that they were not fitted on.
    """

    mixing: Mixing
    figures: Figures

    def to_json(self) -> dict[str, Any]:
        """As `eval --json` prints it."""
        return {"settings": to_json(self.mixing), **self.figures.to_json()}


@dataclass(frozen=True, slots=True)
class Tuned:
    """What tuning gives.

    Attributes:
        halves: how the tokens were parted.
        tokens: how many the settings were fitted on.
        unfitted: the settings as they were given.
        fixed: one weight and a temperature.
        buckets: a weight for each range of the nearest distance, and a temperature.
    """

    halves: str
    tokens: int
    unfitted: Fit
    fixed: Fit
    buckets: Fit

    def to_json(self) -> dict[str, Any]:
        """As `eval --json` prints it."""
        return {
            "halves": self.halves,
            "fitted_on_tokens": self.tokens,
            "unfitted": self.unfitted.to_json(),
            "fixed": self.fixed.to_json(),
            "buckets": self.buckets.to_json(),
        }


def tune(found: Neighbourhoods, mixing: Mixing) -> Tuned:
    """Fit temperature and weights on one half, and measure the other.

    Args:
        found: the neighbours, which `mixing` was used to look up.
        mixing: where to start, with a temperature; all but weight and temperature stays as it is.

    Raises:
        QueryError: there are fewer than two tokens, or none of the half has a neighbour.
    """
    fitted_on, how = halves(found.readings)
    known = fitted_on & np.isfinite(found.nearest)
    if not known.any() or fitted_on.all():
        msg = "there are too few tokens with neighbours to fit settings on one half of them; give more text"
        raise QueryError(msg)
    fits = [
        Fit(settings, figures(found, found.mixed(settings), ~fitted_on))
        for settings in (mixing, *fit(found, known, mixing))
    ]
    return Tuned(how, int(fitted_on.sum()), *fits)


def halves(readings: Readings) -> tuple[NDArray[np.bool_], str]:
    """The tokens to fit on, bool of shape (n,), and how they were chosen: about half of them, whole texts if possible.

    Texts that share much, as the articles of one subject, should not be parted inside: tokens of both halves would
    then not be independent.
    """
    texts, inverse, counts = np.unique(readings.text, return_inverse=True, return_counts=True)
    if len(texts) == 1:
        return np.arange(len(inverse)) < len(inverse) // 2, "fitted on the first half of the text"
    chosen = np.zeros(len(texts), bool)
    chosen[np.argsort(-counts, kind="stable")[::2]] = True
    return chosen[inverse], "fitted on every other text by length"


def fit(found: Neighbourhoods, rows: NDArray[np.bool_], mixing: Mixing) -> tuple[Mixing, Mixing]:
    """The settings under which some tokens are most likely, with one weight and with a weight for each range.

    The likelihood is concave in a weight, whose best value is solved for at every temperature of a logarithmic grid,
    which is laid anew, finer, around the best one. Weights of ranges are drawn towards the one of all tokens.

    Args:
        found: the neighbours.
        rows: the tokens that count, all with neighbours, bool of shape (n,).
        mixing: its temperature is the grid's middle; all but weight and temperature is kept.
    """
    assert mixing.temperature is not None  # noqa: S101 - the caller gives one
    chosen = np.flatnonzero(rows)
    tokens = _Tokens(found.model()[chosen], *_ranges(found.nearest[chosen]))
    tried: list[_Tried] = []
    # From the middle outwards: of temperatures that are equally good, as where no neighbour helps, it is the nearest.
    octaves = sorted(range(-_OCTAVES, _OCTAVES + 1), key=abs)
    grid: NDArray[np.float64] = mixing.temperature * np.exp2(octaves)
    for _ in range(2):
        tried += [tokens.best_at(*one) for one in zip(grid, likelihoods(found, chosen, grid), strict=True)]
        best = {_best(tried, kind).temperature for kind in ("fixed", "ranged")}
        grid = np.outer(sorted(best), np.exp2(np.array([-3, -2, -1, 1, 2, 3]) / 4)).ravel()
    fixed, ranged = _best(tried, "fixed"), _best(tried, "ranged")
    buckets = Buckets(tuple(tokens.edges.tolist()), tuple(ranged.weights.tolist()))
    return (
        replace(mixing, temperature=fixed.temperature, weight=fixed.weight),
        replace(mixing, temperature=ranged.temperature, weight=buckets),
    )


class _Tried(NamedTuple):
    """The best weights at one temperature, and the mean ln p of a token with one weight and with one a range."""

    temperature: float
    weight: float
    weights: NDArray[np.float64]
    fixed: float
    ranged: float


def _best(tried: list[_Tried], kind: str) -> _Tried:
    return max(tried, key=lambda one: float(getattr(one, kind)))


class _Tokens(NamedTuple):
    """What settings are fitted on: ln p of tokens by the model alone, and the ranges of their nearest distances."""

    model: NDArray[np.float64]
    edges: NDArray[np.float64]
    ranges: NDArray[np.int64]

    def best_at(self, temperature: float, neighbours: NDArray[np.float64]) -> _Tried:
        """The best weights for ln p_knn of the tokens at a temperature."""
        weight = best_weight(self.model, neighbours)
        members = [self.ranges == number for number in range(len(self.edges) + 1)]
        weights = np.array([best_weight(self.model[some], neighbours[some], prior=weight) for some in members])
        fixed, ranged = (
            float(mixed_log_probability(self.model, neighbours, each).mean())
            for each in (np.full(len(self.model), weight), weights[self.ranges])
        )
        return _Tried(float(temperature), weight, weights, fixed, ranged)


def best_weight(model: NDArray[np.float64], neighbours: NDArray[np.float64], *, prior: float | None = None) -> float:
    """The weight under which tokens are most likely: where the derivative of their concave likelihood is 0.

    Args:
        model: ln p of each token by the model alone, shape (n,).
        neighbours: ln p_knn of each, shape (n,).
        prior: a weight that the result is drawn towards, as strongly as by 32 tokens.
    """
    # Only ratios matter, and the greater of the two is not too small for a double.
    greater = np.maximum(model, neighbours)
    alone, found = np.exp(model - greater), np.exp(neighbours - greater)
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        weight = (low + high) / 2
        slope = ((found - alone) / (weight * found + (1 - weight) * alone)).sum()
        if prior is not None:
            slope += _PRIOR * (prior / weight - (1 - prior) / (1 - weight))
        low, high = (weight, high) if slope > 0 else (low, weight)
    return low


def likelihoods(
    found: Neighbourhoods, rows: NDArray[np.int64], temperatures: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The logarithms of p_knn of tokens at several temperatures, in one pass and in single precision.

    What is too small for it counts as 0, which no weight below 1 tells from what it is.

    Args:
        found: the neighbours.
        rows: tokens that have some, shape (m,).
        temperatures: shape (t,).

    Returns:
        Shape (t, m).
    """
    result = np.empty((len(temperatures), len(rows)))
    for part in batches(len(rows), found.distances.shape[1]):
        here = rows[part]
        gaps = found.distances[here] - found.nearest[here, None]
        has = (found.values[here] == found.readings.tokens[here, None]).astype(np.float32)
        for number, temperature in enumerate(temperatures):
            with np.errstate(over="ignore", under="ignore"):
                parts = np.exp(gaps * np.float32(-1 / temperature))
            result[number, part] = np.einsum("qk,qk->q", parts, has) / parts.sum(axis=1)
    with np.errstate(divide="ignore"):
        return np.log(result)


def _ranges(nearest: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Edges that part tokens by their nearest distance into ranges of like many, and each token's range."""
    count = min(_RANGES, len(nearest) // _TOKENS)
    quantiles = np.quantile(nearest.astype(np.float64), np.arange(1, count) / count) if count > 1 else np.zeros(0)
    # Many tokens may have one distance, as the 0 of a text that the datastore has.
    edges = np.unique(quantiles[quantiles > nearest.min()])
    return edges, np.searchsorted(edges, nearest, side="right")
