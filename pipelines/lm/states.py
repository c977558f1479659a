"""Reading documents with a language model: its tokens, and its states, one partition for each piece of windows."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Annotated, ClassVar, NamedTuple

import numpy as np
import pyarrow as pa
from typing_extensions import override

from mnemodex.indexers.arrays import find_ids
from mnemodex.indexers.lm.reader import StateReader, Windows, windows
from mnemodex.indexers.models.language_model import LanguageModel
from mnemodex.indexers.ngram.chunk_map import ChunkMap
from mnemodex.pipelines.ops.base import Op
from mnemodex.pipelines.stages.lm_tokens import LmTokenStage, TokenStats
from mnemodex.pipelines.vectors.encode import MODEL
from mnemodex.schemas.errors import ModelError, NotFiniteError
from mnemodex.schemas.ids import token_positions
from mnemodex.schemas.manifest import Stats
from mnemodex.schemas.sections import LmStates
from mnemodex.schemas.spec import RunOnly, Spec
from mnemodex.schemas.steps import Pieces, Read, Step
from mnemodex.schemas.store import parquet
from mnemodex.schemas.store.columns import numbers
from mnemodex.schemas.tables import CHUNKS, DOCUMENTS, TableKey, spec_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mnemodex.indexers.arrays import Bools, Float16s, Float32s, Int32s, Int64s
    from mnemodex.indexers.base import InputPartition
    from mnemodex.pipelines.ops.checkpoint import Checkpoint
    from mnemodex.pipelines.ops.inputs import Inputs
    from mnemodex.pipelines.ops.output import Output
    from mnemodex.pipelines.plan import PlanContext


class StateSettings(Spec):
    """A language model, and its name in messages."""

    lm: LmStates
    name: Annotated[str, RunOnly()]


def open_reader(spec: LmStates, *, threads: int | None = None) -> tuple[LanguageModel, StateReader]:
    """Return the model of an entry of the recipe's section `lm`, and what reads with it.

    Raises:
        ModelError: there is no such model, it has an encoder, or it reads fewer tokens than a window has.
    """
    model = LanguageModel(spec.model, threads=threads)
    called = f"model {model.name!r}"
    if model.is_encoder_decoder:
        raise ModelError(f"{called} has an encoder; a next-token datastore takes a causal language model")
    limit = getattr(model.model.config.get_text_config(), "max_position_embeddings", None)
    if limit is not None and limit < spec.window:
        raise ModelError(f"{called} reads {limit} tokens at most, but `window` is {spec.window}; give {limit} or fewer")
    return model, StateReader(model.model, spec.key, surprisal=spec.surprisal)


class StateStats(Stats):
    """The number of tokens that the model gives probabilities to."""

    vocabulary: int = 0


class StatesOp(Op):
    """Runs a causal language model over windows of documents, without its output layer unless surprisals are wanted.

    The inputs are a partition of tokens, of which the unit's piece is read, and the chunks of the same label. States of
    the current snapshot (also where the chunks were others) and of a former try are taken over. Writes `data.parquet`
    and the keys once more as `data.npy`, float16.
    """

    Settings: ClassVar[type[Spec]] = StateSettings
    seconds_per_megabyte = 1000.0
    settings: StateSettings
    _partition: tuple[tuple[str, ...], Documents, ChunkIds] | None = None
    """The documents and chunks of the last unit's partition, kept for the next unit of the same, and their places."""

    @override
    def run(self, inputs: Inputs, output: Output) -> Stats:
        documents, chunks = self.partition(inputs)
        piece = documents.windows(self.settings.lm, slice(*(inputs.unit.piece or (0, 0))))
        states, known = self.states(inputs, output, documents, piece)
        self._write(output, documents, chunks, piece, states)
        reused = int(piece.predicted[known].sum())
        return StateStats(reused=reused, dimension=states.keys.shape[1], vocabulary=states.vocabulary)

    def partition(self, inputs: Inputs) -> tuple[Documents, ChunkIds]:
        """Return the documents and the chunks of a unit's partition: the first input, and the last."""
        last = len(inputs.unit.inputs) - 1
        places = *inputs.unit.inputs[0], *inputs.unit.inputs[last]
        if self._partition is None or self._partition[0] != places:
            documents = Documents(inputs.partition(0))
            self._partition = places, documents, ChunkIds(documents, inputs.partition(last))
        return self._partition[1:]

    def states(self, inputs: Inputs, output: Output, documents: Documents, piece: Windows) -> tuple[States, Bools]:
        """Return the states of all predicted tokens, in the order of the windows, and which windows were not read."""
        positions = documents.positions(piece)
        states, known = _take_over(inputs, positions, piece)
        if states is None or not known.all():
            states = self._read(documents, piece, states, known, output)
        return states, known

    def _write(self, output: Output, documents: Documents, chunks: ChunkIds, piece: Windows, states: States) -> None:
        text, offset = documents.locate(piece)
        table = spec_of(TableKey("lm_states", "any")).sized(states.keys.shape[1])
        keys = pa.Array.from_buffers(table.schema.field("key").type, len(text), [None, pa.py_buffer(states.keys)])
        columns = [
            documents.positions(piece),
            documents.ids[text],
            chunks.find(text, offset),
            offset.astype(np.int32),
            keys,
            documents.tokens[documents.offsets[text] + offset],
            states.surprisal if self.settings.lm.surprisal else pa.nulls(len(text), pa.float32()),
        ]
        output.write(table, pa.table(columns, schema=table.schema).to_batches(max_chunksize=table.row_group_rows))
        np.save(output.folder / "data.npy", states.keys, allow_pickle=False)

    @cached_property
    def _loaded(self) -> tuple[LanguageModel, StateReader]:
        """The model, and what reads with it; loaded by the first unit that needs it."""
        return open_reader(self.settings.lm, threads=self.work.cpus)

    def _read(
        self, documents: Documents, piece: Windows, states: States | None, known: Bools, output: Output
    ) -> States:
        """Return the states of all predicted tokens, in the order of the windows; those of known windows are given."""
        spec = self.settings.lm
        model, reader = self._loaded
        stops = np.cumsum(piece.predicted)
        starts = stops - piece.predicted
        if states is None:
            states = States.empty(int(piece.predicted.sum()), reader.dimension, model.size)
        missing = np.flatnonzero(~known)
        done = _resume(output.checkpoint, states, starts, missing)
        tokens = documents.read_by(piece)
        count = int(piece.predicted[known].sum() + piece.predicted[missing][done].sum())
        for number, window_states in reader.read([tokens[n] for n in missing], piece.predicted[missing], done=done):
            window = int(missing[number])
            rows = slice(starts[window], stops[window])
            states.keys[rows] = window_states.keys
            if window_states.surprisal is not None:
                states.surprisal[rows] = window_states.surprisal
            if np.isfinite(window_states.keys).all():
                output.checkpoint.add(_pack(window, window_states.keys, window_states.surprisal))
            count += len(window_states.keys)
            output.progress(count)
        if bad := int((~np.isfinite(states.keys)).any(axis=1).sum()):
            raise NotFiniteError(
                f"lm.{self.settings.name}: model {spec.model!r} gives NaN, infinity or numbers above 65,504 in {bad} "
                f"of {len(states.keys)} keys; take another `key`: final_hidden is normalised"
            )
        return states


