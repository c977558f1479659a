"""Measuring a shard while it is built: its answers with each search parameter, and those of exact search."""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from mnemodex.indexers.base import Measured
from mnemodex.indexers.dense.interval import mean_interval
from mnemodex.indexers.dense.vectors import exact_search, true_scores
from mnemodex.schemas.errors import CorruptFileError, reason
from mnemodex.schemas.manifest import Recall, SearchParameters

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mnemodex.indexers.arrays import Float32s, Float64s, Int64s
    from mnemodex.indexers.dense.engine import Engine
    from mnemodex.indexers.dense.vectors import Vectors
    from mnemodex.indexers.vector_settings import Metric, Refine

K = 10
"""Recall is measured among the first ten."""

MOST_PROBES = 500
"""Probes of a measurement; samples of 500 questions gave 0.948 to 0.951 where all of them gave 0.95."""

HELD_OUT_SHARE = 20
"""One row in so many is held out, up to `MOST_PROBES`."""

HELD_OUT_MARGIN = 2
"""Rows of the corpus are easier to find than questions about it (0.966 against 0.928 at the same efSearch), so a value
chosen with held-out rows is doubled."""

REFINES = (2, 4, 8, 16, 32, 64)
"""How many times as many hits as are wanted are compared by their vectors, as tried when recall is measured."""

VECTOR_COST = 100
"""To read a vector from disk and compare it takes as long as to compare so many codes."""

FILE = "probe.npz"

Origin = Literal["queries", "held-out rows"]

_EXACT = ("exact_ids", "exact_scores")
_FOUND = ("found_ids", "found_scores", "true_scores")
_REFINED = ("refines", "comparisons")


@dataclass(frozen=True, slots=True)
class Probe:
    """The answers of an index to q probes. Missing places have id -1 and score -inf.

    Attributes:
        origin: real queries, the same for every shard; or rows that were not in the index yet, other ones in every
            shard.
        parameter: name of the search parameter; None where there is none.
        limit: the largest value that makes sense for it.
        values: int64 of shape (p,), the values tried, ascending; 0 where there is no parameter.
        exact_ids: int64 of shape (q, 10), the chunks that exact search finds.
        exact_scores: float64 of shape (q, 10), their exact scores.
        found_ids: int64 of shape (p, q, 10), the chunks that the index finds.
        found_scores: float32 of shape (p, q, 10), the index's own scores, which an index over codes only estimates.
        true_scores: float64 of shape (p, q, 10), the exact scores of `found_ids`.
        refines: int64 of shape (p,): of each try, how many times as many hits were compared by their vectors; 0 where
            none were.
        comparisons: float64 of shape (p,): rows that a try compares by codes, roughly.
    """

    origin: Origin
    parameter: str | None
    limit: int
    values: Int64s
    exact_ids: Int64s
    exact_scores: Float64s
    found_ids: Int64s
    found_scores: Float32s
    true_scores: Float64s
    refines: Int64s
    comparisons: Float64s

    def save(self, folder: Path) -> None:
        """Write `probe.npz`."""
        arrays = {name: getattr(self, name) for name in ("values", *_EXACT, *_FOUND, *_REFINED)}
        about = json.dumps({"origin": self.origin, "parameter": self.parameter, "limit": self.limit})
        np.savez(folder / FILE, allow_pickle=False, about=np.array(about), **arrays)

    @classmethod
    def load(cls, folder: Path) -> Probe:
        """Read `probe.npz`; a `CorruptFileError` says that it is missing or not one."""
        path = folder / FILE
        try:
            with np.load(path, allow_pickle=False) as arrays:
                about = json.loads(str(arrays["about"]))
                values = arrays["values"]
                # Former versions refined nothing.
                refined = {name: arrays[name] if name in arrays else np.zeros_like(values) for name in _REFINED}
                answers = {name: arrays[name] for name in (*_EXACT, *_FOUND)}
                return cls(**about, values=values, **answers, **refined)
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
            raise CorruptFileError(f"{path}: cannot be read ({reason(error)}); build the index again") from error

    @property
    def costs(self) -> Float64s:
        """What a query costs with each try, in comparisons by codes, of shape (p,); rising with the value."""
        return self.values + self.comparisons + VECTOR_COST * K * self.refines

    def recalls(self) -> Float64s:
        """Return recall@10 of each try and probe, of shape (p, n), of the probes with something to be found."""
        return recall_by_query(np.where(self.exact_ids >= 0, self.exact_scores, -np.inf), self.true_scores)


