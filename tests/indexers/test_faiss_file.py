"""Files of FAISS are read as they were written."""

from __future__ import annotations

from typing import TYPE_CHECKING

import faiss
import numpy as np
import pytest

from mnemodex.indexers.dense.faiss_file import read_index

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("flags", [0, faiss.IO_FLAG_MMAP_IFC])
def test_lists_of_codes_are_read_whose_tables_are_larger_than_their_file(tmp_path: Path, flags: int) -> None:
    random = np.random.default_rng(0)
    vectors = random.standard_normal((600, 32)).astype(np.float32)
    # Given instead of trained, which takes long.
    centroids = faiss.IndexFlatL2(32)
    centroids.add(vectors[:96])
    index = faiss.IndexIVFPQ(centroids, 32, 96, 32, 8)
    faiss.copy_array_to_vector(random.standard_normal(32 * 256).astype(np.float32), index.pq.centroids)
    index.is_trained = True
    index.precompute_table()
    index.add(vectors)
    faiss.write_index(index, str(tmp_path / "index.faiss"))
    assert 16 * (tmp_path / "index.faiss").stat().st_size + (1 << 20) < 96 * 32 * 256 * 4
    read = read_index(tmp_path / "index.faiss", flags)
    assert read.precomputed_table.size() == index.precomputed_table.size()
    for one, other in zip(read.search(vectors[:9], 5), index.search(vectors[:9], 5), strict=True):
        np.testing.assert_array_equal(one, other)
