"""Indexes over vectors, built by themselves at growing sizes: which one it is depends on the rows that are planned."""

from __future__ import annotations

import json
import re
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mnemodex.indexers.dense.budget import choose_factory
from mnemodex.indexers.vector_settings import VectorSettings
from mnemodex.pipelines.planner.figures import VectorTrial
from mnemodex.pipelines.planner.laws import power
from mnemodex.pipelines.planner.trials import run_alone
from mnemodex.schemas.errors import RecipeError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mnemodex.indexers.arrays import Float32s
    from mnemodex.indexers.dense.engine import Engine
    from mnemodex.pipelines.planner.figures import TrialBuild
    from mnemodex.schemas.recipe import Recipe

_FIRST = 2048
_MOST = 131_072
"""Rows of the smallest and of the largest index."""
_LONGER = 2.5
"""An index of twice the rows takes so many times as long, roughly."""
_QUERIES = 64
"""Queries whose search is timed."""
_LISTS = re.compile(r"(?<=IVF)\d+")


def rows_of(trials: Sequence[TrialBuild], name: str, documents: int) -> int:
    """Return the rows that an index would have."""
    counts = [trial.results[name].rows if name in trial.results else 0 for trial in trials]
    return round(power([trial.documents for trial in trials], counts, documents).value)


def layouts(
    recipe: Recipe,
    trials: Sequence[TrialBuild],
    documents: int,
    vectors: Mapping[str, Sequence[VectorTrial]],
) -> dict[str, str]:
    """Return which index each one over vectors would be: without the number of its lists, which is scaled."""
    found = {}
    for name, settings in recipe.indexes.items():
        if isinstance(settings, VectorSettings):
            rows = rows_of(trials, name, documents)
            layout = layout_of(settings, rows, vectors[name][-1].dimension)
            found[name] = _LISTS.sub("*", layout, count=1)
    return found


def layout_of(settings: VectorSettings, rows: int, dimension: int) -> str:
    """Return the factory string of an index of so many rows, or `hnswlib`."""
    return choose_factory(settings, rows, dimension).factory if settings.engine == "faiss" else "hnswlib"


def try_vectors(
    recipe: Recipe,
    memory: Path,
    trials: Sequence[TrialBuild],
    documents: int,
    seconds: float,
    say: Callable[[str], None],
) -> dict[str, tuple[VectorTrial, ...]]:
    """Build each index over vectors as it would be, by itself at growing sizes; return what these took.

    Args:
        recipe: of the indexes.
        memory: a build of a sample, whose vectors are taken.
        trials: what such builds took.
        documents: that are planned for.
        seconds: of one CPU that all may take, roughly.
        say: is told what is done.

    Raises:
        RecipeError: an index of as many rows as are planned for does not fit its memory budget.
    """
    found: dict[str, tuple[VectorTrial, ...]] = {}
    made: dict[str, tuple[VectorTrial, ...]] = {}
    names = [name for name, settings in recipe.indexes.items() if isinstance(settings, VectorSettings)]
    spent = 0.0
    for number, name in enumerate(names):
        settings: Any = recipe.indexes[name]
        rows = rows_of(trials, name, documents)
        files = _vector_files(settings, memory)
        given = json.dumps({"settings": settings.model_dump(mode="json"), "rows": rows, "files": files})
        if given not in made:
            _check_budget(name, settings, rows, files)
            say(f"index {name}, by itself at growing sizes")
            path = memory.parent / "vectors.json"
            # What one of them does not need is for the others.
            allowed = (seconds - spent) / (len(names) - number)
            path.write_text(json.dumps({**json.loads(given), "seconds": allowed}), encoding="utf-8")
            output, cpu, _ = run_alone(("mnemodex.pipelines.planner.vectors", str(path)), memory.parent)
            spent += cpu
            lines = output.strip().splitlines()
            made[given] = tuple(map(VectorTrial.model_validate_json, lines))
        found[name] = made[given]
    return found


def _check_budget(name: str, settings: VectorSettings, rows: int, files: Sequence[str]) -> None:
    """Refuse an index that does not fit its memory budget, before a process of its own builds it."""
    try:
        layout_of(settings, rows, int(np.load(files[0], mmap_mode="r", allow_pickle=False).shape[1]))
    except RecipeError as error:
        raise RecipeError(f"indexes.{name}: {error}") from error


def _vector_files(settings: Any, memory: Path) -> list[str]:
    from mnemodex.indexers.dense.indexer import DenseIndexer
    from mnemodex.pipelines.indexes.ops import make_indexer
    from mnemodex.retrievers.snapshot import Snapshot

    indexer = make_indexer(settings.model_copy(update=_exact(settings)), rows=1, dimension=8)
    assert isinstance(indexer, DenseIndexer)  # noqa: S101 - of the kinds of settings that are given
    table = indexer.table(settings)
    assert table is not None  # noqa: S101 - an index over vectors has a table
    return [str(path) for path in Snapshot.open(memory).paths(table.label, ".npy")]


def _exact(settings: Any) -> dict[str, str]:
    return {"factory": "Flat"} if settings.engine == "faiss" else {}


def main() -> None:
    """Build the index that a JSON file names at growing sizes, and print what each took, a line of JSON each."""
    given = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    settings = VectorSettings.model_validate({k: v for k, v in given["settings"].items() if k in _FIELDS})
    source = np.concatenate([np.load(path, allow_pickle=False).astype(np.float32) for path in given["files"]])
    began, spent, size = time.process_time(), 0.0, _FIRST
    while True:
        size = min(size, max(2, given["rows"]))
        trial = measure(settings, given["rows"], vectors_like(source, size))
        sys.stdout.write(trial.model_dump_json() + "\n")
        before, spent = spent, time.process_time() - began
        if size >= min(_MOST, given["rows"]):
            break
        if spent + _LONGER * (spent - before) > given["seconds"] and size >= 4 * _FIRST:
            break
        size *= 2


