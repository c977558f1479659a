"""Building shards from a stream of documents: spooled to disk, split at a size, built with bounded memory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mnemodex.indexers.ngram.ragged import Vocabulary
from mnemodex.schemas.errors import RecipeError, SourceError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from numpy.typing import ArrayLike

    from mnemodex.indexers.arrays import Int64s
    from mnemodex.indexers.ngram.ragged import Ragged

_LARGEST_SHARD = (2**31 - 1) // 3
"""libdivsufsort numbers bytes by int32, and a symbol takes up to three bytes."""


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """Sizes and rates of shards.

    Attributes:
        sample_rate: tokens from one sampled place to the next; more make `locate` slower and the shard smaller.
        document_array: keep the document of every row, without which `documents` must locate every occurrence.
        shard_rows: the largest number of tokens and documents together in one field of a shard. It bounds the memory:
            while a field is built, 10 bytes a row (15 if more than 65,534 different tokens occur) and 32 a document,
            besides the batch at hand and files that are written by mmap.
    """

    sample_rate: int = 32
    document_array: bool = True
    shard_rows: int = 100_000_000

    def __post_init__(self) -> None:
        if self.sample_rate < 1:
            raise RecipeError(f"sample_rate is {self.sample_rate}, but must be at least 1")
        if not 1 <= self.shard_rows <= _LARGEST_SHARD:
            raise RecipeError(f"shard_rows is {self.shard_rows}, but must be between 1 and {_LARGEST_SHARD}")


_DEFAULTS = BuildOptions()


class _Spool:
    """The documents of one field of a shard, on disk until all are there."""

    def __init__(self, folder: Path, vocabulary: Vocabulary) -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        self.vocabulary = vocabulary
        self.rows = 0
        self._lengths: list[Int64s] = []
        self._frequencies = np.zeros(len(vocabulary) + 1, dtype=np.int64)
        self._path = folder / "symbols.spool"

    def add(self, documents: Ragged) -> None:
        symbols = self.vocabulary.symbols(documents)
        with self._path.open("ab") as file:
            symbols.tofile(file)
        self._lengths.append(documents.lengths)
        self._frequencies[:-1] += np.bincount(symbols, minlength=len(self.vocabulary))
        self._frequencies[-1] += len(documents)
        self.rows += len(symbols) + len(documents)

    def finish(self, options: BuildOptions) -> dict[str, Any]:
        from mnemodex.indexers.ngram.assemble import assemble

        # A file without a byte cannot be mapped.
        filled = self._path.stat().st_size > 0
        symbols = np.memmap(self._path, dtype=np.int32, mode="r") if filled else np.empty(0, dtype=np.int32)
        lengths = np.concatenate(self._lengths)
        stats = assemble(self.folder, symbols.view(np.ndarray), lengths, self._frequencies, self.vocabulary, options)
        self._path.unlink()
        return stats


def build(
    batches: Iterable[Mapping[str, Ragged]],
    out: Path,
    vocabulary: ArrayLike | Vocabulary,
    *,
    options: BuildOptions = _DEFAULTS,
) -> list[dict[str, Any]]:
    """Build the shards of an n-gram index; return the stats of each field of each: rows, documents, tokens and more.

    Args:
        batches: batches of documents in the order in which they are numbered. A batch maps every field, such as "body"
            and "title", to the token ids of its documents; all batches have the same fields, and all fields of a batch
            the same documents.
        out: an empty folder. Shard number i is written to the folder `i` in five digits, with one folder a field. No
            shard is without a document.
        vocabulary: the token ids that may occur; the same for all shards of an index.
        options: sizes and rates.

    Raises:
        ModelError: a token id is not in the vocabulary.
        SourceError: one document alone is larger than a shard may be, or fields do not agree.
    """
    shared = vocabulary if isinstance(vocabulary, Vocabulary) else Vocabulary(vocabulary)
    shards: list[dict[str, Any]] = []
    spools: dict[str, _Spool] = {}
    for batch in batches:
        if spools and batch.keys() != spools.keys():
            raise SourceError(
                f"a batch has the fields {sorted(batch)}, one before it {sorted(spools)}: give all batches the same"
            )
        for part in _parts(batch, spools, options.shard_rows):
            if part is None:
                shards.append({field: spool.finish(options) for field, spool in spools.items()})
                spools = {}
                continue
            spools = spools or {field: _Spool(out / f"{len(shards):05d}" / field, shared) for field in part}
            for field, documents in part.items():
                spools[field].add(documents)
    if spools:
        shards.append({field: spool.finish(options) for field, spool in spools.items()})
    return shards


def _parts(
    batch: Mapping[str, Ragged], spools: Mapping[str, _Spool], limit: int
) -> Iterator[Mapping[str, Ragged] | None]:
    """Cut a batch where a shard is full; None is the end of a shard."""
    documents = {len(field) for field in batch.values()}
    if len(documents) != 1:
        raise SourceError(f"the fields of a batch have {sorted(documents)} documents: give every document every field")
    count = documents.pop()
    # Rows of the documents up to each one, and those of the documents in the shard before the part at hand.
    ends = {name: np.cumsum(field.lengths + 1) for name, field in batch.items()}
    used = {name: spools[name].rows if spools else 0 for name in batch}
    start = 0
    while start < count:
        before = {name: int(ends[name][start - 1]) if start else 0 for name in batch}
        stop = min(int(np.searchsorted(ends[name], limit - used[name] + before[name], side="right")) for name in batch)
        if stop > start:
            yield {name: field.part(start, stop) for name, field in batch.items()}
            used = {name: used[name] + int(ends[name][stop - 1]) - before[name] for name in batch}
            start = stop
        elif not any(used.values()):
            longest = max(int(field.lengths[start]) for field in batch.values())
            raise SourceError(
                f"a document of {longest} tokens does not fit into a shard of {limit} rows: raise shard_rows, or split "
                "the document"
            )
        if start < count:
            yield None
            used = dict.fromkeys(batch, 0)
