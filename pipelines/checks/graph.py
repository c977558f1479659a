"""Checks of triples, mentions, facts and entities."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from mnemodex.indexers.arrays import find_ids
from mnemodex.indexers.graph.names import entity_id, fact_id, normalize
from mnemodex.pipelines.stages.mentions import mentions
from mnemodex.schemas.ids import hash_columns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mnemodex.pipelines.checks.partition import CheckedPartition


def check_triples(partition: CheckedPartition) -> Iterator[str]:
    """Check that triples are in the order of their chunks, and every id is the hash of what it names."""
    ids = partition.parent("chunks", ["chunk_id"])["chunk_id"].to_numpy()
    rows = partition.rows
    chunk_ids, ordinals = rows["chunk_id"].to_numpy(), rows["ordinal"].to_numpy()
    chunks = find_ids(ids, chunk_ids)
    begins = np.append(True, chunk_ids[1:] != chunk_ids[:-1])[: len(chunk_ids)]
    first = np.maximum.accumulate(np.where(begins, np.arange(len(chunk_ids)), 0))
    if (np.diff(chunks) < 0).any() or (ordinals != np.arange(len(ordinals)) - first).any():
        yield partition.problem("its rows are not in the order of the chunks")
    if not np.array_equal(hash_columns([chunk_ids, ordinals], salt=partition.salt), rows["triple_id"].to_numpy()):
        yield partition.problem("a triple_id is not the hash of its chunk and ordinal")
    columns = ("subject", "predicate", "object", "subject_id", "object_id", "fact_id")
    for subject, predicate, object_, *stored in partition.tuples(*columns):
        head, middle, tail = normalize(subject), normalize(predicate), normalize(object_)
        ends = [entity_id(name, salt=partition.salt) for name in (head, tail)]
        if stored != [*ends, fact_id(head, middle, tail, salt=partition.salt)]:
            yield partition.problem(f"an id of {subject!r}, {predicate!r}, {object_!r} is not its hash")


def check_mentions(partition: CheckedPartition) -> Iterator[str]:
    """Check that mentions are those of the triples."""
    if not mentions(partition.parent("triples")).equals(partition.rows):
        yield partition.problem("its mentions are not those of its triples")


def check_facts(partition: CheckedPartition) -> Iterator[str]:
    """Check that facts are sorted by their ids, which are the hashes of their normal forms."""
    return _check_names(partition, "fact_id", ("subject", "predicate", "object"), fact_id)


def check_entities(partition: CheckedPartition) -> Iterator[str]:
    """Check that entities are sorted by their ids, which are the hashes of their normal forms."""
    return _check_names(partition, "entity_id", ("normalized",), entity_id)


def _check_names(
    partition: CheckedPartition, column: str, names: tuple[str, ...], hash_name: Callable[..., int]
) -> Iterator[str]:
    if (np.diff(partition.rows[column].to_numpy()) <= 0).any():
        yield partition.problem("its rows are not in the order of their ids, each once")
    for stored, *parts in partition.tuples(column, *names):
        if stored != hash_name(*parts, salt=partition.salt):
            yield partition.problem(f"an id of {' '.join(parts)!r} is not its hash")
