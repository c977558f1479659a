"""Reading documents with a language model: one unit of windows, one partition of states."""

from __future__ import annotations

import time
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np
import pyarrow as pa

from mnemodex.indexers.language_model import LanguageModel
from mnemodex.indexers.lm.reader import StateReader
from mnemodex.indexers.lm.windows import Windows, windows
from mnemodex.indexers.ngram.chunk_map import ChunkMap
from mnemodex.pipelines.resources import Resources
from mnemodex.schemas.errors import CorruptFileError, ModelError, NotFiniteError
from mnemodex.schemas.ids import token_positions
from mnemodex.schemas.lm import LmStates
from mnemodex.schemas.manifest import Artifact
from mnemodex.schemas.store import parquet
from mnemodex.schemas.tables import lm_states

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from mnemodex.pipelines.jobs import Unit
    from mnemodex.schemas.store.store import Store


class LmStatesJob:
    """Runs a causal language model over windows of documents, without its output layer unless surprisals are wanted.

    Settings: `name` and `spec` of the language model. A unit's payload: `tokens` and `chunks` (the artifacts of
    partitions of the same label), `windows` (the first one, and the one after the last), `reading` (a fingerprint of
    all that decides the keys), and `former`: None, or a partition of the same reading that belongs to other chunks. Its
    keys are taken over.
    """

    version: ClassVar[int] = 1
    resources: ClassVar[Resources] = Resources(gpu=True, threads=True)

    def __init__(self, store: Store, settings: dict[str, Any]) -> None:
        self._store = store
        self._name: str = settings["name"]
        self._spec = LmStates.model_validate(settings["spec"])

    def setup(self, cpus: int) -> None:
        """See `Job.setup`; the model is loaded by the first unit that needs it."""
        self._cpus = cpus
        self._last: _Documents | None = None

    def run(self, unit: Unit) -> list[Artifact]:
        """See `Job.run`; writes `data.parquet` and the keys once more as `data.npy`, float16.

        Raises:
            ModelError: the model is no causal language model, has no such keys, or reads fewer tokens than a window
                has.
            NotFiniteError: a key holds NaN or infinity.
        """
        started, spent = time.perf_counter(), time.process_time()
        documents = self._documents(unit)
        prefix = np.array(Artifact.model_validate(unit.payload["tokens"]).facts["prefix"], np.int32)
        here = documents.windows(self._spec, len(prefix), slice(*unit.payload["windows"]))
        former = self._taken(unit.payload["former"])
        read = former or self._read(documents, here, prefix)
        done = time.perf_counter()
        table = lm_states(self._name, read.keys.shape[1])
        attempt = self._store.files.attempt()
        batch = _batch(table.schema, documents, here, read)
        rows = parquet.write(attempt / "data.parquet", table, _slices(batch, table.row_group_rows))
        np.save(attempt / "data.npy", read.keys, allow_pickle=False)
        facts = {
            "reading": unit.payload["reading"],
            "dimension": read.keys.shape[1],
            "vocabulary": read.vocabulary,
            "read_tokens": 0 if former else int((here.stop - here.start).sum() + len(prefix) * len(here)),
            "seconds": time.perf_counter() - started,
            "write_seconds": time.perf_counter() - done,
            "cpu_seconds": time.process_time() - spent,
        }
        return [self._store.publish(attempt, unit.folder, unit.label, unit.fingerprint, rows=rows, facts=facts)]

    def _documents(self, unit: Unit) -> _Documents:
        """The documents of a unit's partition, kept for the next unit of the same."""
        same = ("tokens", "chunks")
        if self._last is None or any(self._last.unit.payload[name] != unit.payload[name] for name in same):
            self._last = _Documents(self._store, unit)
        return self._last

    @cached_property
    def _loaded(self) -> tuple[LanguageModel, StateReader]:
        """The model, and what reads with it."""
        model = LanguageModel(self._spec.model, threads=self._cpus)
        if model.is_encoder_decoder:
            msg = f"model {model.name!r} has an encoder; a next-token datastore takes a causal language model"
            raise ModelError(msg)
        limit = getattr(model.model.config.get_text_config(), "max_position_embeddings", None)
        if limit is not None and limit < self._spec.window:
            msg = (
                f"lm.{self._name}: model {model.name!r} reads {limit} tokens at most, but `window` is "
                f"{self._spec.window}; give {limit} or fewer"
            )
            raise ModelError(msg)
        return model, StateReader(model.model, self._spec.key, surprisal=self._spec.surprisal)

    def _taken(self, payload: dict[str, Any] | None) -> _Read | None:
        """What a former partition holds; None without one, or where it is damaged."""
        if payload is None:
            return None
        former = Artifact.model_validate(payload)
        try:
            files = {ending: self._store.files.check(former.file(ending)) for ending in (".npy", ".parquet")}
        except CorruptFileError:
            return None
        keys = np.load(files[".npy"], allow_pickle=False)
        rows = parquet.read(files[".parquet"], columns=["surprisal"])
        surprisal = rows["surprisal"].to_numpy() if self._spec.surprisal else None
        return _Read(keys, surprisal, former.facts["vocabulary"])

    def _read(self, documents: _Documents, here: Windows, prefix: NDArray[np.int32]) -> _Read:
        """The keys and surprisals of all predicted tokens, in the order of the windows.

        Raises:
            NotFiniteError: the model gives NaN or infinity, or numbers beyond half precision.
        """
        model, reader = self._loaded
        tokens = [np.concatenate([prefix, ids]) for ids in documents.texts(here)]
        place = np.concatenate([[0], np.cumsum(here.predicted)])
        keys = np.empty((place[-1], reader.dimension), np.float16)
        surprisal = np.empty(place[-1], np.float32) if self._spec.surprisal else None
        for number, states in reader.read(tokens, here.predicted):
            span = slice(place[number], place[number + 1])
            with np.errstate(over="ignore"):
                keys[span] = states.keys
            self._check(keys[span])
            if surprisal is not None:
                surprisal[span] = states.surprisal
        return _Read(keys, surprisal, model.size)

    def _check(self, keys: NDArray[np.float16]) -> None:
        bad = int((~np.isfinite(keys)).any(axis=1).sum())
        if bad:
            msg = (
                f"lm.{self._name}: model {self._spec.model!r} gives NaN, infinity or numbers above 65,504 in {bad} of "
                f"{len(keys)} keys; take another `key`: final_hidden is normalised"
            )
            raise NotFiniteError(msg)