class Documents:
    """Documents of one partition of `lm_tokens`.

    Attributes:
        prefix: tokens that come before every window, int32.
        ids: of the documents, int64 of shape (documents,).
        tokens: of all documents, int32 of shape (tokens,).
        starts: the character of its document at which each token begins, int64 of shape (tokens,).
        offsets: where a document's tokens begin among all, and their number; int64 of shape (documents + 1,).
    """

    def __init__(self, tokens: InputPartition) -> None:
        self.prefix: Int32s = np.array(tokens.stats.of(TokenStats).prefix, np.int32)
        rows = parquet.read(tokens.files["parquet"])
        self.ids: Int64s = numbers(rows["doc_id"])
        lists = rows["tokens"].combine_chunks()
        self.tokens: Int32s = numbers(lists.flatten())
        self.offsets: Int64s = numbers(lists.offsets).astype(np.int64)
        self.starts: Int64s = numbers(rows["starts"].combine_chunks().flatten()).astype(np.int64)

    def windows(self, spec: LmStates, piece: slice) -> Windows:
        """Return the windows of a piece."""
        planned = windows(np.diff(self.offsets), window=spec.window, overlap=spec.overlap, prefix=len(self.prefix))
        return Windows(planned.text[piece], planned.start[piece], planned.first[piece], planned.stop[piece])

    def locate(self, piece: Windows) -> tuple[Int64s, Int64s]:
        """Return document and number in it of every token that is predicted, in the order of the windows."""
        sizes = piece.predicted
        text = np.repeat(piece.text, sizes)
        return text, np.arange(len(text)) + np.repeat(piece.first - np.cumsum(sizes) + sizes, sizes)

    def positions(self, piece: Windows) -> Int64s:
        """Return the positions of every token that is predicted, in the order of the windows."""
        text, offset = self.locate(piece)
        return token_positions(self.ids[text], offset)

    def read_by(self, piece: Windows) -> list[Int32s]:
        """Return the tokens of each window, the prefix first."""
        before = self.offsets[piece.text]
        bounds = zip((before + piece.start).tolist(), (before + piece.stop).tolist(), strict=True)
        return [np.concatenate([self.prefix, self.tokens[start:stop]]) for start, stop in bounds]


