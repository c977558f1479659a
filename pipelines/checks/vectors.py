"""Checks of vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mnemodex.pipelines.checks.partition import CheckedPartition


def check_vectors(partition: CheckedPartition) -> Iterator[str]:
    """Check that vectors are in the order of the rows that they are of, the same in both files."""
    ((column, parent),) = partition.table.parents.items()
    if not partition.rows[column].equals(partition.parent(parent, [column])[column]):
        yield partition.problem(f"its {column}s are not those of {parent}, in their order")
    yield from _check_matrix(partition)


def check_text_vectors(partition: CheckedPartition) -> Iterator[str]:
    """Check that vectors of facts or names are in the order of their ids, the same in both files."""
    (column,) = partition.table.parents
    if (np.diff(partition.rows[column].to_numpy()) <= 0).any():
        yield partition.problem(f"its {column}s are not in their order, each once")
    yield from _check_matrix(partition)


def _check_matrix(partition: CheckedPartition) -> Iterator[str]:
    matrix = partition.matrix()
    vectors = partition.rows["vector"].combine_chunks().flatten().to_numpy()
    if vectors.size != matrix.size or not np.array_equal(vectors.reshape(matrix.shape), matrix):
        yield partition.problem("the Parquet and .npy vectors differ")