class _Read(NamedTuple):
    """What a model had in mind in front of each token: `surprisal` is None where it is not wanted."""

    keys: NDArray[np.float16]
    surprisal: NDArray[np.float32] | None
    vocabulary: int


def _batch(schema: pa.Schema, documents: _Documents, here: Windows, read: _Read) -> pa.RecordBatch:
    """The rows of the table, in the order of the windows."""
    sizes = here.predicted
    text = np.repeat(here.text, sizes)
    first = np.repeat(np.cumsum(sizes) - sizes, sizes)
    offset = np.arange(len(text)) - first + np.repeat(here.first, sizes)
    doc_ids = documents.ids[text]
    keys = np.ascontiguousarray(read.keys)
    return pa.record_batch(
        [
            token_positions(doc_ids, offset),
            doc_ids,
            documents.chunks_of(text, offset),
            offset.astype(np.int32),
            pa.Array.from_buffers(schema.field("key").type, len(keys), [None, pa.py_buffer(keys)]),
            documents.values(text, offset),
            pa.nulls(len(keys), pa.float32()) if read.surprisal is None else read.surprisal,
        ],
        schema=schema,
    )


class _Documents:
    """The documents of a unit's partition: their tokens, and the chunks that these belong to."""

    def __init__(self, store: Store, unit: Unit) -> None:
        tokens, chunks = (
            parquet.read(
                store.files.check(Artifact.model_validate(unit.payload[name]).file(".parquet")), columns=columns
            )
            for name, columns in (("tokens", None), ("chunks", ["chunk_id", "doc_id", "end"]))
        )
        self.unit = unit
        self.ids: NDArray[np.int64] = tokens["doc_id"].to_numpy()
        lists = tokens["tokens"].combine_chunks()
        self._tokens: NDArray[np.int32] = lists.flatten().to_numpy()
        self._offsets = lists.offsets.to_numpy().astype(np.int64)
        starts = tokens["starts"].combine_chunks().flatten().to_numpy().astype(np.int64)
        order = np.argsort(self.ids)
        document = order[np.searchsorted(self.ids, chunks["doc_id"].to_numpy(), sorter=order)]
        self._chunk_ids: NDArray[np.int64] = chunks["chunk_id"].to_numpy()
        self._map = ChunkMap.of(np.split(starts, self._offsets[1:-1]), document, chunks["end"].to_numpy())

    def windows(self, spec: LmStates, prefix: int, which: slice) -> Windows:
        """Some of the windows over the documents."""
        planned = windows(np.diff(self._offsets), window=spec.window, overlap=spec.overlap, prefix=prefix)
        return Windows(planned.text[which], planned.start[which], planned.first[which], planned.stop[which])

    def texts(self, here: Windows) -> list[NDArray[np.int32]]:
        """The tokens of each window."""
        before = self._offsets[here.text]
        bounds = zip((before + here.start).tolist(), (before + here.stop).tolist(), strict=True)
        return [self._tokens[start:stop] for start, stop in bounds]

    def values(self, text: NDArray[np.int64], offset: NDArray[np.int64]) -> NDArray[np.int32]:
        """Tokens by their documents and numbers in them."""
        found: NDArray[np.int32] = self._tokens[self._offsets[text] + offset]
        return found

    def chunks_of(self, text: NDArray[np.int64], offset: NDArray[np.int64]) -> NDArray[np.int64]:
        """The ids of the chunks of tokens: the first one that covers a token's first character."""
        return self._chunk_ids[self._map.find(text, offset)]


def _slices(batch: pa.RecordBatch, rows: int) -> Iterator[pa.RecordBatch]:
    for start in range(0, batch.num_rows, rows):
        yield batch.slice(start, rows)
