"""Facts, names and edges: sorted partition by partition, gathered by ranges of ids, their texts by age."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from mnemodex.indexers.arrays import begins
from mnemodex.indexers.graph.names import normalize
from mnemodex.pipelines.graph import names as module

rows_of_partitions = st.lists(st.integers(0, 60), max_size=30)


@given(rows=rows_of_partitions, more=rows_of_partitions)
def test_partitions_that_are_appended_change_the_last_segment_only(rows, more):
    sizes = (module._FIRST_SEGMENT, module._SMALLEST, module._LARGEST)
    module._FIRST_SEGMENT, module._SMALLEST, module._LARGEST = 100, 20, 50
    try:
        before, after = module.segments_of(rows).tolist(), module.segments_of([*rows, *more]).tolist()
    finally:
        module._FIRST_SEGMENT, module._SMALLEST, module._LARGEST = sizes
    assert after[: len(rows)] == before
    assert after == sorted(after)
    for segment in set(after):
        # A partition belongs where its first row does.
        inside = [count for count, number in zip([*rows, *more], after, strict=True) if number == segment]
        assert sum(inside[:-1]) < (100 if segment == 0 else 50)


@given(rows=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=20).map(sorted))
def test_rows_begin_where_any_column_changes(rows):
    columns = np.array(rows, np.int64).reshape(-1, 2).T
    assert begins(*columns).tolist() == [n for n, row in enumerate(rows) if n == 0 or rows[n - 1] != row]


@given(
    written=st.lists(
        st.tuples(
            st.integers(0, 3), st.sampled_from(["Olme", "OLME", "olme", "Oĺme"]), st.integers(1, 3), st.integers(0, 4)
        ),
        max_size=20,
    ),
    stated=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 5)), max_size=20),
)
def test_an_entity_has_the_name_of_most_chunks_and_the_first_of_equals(written, stated):
    written = list(
        {(entity, name, part): (entity, name, count, part) for entity, name, count, part in written}.values()
    )
    present = {entity for entity, *_ in written}
    stated = sorted(row for row in stated if row[0] in present)
    columns = ["entity_id", "name", "normalized", "chunks"]
    values = [[e, n, normalize(n), c] for e, n, c, _ in written]
    types = [pa.int64(), pa.string(), pa.string(), pa.int64()]
    arrays = [pa.array([row[at] for row in values], dtype) for at, dtype in enumerate(types)]
    ends = pa.table(
        {name: pa.array([row[at] for row in stated], pa.int64()) for at, name in enumerate(("entity_id", "fact_id"))}
    )
    parts = np.array([part for *_, part in written], np.int64)
    entities, first = module._entities(pa.table(arrays, names=columns), parts, ends)
    counts = {}
    for entity, name, count, _ in written:
        counts.setdefault(entity, {}).setdefault(name, 0)
        counts[entity][name] += count
    assert entities["entity_id"].to_pylist() == sorted(counts)
    for row, part in zip(entities.to_pylist(), first.tolist(), strict=True):
        mine = counts[row["entity_id"]]
        assert row["name"] == min(mine, key=lambda name: (-mine[name], name.encode()))
        assert row["chunks"] == sum(mine.values())
        assert row["facts"] == len({fact for entity, fact in stated if entity == row["entity_id"]})
        assert part == min(p for entity, _, _, p in written if entity == row["entity_id"])
