"""What the text of passages gives a graph without a model: their words, and the names that they write with capitals."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa

from mnemodex.indexers.arrays import read_arrow, write_arrow
from mnemodex.indexers.graph.names import entity_id, names_of, normalize
from mnemodex.indexers.graph.words import WordCounts
from mnemodex.schemas.store import parquet

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from mnemodex.indexers.arrays import Int64s

_NAMES = "names.arrow"
_SCHEMA = pa.schema([("entity_id", pa.int64()), ("name", pa.string()), ("row", pa.int64())])


class Mentioned(NamedTuple):
    """Names of passages: ids of entities, ascending, each as it is written first; and who is mentioned where.

    Attributes:
        entity_ids: int64 of shape (entities,).
        names: strings of shape (entities,).
        entities: numbers of entities, int64 of shape (mentions,).
        passages: numbers of passages, of the same shape.
    """

    entity_ids: Int64s
    names: pa.StringArray
    entities: Int64s
    passages: Int64s


def write_passages(chunks: Path, out: Path) -> int:
    """Write the words and the names of a partition of chunks; return its rows."""
    write_words(chunks, out)
    ids: list[int] = []
    written: list[str] = []
    rows: list[int] = []
    count = 0
    for count, (title, text) in enumerate(_passages(chunks), 1):
        names = spelled_names(title, text)
        ids.extend(names)
        written.extend(names.values())
        rows.extend([count - 1] * len(names))
    write_arrow(out / _NAMES, pa.table([ids, written, rows], schema=_SCHEMA))
    return count


def spelled_names(title: str, text: str) -> dict[int, str]:
    """Return the names in a passage, by the ids of their entities."""
    return {entity_id(form): name for name in names_of(title, text) if (form := normalize(name))}


def write_words(chunks: Path, out: Path) -> None:
    """Write the words of a partition of chunks."""
    WordCounts.of("\n".join(pair) for pair in _passages(chunks)).save(out)


def read_names(folders: Sequence[Path], rows: Sequence[int]) -> Mentioned:
    """Return the names of several partitions of so many passages each."""
    starts = np.cumsum([0, *rows])[:-1]
    tables = [read_arrow(folder / _NAMES) for folder in folders]
    first = np.repeat(starts, list(map(len, tables)))
    table = pa.concat_tables([_SCHEMA.empty_table(), *tables]).combine_chunks()
    entity_ids, places, entities = np.unique(table["entity_id"].to_numpy(), return_index=True, return_inverse=True)
    names = table["name"].combine_chunks().take(pa.array(places))
    return Mentioned(entity_ids, names, entities, first + table["row"].to_numpy())


def _passages(chunks: Path) -> Iterator[tuple[str, str]]:
    """Yield title and text of each passage."""
    for batch in parquet.read_batches(chunks, columns=["title", "text"]):
        yield from zip(batch["title"].to_pylist(), batch["text"].to_pylist(), strict=True)
