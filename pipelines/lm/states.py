"""Reading documents with a language model: one piece of windows, one partition of states."""

from __future__ import annotations

import time
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, ClassVar, NamedTuple

import numpy as np
import pyarrow as pa

from mnemodex.indexers.lm.reader import StateReader
from mnemodex.indexers.models.language_model import LanguageModel
from mnemodex.pipelines.lm.documents import Documents
from mnemodex.pipelines.ops.base import Op
from mnemodex.schemas.errors import ModelError, NotFiniteError
from mnemodex.schemas.lm import LmStates
from mnemodex.schemas.manifest import Stats
from mnemodex.schemas.spec import RunOnly, Spec
from mnemodex.schemas.tables import TableKey, spec_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from mnemodex.indexers.lm.reader import States, Windows
    from mnemodex.pipelines.ops.base import Work
    from mnemodex.pipelines.ops.checkpoint import Checkpoint
    from mnemodex.pipelines.ops.inputs import Inputs
    from mnemodex.pipelines.ops.output import Output


class StateSettings(Spec):
    """A language model, and what messages call it."""

    lm: LmStates
    name: Annotated[str, RunOnly()]


class StateStats(Stats):
    """What reading a piece gave.

    Attributes:
        vocabulary: tokens that the model gives probabilities to.
        read_tokens: tokens that the model read.
        write_seconds: that writing took.
    """

    vocabulary: int = 0
    read_tokens: int = 0
    write_seconds: float = 0.0


class StatesOp(Op):
    """Runs a causal language model over windows of documents, without its output layer unless surprisals are wanted.

    The inputs are a partition of tokens, of which the unit's piece is read, and the chunks of the same label. States of
    the current snapshot (also where the chunks were others) and of a former try are taken over. Writes `data.parquet`
    and the keys once more as `data.npy`, float16.
    """

    Settings: ClassVar[type[Spec]] = StateSettings
    seconds_per_megabyte: ClassVar[float] = 1000.0
    settings: StateSettings

    def __init__(self, settings: StateSettings, work: Work) -> None:
        super().__init__(settings, work)
        self._spec = settings.lm
        self._last: tuple[tuple[tuple[str, ...], ...], Documents] | None = None

    def run(self, inputs: Inputs, output: Output) -> Stats:
        """See `Op`.

        Raises:
            ModelError: the model is no causal language model, has no such keys, or reads fewer tokens than a window
                has.
            NotFiniteError: a key holds NaN or infinity.
        """
        documents = self._documents(inputs)
        piece = slice(*(inputs.unit.piece or (0, 0)))
        here = documents.windows(self._spec, piece)
        positions = documents.positions(here)
        known = _Known.of(inputs, positions, here, surprisal=self._spec.surprisal)
        read = known.states if known.whole else self._read(documents, here, known, output)
        started = time.perf_counter()
        table = spec_of(TableKey("lm_states", "any")).sized(read.keys.shape[1])
        batch = _batch(table.schema, documents, here, read)
        output.write(table, _slices(batch, table.row_group_rows))
        np.save(output.folder / "data.npy", read.keys, allow_pickle=False)
        tokens = (here.stop - here.start)[~known.windows].sum() + len(documents.prefix) * (~known.windows).sum()
        return StateStats(
            reused=int(known.rows.sum()),
            dimension=read.keys.shape[1],
            vocabulary=read.vocabulary,
            read_tokens=int(tokens),
            write_seconds=time.perf_counter() - started,
        )

    def _documents(self, inputs: Inputs) -> Documents:
        """Return the documents of a unit's partition, kept for the next unit of the same."""
        if self._last is None or self._last[0] != inputs.unit.inputs:
            self._last = inputs.unit.inputs, Documents(inputs.partition(0), inputs.partition(1))
        return self._last[1]

    @cached_property
    def _loaded(self) -> tuple[LanguageModel, StateReader]:
        """The model, and what reads with it; loaded by the first unit that needs it."""
        name = self.settings.name
        model = LanguageModel(self._spec.model, threads=self.work.cpus)
        if model.is_encoder_decoder:
            msg = f"model {model.name!r} has an encoder; a next-token datastore takes a causal language model"
            raise ModelError(msg)
        limit = getattr(model.model.config.get_text_config(), "max_position_embeddings", None)
        if limit is not None and limit < self._spec.window:
            msg = (
                f"lm.{name}: model {model.name!r} reads {limit} tokens at most, but `window` is {self._spec.window}; "
                f"give {limit} or fewer"
            )
            raise ModelError(msg)
        return model, StateReader(model.model, self._spec.key, surprisal=self._spec.surprisal)

    def _read(self, documents: Documents, here: Windows, known: _Known, output: Output) -> _Read:
        """Return the keys and surprisals of all predicted tokens, in the order of the windows.

        Raises:
            NotFiniteError: the model gives NaN or infinity, or numbers beyond half precision.
        """
        model, reader = self._loaded
        place = np.concatenate([[0], np.cumsum(here.predicted)])
        read = _Read.empty(int(place[-1]), reader.dimension, model.size, surprisal=self._spec.surprisal)
        if known.rows.any():
            read.copy(known.states, known.rows)
        missing = np.flatnonzero(~known.windows)
        done = _resume(output.checkpoint, read, place, missing)
        tokens = [np.concatenate([documents.prefix, ids]) for ids in documents.texts(here)]
        count = int(known.rows.sum() + here.predicted[missing][done].sum())
        for number, states in reader.read([tokens[at] for at in missing], here.predicted[missing], done=done):
            window = int(missing[number])
            read.put(slice(place[window], place[window + 1]), states)
            if np.isfinite(states.keys).all():
                output.checkpoint.add(_kept(window, states))
            count += len(states.keys)
            output.progress(count)
        self._check(read.keys)
        return read

    def _check(self, keys: NDArray[np.float16]) -> None:
        bad = int((~np.isfinite(keys)).any(axis=1).sum())
        if bad:
            msg = (
                f"lm.{self.settings.name}: model {self._spec.model!r} gives NaN, infinity or numbers above 65,504 in "
                f"{bad} of {len(keys)} keys; take another `key`: final_hidden is normalised"
            )
            raise NotFiniteError(msg)