class ChunkIds:
    """The chunks of the documents of a partition, which is the one of chunks of the same label."""

    def __init__(self, documents: Documents, chunks: InputPartition) -> None:
        cut = parquet.read(chunks.files["parquet"], columns=["chunk_id", "doc_id", "end"])
        document = find_ids(documents.ids, numbers(cut["doc_id"]))
        starts = np.split(documents.starts, documents.offsets[1:-1])
        self._ids: Int64s = numbers(cut["chunk_id"])
        self._map = ChunkMap.of(starts, document, numbers(cut["end"]))

    def find(self, text: Int64s, offset: Int64s) -> Int64s:
        """Return the ids of the chunks of tokens, given by the number of their document and theirs in it."""
        ids: Int64s = self._ids[self._map.find(text, offset)]
        return ids


class States(NamedTuple):
    """The states of all predicted tokens of a piece; surprisals have no meaning where the recipe does without."""

    keys: Float16s
    surprisal: Float32s
    vocabulary: int

    @classmethod
    def empty(cls, rows: int, dimension: int, vocabulary: int) -> States:
        """Return states to be filled in."""
        return cls(np.empty((rows, dimension), np.float16), np.empty(rows, np.float32), vocabulary)


def _take_over(inputs: Inputs, positions: Int64s, piece: Windows) -> tuple[States | None, Bools]:
    """Return the states of the current snapshot, None without any, and the windows of which all are known."""
    former = inputs.former
    stats = former.stats().of(StateStats)
    if not former or not stats.dimension or not len(piece):
        return None, np.zeros(len(piece), np.bool_)
    states = States.empty(len(positions), stats.dimension, stats.vocabulary)
    matches = former.find(positions)
    filled = former.fill(matches, states.keys) & former.values(matches, "surprisal", states.surprisal)
    return states, np.logical_and.reduceat(filled, np.cumsum(piece.predicted) - piece.predicted)


def _pack(window: int, keys: Float16s, surprisal: Float32s | None) -> pa.RecordBatch:
    """Return the states of a window for a checkpoint."""
    return pa.record_batch(
        {
            "window": pa.array([window]),
            "keys": pa.array([keys.tobytes()], pa.large_binary()),
            "surprisal": pa.array([surprisal], pa.list_(pa.float32())),
        }
    )


def _resume(checkpoint: Checkpoint, states: States, starts: Int64s, missing: Int64s) -> Bools:
    """Fill in the states of a former try of the unit; return which of the missing windows these are."""
    done = np.zeros(len(missing), np.bool_)
    places = {window: place for place, window in enumerate(missing.tolist())}
    for batch in checkpoint.load():
        for window, data, surprisal in zip(batch["window"].to_pylist(), batch["keys"], batch["surprisal"], strict=True):
            if window not in places:
                continue
            keys = np.frombuffer(data.as_buffer(), np.float16).reshape(-1, states.keys.shape[1])
            rows = slice(starts[window], starts[window] + len(keys))
            states.keys[rows] = keys
            if surprisal.is_valid:
                states.surprisal[rows] = surprisal.values.to_numpy()
            done[places[window]] = True
    return done


def token_step(context: PlanContext, name: str) -> Step:
    """Tokenise documents, for which no GPU is needed."""
    spec, tokens = context.recipe.lm[name], TableKey("lm_tokens", name)
    stage = "mnemodex.pipelines.stages.lm_tokens:LmTokenStage"
    identity = spec.identity(step="lm_tokens", digest=context.digest)
    reads = (Read(DOCUMENTS, columns=LmTokenStage.columns),)
    return Step(tokens.label, stage, reads, (tokens,), spec, identity=identity)


def state_steps(context: PlanContext, name: str) -> Iterator[Step]:
    """Tokenise documents and read them in pieces, so that few documents use all cores."""
    tokens, states = TableKey("lm_tokens", name), TableKey("lm_states", name)
    yield token_step(context, name)
    settings = StateSettings(lm=context.recipe.lm[name], name=name)
    yield Step(
        states.label,
        "mnemodex.pipelines.lm.states:StatesOp",
        (Read(tokens, Pieces()), Read(CHUNKS, columns=("chunk_id", "doc_id", "end"))),
        (states,),
        settings,
        identity=settings.identity(step="lm_states", digest=context.digest),
        resources=MODEL,
        reuse="position",
    )
