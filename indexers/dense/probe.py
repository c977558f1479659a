"""Measuring a shard while it is built: its answers with each search parameter, and those of exact search."""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from mnemodex.indexers.base import Measured
from mnemodex.indexers.dense.vectors import exact_search, pair_scores
from mnemodex.schemas.errors import CorruptFileError, reason
from mnemodex.schemas.manifest import Recall, SearchParameters

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mnemodex.indexers.arrays import Float32s, Float64s, Int64s
    from mnemodex.indexers.dense.engine import Engine
    from mnemodex.indexers.dense.vectors import Vectors
    from mnemodex.indexers.settings import Metric

K = 10
"""Recall is measured among the first ten."""

MOST_PROBES = 500
"""Probes of a measurement; samples of 500 questions gave 0.948 to 0.951 where all of them gave 0.95."""

HELD_OUT_SHARE = 20
"""One row in so many is held out, up to `MOST_PROBES`."""

HELD_OUT_MARGIN = 2
"""Rows of the corpus are easier to find than questions about it (0.966 against 0.928 at the same efSearch), so a value
chosen with held-out rows is doubled."""

FILE = "probe.npz"

Origin = Literal["queries", "held-out rows"]

_EXACT = ("exact_ids", "exact_scores")
_FOUND = ("found_ids", "found_scores", "true_scores")