class _Read(NamedTuple):
    """What a model had in mind in front of each token: `surprisal` is None where it is not wanted."""

    keys: NDArray[np.float16]
    surprisal: NDArray[np.float32] | None
    vocabulary: int

    @classmethod
    def empty(cls, rows: int, dimension: int, vocabulary: int, *, surprisal: bool) -> _Read:
        """Return room for so many tokens."""
        return cls(
            np.empty((rows, dimension), np.float16), np.empty(rows, np.float32) if surprisal else None, vocabulary
        )

    def put(self, rows: slice, states: States) -> None:
        """Put the states of a window in place; numbers beyond half precision become infinite."""
        with np.errstate(over="ignore"):
            self.keys[rows] = states.keys
        if self.surprisal is not None:
            self.surprisal[rows] = states.surprisal

    def copy(self, other: _Read, rows: NDArray[np.bool_]) -> None:
        """Take some rows over."""
        self.keys[rows] = other.keys[rows]
        if self.surprisal is not None and other.surprisal is not None:
            self.surprisal[rows] = other.surprisal[rows]


class _Known(NamedTuple):
    """What the current snapshot has of a piece.

    Attributes:
        states: of all predicted tokens; of no meaning where they are not known.
        rows: which of them are known, in windows of which all are.
        windows: the windows of which all tokens are known.
    """

    states: _Read
    rows: NDArray[np.bool_]
    windows: NDArray[np.bool_]

    @property
    def whole(self) -> bool:
        """Whether nothing is to be read."""
        return bool(len(self.windows)) and bool(self.windows.all())

    @classmethod
    def of(cls, inputs: Inputs, positions: NDArray[np.int64], here: Windows, *, surprisal: bool) -> _Known:
        """Look the positions up."""
        former = inputs.former
        stats = former.stats().of(StateStats)
        states = _Read.empty(len(positions), stats.dimension, stats.vocabulary, surprisal=surprisal)
        if not former:
            return cls(states, np.zeros(len(positions), np.bool_), np.zeros(len(here), np.bool_))
        found = former.find(positions)
        filled = former.fill(found, states.keys)
        if states.surprisal is not None:
            former.column(found, "surprisal", states.surprisal)
        starts = np.cumsum(here.predicted) - here.predicted
        windows = np.logical_and.reduceat(filled, starts) if len(here) else np.zeros(0, np.bool_)
        return cls(states, np.repeat(windows, here.predicted), windows)


def _kept(window: int, states: States) -> pa.RecordBatch:
    """Return the states of a window as a checkpoint keeps them."""
    keys = np.ascontiguousarray(states.keys).view(np.uint8).reshape(-1)
    surprisal = pa.nulls(1, pa.list_(pa.float32())) if states.surprisal is None else pa.array([states.surprisal])
    return pa.record_batch(
        {"window": pa.array([window]), "keys": pa.array([keys.tobytes()], pa.large_binary()), "surprisal": surprisal}
    )


def _resume(
    checkpoint: Checkpoint, read: _Read, place: NDArray[np.int64], missing: NDArray[np.intp]
) -> NDArray[np.bool_]:
    """Fill in the states of a former try of the unit; return which of the missing windows these are."""
    done = np.zeros(len(missing), np.bool_)
    numbers = {int(window): number for number, window in enumerate(missing)}
    for batch in checkpoint.load():
        for window, keys, surprisal in zip(batch["window"].to_pylist(), batch["keys"], batch["surprisal"], strict=True):
            if window not in numbers:
                continue
            rows = slice(place[window], place[window + 1])
            read.keys[rows] = np.frombuffer(keys.as_buffer(), np.float16).reshape(-1, read.keys.shape[1])
            if read.surprisal is not None:
                read.surprisal[rows] = surprisal.values.to_numpy()
            done[numbers[window]] = True
    return done


def _batch(schema: pa.Schema, documents: Documents, here: Windows, read: _Read) -> pa.RecordBatch:
    """Return the rows of the table, in the order of the windows."""
    text, offset = documents.places(here)
    keys = np.ascontiguousarray(read.keys)
    return pa.record_batch(
        [
            documents.positions(here),
            documents.ids[text],
            documents.chunks_of(text, offset),
            offset.astype(np.int32),
            pa.Array.from_buffers(schema.field("key").type, len(keys), [None, pa.py_buffer(keys)]),
            documents.values(text, offset),
            pa.nulls(len(keys), pa.float32()) if read.surprisal is None else read.surprisal,
        ],
        schema=schema,
    )


def _slices(batch: pa.RecordBatch, rows: int) -> Iterator[pa.RecordBatch]:
    for start in range(0, batch.num_rows, rows):
        yield batch.slice(start, rows)
