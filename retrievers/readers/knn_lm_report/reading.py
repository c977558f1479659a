"""Texts as a datastore's model reads them: what it expected of every token, and the key in front of it."""

from __future__ import annotations

import hashlib
import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mnemodex.indexers.lm.windows import windows
from mnemodex.schemas.errors import NotFiniteError, QueryError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from mnemodex.indexers.lm.reader import States
    from mnemodex.indexers.lm.windows import Windows
    from mnemodex.indexers.models.language_model import LanguageModel
    from mnemodex.retrievers.datastore import DatastoreInfo

_WINDOWS = 512
"""Windows that are handed to the model's reader at once, which sorts them by length."""

_COLUMNS = ("tokens", "text", "place", "surprisal", "entropy", "keys")


@dataclass(frozen=True, slots=True)
class Readings:
    """Every predicted token of some texts, in the texts' order. The arrays are memory-mapped.

    Attributes:
        tokens: the tokens that came, int32 of shape (n,).
        text: the number of each token's text, int64 of shape (n,).
        place: its place in its text, int64 of shape (n,).
        surprisal: -ln p of it by the model alone, in nats, float32 of shape (n,).
        entropy: of the model's distribution in front of it, in nats, float32 of shape (n,).
        keys: what neighbours are looked for with, float32 of shape (n, dimension).
        seconds: wall time that the model took.
    """

    tokens: NDArray[np.int32]
    text: NDArray[np.int64]
    place: NDArray[np.int64]
    surprisal: NDArray[np.float32]
    entropy: NDArray[np.float32]
    keys: NDArray[np.float32]
    seconds: float

    def __len__(self) -> int:
        """The number of predicted tokens."""
        return len(self.tokens)


def read_texts(
    lm: LanguageModel,
    info: DatastoreInfo,
    texts: Sequence[NDArray[np.int32]],
    folder: Path,
    *,
    advance: Callable[[int], object] | None = None,
) -> Readings:
    """Read texts in the datastore's own windows, or open what an earlier call left of the same texts.

    Keys go to a file as they come, so that memory is bounded by the texts' tokens.

    Args:
        lm: the datastore's model.
        info: of the datastore.
        texts: the tokens of each.
        folder: where the arrays are written, as `.npy`.
        advance: called with a number of tokens whenever they are read.

    Raises:
        QueryError: no token of the texts is predicted.
        NotFiniteError: the model gives NaN or infinity.
    """
    if not predictable(info, texts):
        msg = f"the texts are too short: none of their tokens is predicted; give at least {1 if info.prefix else 2}"
        raise QueryError(msg)
    fingerprint = _fingerprint(info, texts)
    marker = folder / "readings.json"
    if not marker.exists() or json.loads(marker.read_text())["fingerprint"] != fingerprint:
        marker.unlink(missing_ok=True)
        folder.mkdir(parents=True, exist_ok=True)
        seconds = _read(lm, info, texts, folder, advance)
        marker.write_text(json.dumps({"fingerprint": fingerprint, "seconds": seconds}))
    columns = {name: np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False) for name in _COLUMNS}
    return Readings(**columns, seconds=json.loads(marker.read_text())["seconds"])


def predictable(info: DatastoreInfo, texts: Sequence[NDArray[np.int32]]) -> int:
    """How many tokens of texts are predicted: all, or all but the first where nothing stands before them."""
    first = 0 if info.prefix else 1
    return sum(max(len(text) - first, 0) for text in texts)


def _fingerprint(info: DatastoreInfo, texts: Sequence[NDArray[np.int32]]) -> str:
    """What decides the readings."""
    settings = [info.model_sha256, info.key, info.window, info.overlap, info.prefix, [len(text) for text in texts]]
    digest = hashlib.sha256(json.dumps(settings).encode())
    for text in texts:
        digest.update(np.ascontiguousarray(text).tobytes())
    return digest.hexdigest()


def _read(
    lm: LanguageModel,
    info: DatastoreInfo,
    texts: Sequence[NDArray[np.int32]],
    folder: Path,
    advance: Callable[[int], object] | None,
) -> float:
    """Fill the files; returns the seconds that the model took."""
    from mnemodex.indexers.lm.reader import StateReader

    reader = StateReader(lm.model, info.key, surprisal=True, entropy=True)
    lengths = np.array([len(text) for text in texts], np.int64)
    cut = windows(lengths, window=info.window, overlap=info.overlap, prefix=len(info.prefix))
    ends = np.cumsum(cut.predicted)
    files = _Files(folder, int(ends[-1]), reader.dimension)
    seconds = 0.0
    for group in _groups(len(cut)):
        cuts = [_window(cut, number, texts, info.prefix) for number in group]
        started = time.perf_counter()
        for inside, states in reader.read(cuts, cut.predicted[group]):
            seconds += time.perf_counter() - started
            number = int(group[inside])
            first, stop = int(cut.first[number]), int(cut.stop[number])
            here = slice(int(ends[number]) - (stop - first), int(ends[number]))
            text = int(cut.text[number])
            _check(lm, states)
            files.put(
                here,
                tokens=texts[text][first:stop],
                text=text,
                place=np.arange(first, stop),
                surprisal=states.surprisal,
                entropy=states.entropy,
                keys=states.keys,
            )
            if advance is not None:
                advance(stop - first)
            started = time.perf_counter()
    files.close()
    return seconds


def _check(lm: LanguageModel, states: States) -> None:
    for part in (states.keys, states.surprisal, states.entropy):
        if part is not None and not np.isfinite(part).all():
            msg = f"model {lm.name!r} gives NaN or infinity: its weights are broken, or its dtype overflows"
            raise NotFiniteError(msg)


def _groups(count: int) -> Iterator[NDArray[np.int64]]:
    for start in range(0, count, _WINDOWS):
        yield np.arange(start, min(start + _WINDOWS, count))


def _window(
    cut: Windows, number: int, texts: Sequence[NDArray[np.int32]], prefix: tuple[int, ...]
) -> NDArray[np.int32]:
    """One window's tokens, with what stands before it."""
    text = texts[int(cut.text[number])][int(cut.start[number]) : int(cut.stop[number])]
    return np.concatenate([np.array(prefix, np.int32), text])


class _Files:
    """The columns of readings, as files that are written by slices."""

    def __init__(self, folder: Path, rows: int, dimension: int) -> None:
        kinds = (np.int32, np.int64, np.int64, np.float32, np.float32, np.float32)
        shapes = [*[(rows,)] * 5, (rows, dimension)]
        self._columns: dict[str, Any] = {
            name: np.lib.format.open_memmap(folder / f"{name}.npy", mode="w+", dtype=kind, shape=shape)
            for name, kind, shape in zip(_COLUMNS, kinds, shapes, strict=True)
        }

    def put(self, here: slice, **values: Any) -> None:
        for name, value in values.items():
            self._columns[name][here] = value

    def close(self) -> None:
        for column in self._columns.values():
            column.flush()
