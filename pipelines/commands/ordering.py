"""`show --ordering`: what the insertion order of a graph costs or gains on an index's own vectors."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from mnemodex.pipelines.commands.output import print_json, print_table, say
from mnemodex.schemas.errors import QueryError
from mnemodex.schemas.steps import IndexKey

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mnemodex.indexers.arrays import Float32s
    from mnemodex.indexers.dense.order_study import OrderRecall
    from mnemodex.retrievers.snapshot import Snapshot
    from mnemodex.schemas.manifest import IndexEntry

_FEWEST = 20
"""Rows of a sample."""
_SEED = 0
"""Of the sample."""


class _Sample(NamedTuple):
    """Vectors of an index and queries to them.

    Attributes:
        vectors: float32 of shape (n, d): a uniform sample, in the order of the table.
        queries: float32 of shape (q, d).
        table_rows: vectors of the index.
        queries_are: where the queries come from.
    """

    vectors: Float32s
    queries: Float32s
    table_rows: int
    queries_are: str

    @property
    def rows_are(self) -> str:
        return f"a uniform sample of {self.table_rows:,}"


def show_ordering(opened: Snapshot, name: str, *, rows: int, seeds: int, plot: Path | None, as_json: bool) -> None:
    """Study the insertion orders of graphs over the vectors of an index, and show the recall of each.

    Raises:
        QueryError: the index is none over vectors, or has too few of them; or the picture's folder does not exist.
    """
    from mnemodex.indexers.dense.order_study import VALUES, study_orders

    entry = opened.index(name)
    if plot is not None and plot.suffix.lower() != ".svg":
        raise QueryError(f"{plot}: the picture is SVG; name a file that ends in .svg")
    if plot is not None and plot.is_dir():
        raise QueryError(f"{plot}: is a folder; name a file in it")
    if plot is not None and not plot.absolute().parent.is_dir():
        raise QueryError(f"{plot}: the folder {plot.absolute().parent} does not exist; make it, or name another file")
    sample = _draw_sample(opened, entry, rows)
    row_count, query_count = len(sample.vectors), len(sample.queries)
    say(f"{row_count:,} rows, {sample.rows_are}; {query_count} queries, {sample.queries_are}", err=True)
    threads = len(os.sched_getaffinity(0))
    metric = entry.settings["metric"]
    recalls = study_orders(
        sample.vectors,
        sample.queries,
        metric,
        seeds=seeds,
        threads=threads,
        report=lambda line: say(line, err=True),
    )
    if plot is not None:
        from mnemodex.pipelines.commands.order_plot import plot_orders

        title = f"{name}: {row_count:,} rows, {query_count} queries, {seeds} seeds"
        plot.write_text(plot_orders(recalls, title), encoding="utf-8")
    if as_json:
        print_json(
            {
                "index": name,
                "metric": metric,
                "rows": row_count,
                "rows_are": sample.rows_are,
                "sample_seed": _SEED,
                "queries": query_count,
                "queries_are": sample.queries_are,
                "seeds": seeds,
                "orders": [recall.to_json() for recall in recalls],
            }
        )
        return
    columns = ("graph", "order", *(f"ef {value}" for value in VALUES))
    print_table(f"Recall@10 by insertion order, mean of {seeds} seeds ± 95 % interval", columns, _lines(recalls))
    if plot is not None:
        say(f"{plot}: the same as a picture")


def _lines(recalls: Sequence[OrderRecall]) -> list[tuple[str, ...]]:
    return [
        (
            recall.engine,
            recall.order,
            *(f"{mean:.4f} ±{half:.4f}" for mean, half in zip(recall.means, recall.half_widths, strict=True)),
        )
        for recall in recalls
    ]


def _draw_sample(opened: Snapshot, entry: IndexEntry, rows: int) -> _Sample:
    """Return so many vectors of an index, and queries.

    The queries are those that the build measured recall with, or rows that are held out of the sample.
    """
    from mnemodex.indexers.dense.probe import MOST_PROBES, held_out_rows
    from mnemodex.indexers.dense.vectors import Vectors, open_matrix, sample_rows

    if "metric" not in entry.settings or entry.table is None:
        raise QueryError(f"index {entry.name!r} is a {entry.type} index; --ordering is for those over vectors")
    paths = opened.paths(entry.table, ".npy")
    labels = [part.label for part in opened.manifest.tables[entry.table].partitions]
    dimension = int(np.load(paths[0], mmap_mode="r", allow_pickle=False).shape[1]) if paths else 0
    vectors = Vectors(paths, labels, dimension=dimension)
    probes = opened.manifest.caches.get(IndexKey(entry.name, "probes").label)
    files = [file for part in probes.partitions for file in part.files if file.path.endswith(".npy")] if probes else []
    held_out = 0 if files else held_out_rows(min(len(vectors), rows))
    chosen = sample_rows(len(vectors), rows + held_out, seed=_SEED)
    if len(chosen) - held_out < _FEWEST:
        raise QueryError(f"index {entry.name!r} has {len(vectors)} rows; a study takes {_FEWEST} at least")
    if files:
        queries = np.asarray(open_matrix(opened.store.files.local(files[0]), dimension), np.float32)
        queries = queries[sample_rows(len(queries), MOST_PROBES, seed=_SEED)]
        return _Sample(vectors.take(chosen), queries, len(vectors), "of the recipe's file")
    last = np.zeros(len(chosen), np.bool_)
    last[sample_rows(len(chosen), held_out, seed=_SEED + 1)] = True
    return _Sample(vectors.take(chosen[~last]), vectors.take(chosen[last]), len(vectors), "rows that are in no graph")