@dataclass(frozen=True, slots=True)
class Probe:
    """The answers of an index to q probes. Missing places have id -1 and score -inf.

    Attributes:
        origin: real queries, the same for every shard; or rows that were not in the index yet, other ones in every
            shard.
        parameter: name of the search parameter; None where there is none.
        limit: the largest value that makes sense for it.
        values: int64 of shape (p,), the values tried, ascending; a single 0 where there is no parameter.
        exact_ids: int64 of shape (q, 10), the chunks that exact search finds.
        exact_scores: float64 of shape (q, 10), their exact scores.
        found_ids: int64 of shape (p, q, 10), the chunks that the index finds.
        found_scores: float32 of shape (p, q, 10), the index's own scores, which an index over codes only estimates.
        true_scores: float64 of shape (p, q, 10), the exact scores of `found_ids`.
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

    def save(self, folder: Path) -> None:
        """Write `probe.npz`."""
        arrays = {name: getattr(self, name) for name in ("values", *_EXACT, *_FOUND)}
        about = json.dumps({"origin": self.origin, "parameter": self.parameter, "limit": self.limit})
        np.savez(folder / FILE, allow_pickle=False, about=np.array(about), **arrays)

    @classmethod
    def load(cls, folder: Path) -> Probe:
        """Read `probe.npz`; a `CorruptFileError` says that it is missing or not one."""
        path = folder / FILE
        try:
            with np.load(path, allow_pickle=False) as arrays:
                about = json.loads(str(arrays["about"]))
                return cls(**about, **{name: arrays[name] for name in ("values", *_EXACT, *_FOUND)})
        except (OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
            raise CorruptFileError(f"{path}: cannot be read ({reason(error)}); build the index again") from error

    def curve(self) -> Float64s:
        """Return recall@10 of each value, of shape (p,).

        A hit counts if it scores no less than the last exact one, so that either of two equal vectors will do. Where
        nothing was to be found (no probes, no rows), nothing was missed: 1.
        """
        wanted = (self.exact_ids >= 0).sum(axis=1)
        if not wanted.sum():
            return np.ones(len(self.values))
        worst = np.where(self.exact_ids >= 0, self.exact_scores, np.inf).min(axis=1)
        # Scores in double precision differ by their last digits at most; the margin is far below any real difference.
        margin = 1e-9 * np.maximum(1, np.abs(np.where(wanted > 0, worst, 0)))
        hits = ((self.found_ids >= 0) & (self.true_scores >= (worst - margin)[:, None])).sum(axis=2)
        recall: Float64s = hits.sum(axis=1) / wanted.sum()
        return recall


def held_out_rows(rows: int) -> int:
    """Return how many rows are held out for measuring: 5 %, 500 at most, and one at least if another one stays."""
    return max(0, min(MOST_PROBES, max(1, rows // HELD_OUT_SHARE), rows - 1))


def probe_index(
    engine: Engine, queries: Float32s, origin: Origin, vectors: Vectors, order: Int64s, ids: Int64s, metric: Metric
) -> Probe:
    """Search what is in the index now, with every value of the parameter and exactly.

    The engine holds the first `engine.rows` rows of `order`, the row at each position; `vectors` are all rows of the
    shard, `ids` the chunk of each row.
    """
    rows = np.sort(order[: engine.rows])
    k = min(K, len(rows))
    values = engine.grid or (0,)
    exact = np.full((len(queries), K), -1, dtype=np.int64)
    found = np.full((len(values), len(queries), K), -1, dtype=np.int64)
    found_scores = np.full(found.shape, -np.inf, dtype=np.float32)
    if k and len(queries):
        exact[:, :k] = rows[exact_search(queries, vectors.blocks(rows), k, metric=metric, gpu=True)[1]]
        for number, value in enumerate(values):
            scores, positions = engine.search(queries, k, parameter=value or None)
            found[number, :, :k] = np.where(positions >= 0, order[positions], -1)
            found_scores[number, :, :k] = scores
    true = np.stack([_true_scores(queries, answer, vectors, metric) for answer in (exact, *found)])
    ids = np.append(ids, -1)
    tried = np.array(values, dtype=np.int64)
    answers = (ids[exact], true[0], ids[found], found_scores, true[1:])
    return Probe(origin, engine.parameter, engine.limit, tried, *answers)


def _true_scores(queries: Float32s, rows: Int64s, vectors: Vectors, metric: Metric) -> Float64s:
    """Return the exact scores of rows of shape (q, k); -inf where the row is -1."""
    if not (rows >= 0).any():
        return np.full(rows.shape, -np.inf)
    needed, place = np.unique(np.maximum(rows, 0), return_inverse=True)
    scores = pair_scores(queries, vectors.take(needed)[place.reshape(rows.shape)], metric)
    return np.where(rows >= 0, scores, -np.inf)


def merge_probes(probes: Sequence[Probe]) -> Probe:
    """Return the probe of several shards searched as one.

    Answers to the same queries are merged to the best ten over all shards, so their recall is that of the whole index.
    Held-out rows were searched in their own shard only, so they are put side by side, and their recall is the shards'
    mean.
    """
    first = probes[0]
    if len({(probe.origin, probe.parameter, tuple(probe.values)) for probe in probes}) > 1:
        raise CorruptFileError("the shards of one index were measured in different ways; build the index again")
    if len(probes) == 1:
        return first
    if first.origin == "held-out rows":
        arrays = _join(probes, (*_EXACT, *_FOUND), axis=-2)
    else:
        arrays = _best(probes, _EXACT, by="exact_scores") | _best(probes, _FOUND, by="found_scores")
    return Probe(first.origin, first.parameter, first.limit, first.values, **arrays)


def _join(probes: Sequence[Probe], names: tuple[str, ...], *, axis: int) -> dict[str, Any]:
    return {name: np.concatenate([getattr(probe, name) for probe in probes], axis=axis) for name in names}


def _best(probes: Sequence[Probe], names: tuple[str, ...], *, by: str) -> dict[str, Any]:
    """Return the best ten over all probes, of arrays whose last axis is the answers."""
    arrays = _join(probes, names, axis=-1)
    front = np.argsort(-arrays[by], axis=-1, kind="stable")[..., :K]
    return {name: np.take_along_axis(array, front, axis=-1) for name, array in arrays.items()}


def choose(probe: Probe, target: float) -> Measured:
    """Take the smallest value that reaches the target recall, doubled if the probes were held-out rows."""
    recalls = probe.curve()
    reaching = np.flatnonzero(recalls >= target)
    number = int(reaching[0]) if len(reaching) else len(recalls) - 1
    margin = HELD_OUT_MARGIN if probe.origin == "held-out rows" else 1
    value = min(margin * int(probe.values[number]), max(probe.limit, int(probe.values[number])))
    used = int(np.searchsorted(probe.values, value, side="right")) - 1
    tuned = probe.parameter is not None
    recall = Recall(
        recall=float(recalls[used if tuned else 0]),
        k=K,
        probes=probe.exact_ids.shape[0],
        source=probe.origin,
        parameter=probe.parameter,
        value=value if tuned else None,
        margin=margin if tuned else 1,
        target=target,
        reached=len(reaching) > 0,
        curve={int(value): float(recall) for value, recall in zip(probe.values, recalls, strict=True)} if tuned else {},
    )
    return Measured(recall=recall, search=SearchParameters(parameter=recall.parameter, value=recall.value))