_FIELDS = set(VectorSettings.model_fields)


def vectors_like(source: Float32s, rows: int, *, seed: int = 0) -> Float32s:
    """Return so many vectors: those that are there, then some between two of them; of shape (rows, d)."""
    generator = np.random.default_rng(seed)
    missing = rows - len(source)
    if missing <= 0:
        return np.ascontiguousarray(source[np.sort(generator.permutation(len(source))[:rows])])
    first, second = (source[generator.integers(0, len(source), missing)] for _ in range(2))
    between = generator.uniform(0, 0.5, (missing, 1)).astype(np.float32)
    mixed = first + between * (second - first)
    lengths = np.linalg.norm(first, axis=1, keepdims=True) / np.maximum(
        np.linalg.norm(mixed, axis=1, keepdims=True), 1e-12
    )
    return np.ascontiguousarray(np.concatenate([source, (mixed * lengths).astype(np.float32)]))


def measure(settings: VectorSettings, planned: int, vectors: Float32s) -> VectorTrial:
    """Build an index that is planned for so many rows over some vectors, of shape (n, d), and measure its parts."""
    import tempfile

    from mnemodex.indexers.dense.devices import set_threads
    from mnemodex.indexers.dense.hnswlib_engine import HnswlibEngine
    from mnemodex.indexers.dense.order import insertion_order
    from mnemodex.indexers.dense.probe import Contents, choose, factors, held_out_rows, probe_index
    from mnemodex.indexers.dense.vectors import exact_search

    set_threads(1)
    rows, dimension = vectors.shape
    clock = [time.process_time()]
    lists = 0
    refines: tuple[int, ...] = ()
    if settings.engine == "faiss":
        chosen_index = choose_factory(settings, planned, dimension)
        refines = factors(chosen_index.refine)
        engine, lists = _train(chosen_index.factory, settings, vectors)
    else:
        engine = HnswlibEngine.create(settings, rows, dimension)
    clock.append(time.process_time())
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder) / "data.npy", vectors, allow_pickle=False)
        stored = _stored(Path(folder) / "data.npy", rows, dimension)
        held_out = held_out_rows(rows)
        # Only a graph depends on its order.
        graph = engine.parameter in {"efSearch", "ef"}
        order = insertion_order(settings.order if graph else "as_is", stored, seed=settings.seed)
        first, last = np.split(order, [rows - held_out])
        clock.append(time.process_time())
        engine.add(stored.blocks(first, engine.batch_rows(rows)))
        clock.append(time.process_time())
        queries = stored.take(last)
        exact_search(queries, stored.blocks(np.sort(first)), min(10, len(first)), metric=settings.metric)
        clock.append(time.process_time())
        contents = Contents(stored, order, np.arange(rows), settings.metric)
        probe = probe_index(engine, contents, queries, "held-out rows", refines=refines)
        clock.append(time.process_time())
        chosen = choose(probe, settings.target_recall, exact_from=engine.exact_from).search
        asked = vectors_like(queries, _QUERIES)
        began = time.process_time()
        engine.search(asked, min(10 * (chosen.refine or 1), len(first)), parameter=chosen.value)
        search = (time.process_time() - began) / len(asked)
        before = time.process_time()
        engine.add(stored.blocks(last, None))
        engine.save(Path(folder))
        saved = time.process_time() - before
        size = sum(path.stat().st_size for path in Path(folder).iterdir()) - (Path(folder) / "data.npy").stat().st_size
    train, order_cpu, add, exact, probed = np.diff(clock).tolist()
    return VectorTrial(
        rows=rows,
        dimension=dimension,
        lists=lists,
        parameter=engine.parameter,
        values=len(probe.values),
        probes=held_out,
        train=train,
        add=add + order_cpu + saved,
        exact=exact,
        probe=max(0.0, probed - exact),
        bytes=size,
        cache=cache_bytes(),
        search=search,
    )


def cache_bytes() -> int:
    """Return the bytes of a CPU's largest cache, 32 MiB where the machine does not say."""
    levels = Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size")
    sizes = [path.read_text(encoding="utf-8").strip() for path in levels]
    known = [int(size[:-1]) << (10 if size[-1] == "K" else 20) for size in sizes if re.fullmatch(r"\d+[KM]", size)]
    return max(known, default=32 << 20)


def _stored(path: Path, rows: int, dimension: int) -> Any:
    from mnemodex.indexers.base import InputPartition
    from mnemodex.indexers.dense.vectors import Vectors

    return Vectors.of([InputPartition("sample", rows, {"npy": path})], dimension=dimension)


def _train(factory: str, settings: VectorSettings, vectors: Float32s) -> tuple[Engine, int]:
    """Return an empty trained index of FAISS, with as many lists as so few rows allow, and how many these are."""
    from mnemodex.indexers.dense.factory import POINTS_PER_LIST, leaf, make_index
    from mnemodex.indexers.dense.faiss_engine import FaissEngine

    rows, dimension = vectors.shape
    wanted = int(getattr(leaf(make_index(factory, dimension, settings.metric)), "nlist", 0))
    lists = wanted
    if wanted * POINTS_PER_LIST > rows:
        lists = max(1, 1 << ((rows // POINTS_PER_LIST).bit_length() - 1)) if rows >= POINTS_PER_LIST else 1
        factory = _LISTS.sub(str(lists), factory, count=1)
    index = make_index(factory, dimension, settings.metric)
    if not index.is_trained:
        index.train(vectors)
    return FaissEngine(index, settings.metric), lists


if __name__ == "__main__":
    main()
