"""Texts as a datastore's model reads them: what it expected of every token, and the key in front of it."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mnemodex.indexers.arrays import map_array
from mnemodex.indexers.lm.reader import windows
from mnemodex.schemas.errors import NotFiniteError, QueryError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from mnemodex.indexers.arrays import Float32s, Int32s, Int64s
    from mnemodex.indexers.models.language_model import LanguageModel
    from mnemodex.retrievers.datastore import DatastoreInfo

_WINDOWS = 512
"""Windows that are handed to the model's reader at once, which sorts them by length."""

_COLUMNS = ("surprisal", "entropy", "keys")


@dataclass(frozen=True, slots=True)
class Readings:
    """Every predicted token of some texts, in the texts' order. What the model gives is memory-mapped.

    Attributes:
        tokens: the tokens that came, int32 of shape (n,).
        text: the number of each token's text, int64 of shape (n,).
        place: its place in its text, int64 of shape (n,).
        surprisal: -ln p of it by the model alone, in nats, float32 of shape (n,).
        entropy: of the model's distribution in front of it, in nats, float32 of shape (n,).
        keys: what neighbours are looked for with, float32 of shape (n, dimension).
        seconds: wall time that the model took.
    """

    tokens: Int32s
    text: Int64s
    place: Int64s
    surprisal: Float32s
    entropy: Float32s
    keys: Float32s
    seconds: float

    def __len__(self) -> int:
        return len(self.tokens)


def read_texts(
    lm: LanguageModel,
    info: DatastoreInfo,
    texts: Sequence[Int32s],
    folder: Path,
    *,
    advance: Callable[[int], object] | None = None,
) -> Readings:
    """Read texts in the datastore's own windows, or open what an earlier call left of the same texts.

    What the datastore's model gives is written into the folder as it comes, as `.npy`, so that memory is bounded by the
    texts' tokens. Whenever some of these are read, `advance` is called with their number.

    Raises:
        QueryError: no token of the texts is predicted.
        NotFiniteError: the model gives NaN or infinity.
    """
    first = 0 if info.prefix else 1
    if not predictable(info, texts):
        raise QueryError(f"the texts are too short: none of their tokens is predicted; give at least {first + 1}")
    fingerprint = _fingerprint(info, texts)
    marker = folder / "readings.json"
    if not marker.exists() or json.loads(marker.read_text())["fingerprint"] != fingerprint:
        marker.unlink(missing_ok=True)
        folder.mkdir(parents=True, exist_ok=True)
        seconds = _read(lm, info, texts, folder, advance)
        marker.write_text(json.dumps({"fingerprint": fingerprint, "seconds": seconds}))
    tokens = np.concatenate([text[first:] for text in texts])
    places = [np.arange(first, len(text)) for text in texts]
    text = np.repeat(np.arange(len(texts)), [len(some) for some in places])
    surprisal, entropy, keys = (map_array(folder / f"{name}.npy") for name in _COLUMNS)
    seconds = json.loads(marker.read_text())["seconds"]
    return Readings(tokens, text, np.concatenate(places), surprisal, entropy, keys, seconds)


def predictable(info: DatastoreInfo, texts: Sequence[Int32s]) -> int:
    """Return how many tokens of texts are predicted: all, or all but the first of a text that has no prefix."""
    return sum(max(len(text) - (0 if info.prefix else 1), 0) for text in texts)


def _fingerprint(info: DatastoreInfo, texts: Sequence[Int32s]) -> str:
    """Return a hash of what decides the readings."""
    settings = [info.model_sha256, info.key, info.window, info.overlap, info.prefix, [len(text) for text in texts]]
    digest = hashlib.sha256(json.dumps(settings).encode())
    for text in texts:
        digest.update(text.tobytes())
    return digest.hexdigest()


def _read(
    lm: LanguageModel,
    info: DatastoreInfo,
    texts: Sequence[Int32s],
    folder: Path,
    advance: Callable[[int], object] | None,
) -> float:
    """Fill the files of `_COLUMNS`, and return the seconds that it took."""
    from mnemodex.indexers.lm.reader import StateReader

    reader = StateReader(lm.model, info.key, surprisal=True, entropy=True)
    lengths = np.array([len(text) for text in texts], np.int64)
    cut = windows(lengths, window=info.window, overlap=info.overlap, prefix=len(info.prefix))
    ends = np.cumsum(cut.predicted)
    rows = int(ends[-1])
    columns: dict[str, Any] = {
        name: np.lib.format.open_memmap(folder / f"{name}.npy", mode="w+", dtype=np.float32, shape=shape)
        for name, shape in zip(_COLUMNS, ((rows,), (rows,), (rows, reader.dimension)), strict=True)
    }
    prefix = np.array(info.prefix, np.int32)
    started = time.perf_counter()
    for first in range(0, len(cut), _WINDOWS):
        group = slice(first, first + _WINDOWS)
        bounds = zip(cut.text[group].tolist(), cut.start[group].tolist(), cut.stop[group].tolist(), strict=True)
        tokens = [np.concatenate([prefix, texts[text][start:stop]]) for text, start, stop in bounds]
        for number, states in reader.read(tokens, cut.predicted[group]):
            end, count = int(ends[first + number]), int(cut.predicted[first + number])
            for name, column in columns.items():
                values = getattr(states, name)
                if not np.isfinite(values).all():
                    raise NotFiniteError(
                        f"model {lm.name!r} gives NaN or infinity: its weights are broken, or its dtype overflows"
                    )
                column[end - count : end] = values
            if advance is not None:
                advance(count)
    for column in columns.values():
        column.flush()
    return time.perf_counter() - started