def recall_by_query(exact: Float64s, found: Float64s) -> Float64s:
    """Return the recall of each query that has something to be found, of shape (p, n), by exact scores in any order.

    Those of what is to be found are of shape (q, k), those of what was found of shape (p, q, k); missing places are
    -inf. A hit counts if it scores no less than the last exact one, so that either of two equal vectors will do.
    """
    wanted = np.isfinite(exact).sum(axis=1)
    some = wanted > 0
    worst = np.where(np.isfinite(exact), exact, np.inf).min(axis=1)[some]
    # Scores in double precision differ by their last digits at most; the margin is far below any real difference.
    margin = 1e-9 * np.maximum(1, np.abs(worst))
    recalls: Float64s = (found[:, some] >= (worst - margin)[:, None]).sum(axis=2) / wanted[some]
    return recalls


def factors(refine: Refine | None) -> tuple[int, ...]:
    """Return the factors of refining that are tried."""
    return () if refine is None else REFINES if refine == "auto" else (refine,)


def held_out_rows(rows: int) -> int:
    """Return how many rows are held out for measuring: 5 %, 500 at most, and one at least if another one stays."""
    return max(0, min(MOST_PROBES, max(1, rows // HELD_OUT_SHARE), rows - 1))


@dataclass(frozen=True, slots=True)
class Contents:
    """What an engine holds or is to hold.

    Attributes:
        vectors: of all rows of the shard.
        order: the row at each position; the engine holds the first ones.
        ids: the chunk of each row.
    """

    vectors: Vectors
    order: Int64s
    ids: Int64s
    metric: Metric


def probe_index(
    engine: Engine, contents: Contents, queries: Float32s, origin: Origin, *, refines: Sequence[int] = ()
) -> Probe:
    """Search what is in the index now, with every value of the parameter and exactly.

    With `refines`, ascending, each value is tried with each of them.
    """
    vectors, order, metric = contents.vectors, contents.order, contents.metric
    rows = np.sort(order[: engine.rows])
    k = min(K, len(rows))
    values = np.repeat(np.array(engine.grid or (0,), dtype=np.int64), max(1, len(refines)))
    factors = np.resize(np.array(refines or (0,), dtype=np.int64), len(values))
    exact = np.full((len(queries), K), -1, dtype=np.int64)
    found = np.full((len(values), len(queries), K), -1, dtype=np.int64)
    found_scores = np.full(found.shape, -np.inf, dtype=np.float32)
    true = np.full(found.shape, -np.inf)
    if k and len(queries):
        exact[:, :k] = rows[exact_search(queries, vectors.blocks(rows), k, metric=metric, gpu=True)[1]]
        width = min(len(rows), max(refines, default=1) * K)
        for start in range(0, len(values), max(1, len(refines))):
            scores, positions = engine.search(queries, width, parameter=int(values[start]) or None)
            hits = np.where(positions >= 0, order[positions], -1)
            compared = true_scores(queries, hits, vectors, metric)
            if not refines:
                found[start, :, :k], found_scores[start, :, :k], true[start, :, :k] = hits, scores, compared
            for number, factor in enumerate(refines, start):
                best = np.argsort(-compared[:, : factor * K], axis=1, kind="stable")[:, :k]
                found[number, :, :k] = np.take_along_axis(hits, best, axis=1)
                true[number, :, :k] = np.take_along_axis(compared, best, axis=1)
                found_scores[number] = true[number]
    ids = np.append(contents.ids, -1)
    answers = (ids[exact], true_scores(queries, exact, vectors, metric), ids[found], found_scores, true)
    costs = np.array([engine.comparisons(value) for value in values.tolist()], dtype=np.float64)
    return Probe(origin, engine.parameter, engine.limit, values, *answers, refines=factors, comparisons=costs)


def merge_probes(probes: Sequence[Probe]) -> Probe:
    """Return the probe of several shards searched as one.

    Answers to the same queries are merged to the best ten over all shards, so their recall is that of the whole index.
    Held-out rows were searched in their own shard only, so they are put side by side, and their recall is the shards'
    mean.
    """
    first = probes[0]
    ways = {(probe.origin, probe.parameter, tuple(probe.values), tuple(probe.refines)) for probe in probes}
    if len(ways) > 1:
        raise CorruptFileError("the shards of one index were measured in different ways; build the index again")
    if len(probes) == 1:
        return first
    if first.origin == "held-out rows":
        arrays = _join(probes, (*_EXACT, *_FOUND), axis=-2)
    else:
        arrays = _best(probes, _EXACT, by="exact_scores") | _best(probes, _FOUND, by="found_scores")
    comparisons = np.sum([probe.comparisons for probe in probes], axis=0)
    return replace(first, **arrays, comparisons=comparisons)


def _join(probes: Sequence[Probe], names: tuple[str, ...], *, axis: int) -> dict[str, Any]:
    return {name: np.concatenate([getattr(probe, name) for probe in probes], axis=axis) for name in names}


def _best(probes: Sequence[Probe], names: tuple[str, ...], *, by: str) -> dict[str, Any]:
    """Return the best ten over all probes, of arrays whose last axis is the answers."""
    arrays = _join(probes, names, axis=-1)
    front = np.argsort(-arrays[by], axis=-1, kind="stable")[..., :K]
    return {name: np.take_along_axis(array, front, axis=-1) for name, array in arrays.items()}


def choose(probe: Probe, target: float, *, exact_from: int | None = None) -> Measured:
    """Take the smallest value whose recall has an interval that begins at the target or above.

    Where hits are refined too, it is the pair of value and factor that costs least, see `Probe.costs`.
    It is doubled if the probes were held-out rows (without a parameter, the factor of refining is). If there is none,
    the largest that was tried is taken.

    So one index in forty has less recall than the target by chance. Several values may be looked at, because recall
    rises with the value, and each then counts only if the next larger one did (fixed sequence testing; Angelopoulos et
    al., "Learn then Test", 2021). From the value `exact_from` on the index is exact, and nothing is left to chance.
    """
    recalls = probe.recalls()
    # Where nothing was to be found, nothing was missed.
    means = recalls.mean(axis=1) if recalls.shape[1] else np.ones(len(probe.values))
    exact = probe.values >= (np.inf if exact_from is None else exact_from) if recalls.shape[1] else means == 1
    ends = [
        (mean, mean) if sure else mean_interval(values)
        for mean, values, sure in zip(means, recalls, exact, strict=True)
    ]
    tries = np.argsort(probe.costs, kind="stable")
    reaching = tries[[ends[number][0] >= target for number in tries]]
    number = int(reaching[0] if len(reaching) else tries[-1])
    tuned, several = probe.parameter is not None, len(np.unique(probe.refines)) > 1
    margin = HELD_OUT_MARGIN if (tuned or several) and len(reaching) and probe.origin == "held-out rows" else 1
    if not tuned and several:
        # Where every row is compared by its code, the factor alone is tuned.
        number = int(np.searchsorted(probe.refines, margin * probe.refines[number], side="right")) - 1
    factor = int(probe.refines[number])
    value = min(margin * int(probe.values[number]), max(probe.limit, int(probe.values[number])))
    curve = np.flatnonzero(probe.refines == factor)
    used = int(curve[np.searchsorted(probe.values[curve], value, side="right") - 1]) if tuned else number
    recall = Recall(
        recall=float(means[used]),
        low=float(ends[used][0]),
        high=float(ends[used][1]),
        k=K,
        probes=probe.exact_ids.shape[0],
        source=probe.origin,
        parameter=probe.parameter,
        value=value if tuned else None,
        refine=factor or None,
        margin=margin,
        target=target,
        reached=len(reaching) > 0,
        curve={int(probe.values[tried]): float(means[tried]) for tried in curve} if tuned else {},
    )
    search = SearchParameters(parameter=recall.parameter, value=recall.value, refine=recall.refine)
    return Measured(recall=recall, search=search)
