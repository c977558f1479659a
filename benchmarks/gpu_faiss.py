"""FAISS on a GPU, where its wheel is carried: inverted lists trained and filled there and on the CPU."""

from __future__ import annotations

import contextlib
import importlib.util
from typing import TYPE_CHECKING, Any
from unittest import mock

import torch
from gpu_bench import check, timed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gpu_bench import Bench, Row

_QUERIES, _K, _PROBES = 1000, 10, 16


def faiss(bench: Bench) -> Iterator[Row]:
    """Train, fill and search an IVF index both ways."""
    if importlib.util.find_spec("faiss") is None:
        yield {"note": "left out: FAISS is not installed"}
        return
    import faiss as library

    gpus = getattr(library, "get_num_gpus", int)()
    if not gpus:
        yield {"note": "FAISS sees no GPU: on the CPU alone"}
    vectors, queries = _vectors(bench)
    exact = _exact(bench, vectors, queries)
    recalls = {}
    for way in ("CPU", "GPU")[: 1 + bool(gpus)]:
        hidden = mock.patch.object(library, "get_num_gpus", lambda: 0) if way == "CPU" else contextlib.nullcontext()
        with hidden:
            row = _build(bench, vectors, queries, exact)
        recalls[way] = row["recall@10"]
        yield {"way": f"built on the {way}", **row}
    if gpus:
        yield check("recall lost by building on the GPU", recalls["CPU"] - recalls["GPU"], most=0.01)


def _build(bench: Bench, vectors: Any, queries: Any, exact: Any) -> Row:
    """What `train_index` and `FaissEngine` do; searches are on the CPU either way."""
    from mnemodex.indexers.dense.devices import clustering_on_gpu
    from mnemodex.indexers.dense.factory import make_index
    from mnemodex.indexers.dense.faiss_engine import FaissEngine

    rows, dimension, lists = bench.sizes.vectors
    index = make_index(f"IVF{lists},SQ8", dimension, "ip")
    with clustering_on_gpu(index):
        train = timed(lambda: index.train(vectors[: 64 * lists]))
    engine = FaissEngine(index, "ip")
    add = timed(lambda: engine.add([vectors]))
    found: list[Any] = []
    search = timed(lambda: found.append(engine.search(queries, _K, parameter=_PROBES)[1]))
    hits = sum(len(set(row) & set(wanted)) for row, wanted in zip(found[0].tolist(), exact.tolist(), strict=True))
    return {
        "rows": rows,
        "train seconds": train,
        "add seconds": add,
        "search seconds": search,
        "recall@10": hits / exact.size,
    }


def _vectors(bench: Bench) -> tuple[Any, Any]:
    """Clustered vectors of length 1, float32, and queries of the same clusters."""
    rows, dimension, lists = bench.sizes.vectors
    drawn = torch.Generator(device=bench.device).manual_seed(0)
    options: dict[str, Any] = {"generator": drawn, "device": bench.device}
    centres = torch.randn(lists, dimension, **options)
    which = torch.randint(lists, (rows + _QUERIES,), **options)
    points = centres[which] + torch.randn(rows + _QUERIES, dimension, **options)
    points = torch.nn.functional.normalize(points, dim=1).cpu().numpy()
    return points[:rows], points[rows:]


def _exact(bench: Bench, vectors: Any, queries: Any) -> Any:
    """The rows with the largest inner products, by a full product."""
    products = torch.from_numpy(queries).to(bench.device) @ torch.from_numpy(vectors).to(bench.device).T
    return products.topk(_K).indices.cpu().numpy()
