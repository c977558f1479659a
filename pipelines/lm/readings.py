"""Reading documents before they are cut: a language model's states of every token, of whatever chunk it will be."""

from __future__ import annotations

from bisect import bisect
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from typing_extensions import override

from mnemodex.pipelines.lm.states import Documents, States, StateSettings, StatesOp, StateStats, token_step
from mnemodex.pipelines.vectors.encode import MODEL
from mnemodex.schemas.sections import LmStates
from mnemodex.schemas.spec import Spec
from mnemodex.schemas.steps import Pieced, Pieces, Read, Step
from mnemodex.schemas.store import parquet
from mnemodex.schemas.table import row_schema
from mnemodex.schemas.tables import CHUNKS, TableKey, TableSpec

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mnemodex.indexers.arrays import Bools, Float16s, Float32s
    from mnemodex.indexers.base import InputPartition
    from mnemodex.indexers.lm.reader import Windows
    from mnemodex.pipelines.ops.inputs import Inputs
    from mnemodex.pipelines.ops.output import Output
    from mnemodex.pipelines.plan import PlanContext
    from mnemodex.schemas.manifest import Stats


_READINGS = TableSpec(row_schema(position=pa.int64(), surprisal=pa.float32()))


def readings_of(name: str) -> TableKey:
    """Return the key of what a language model has read before documents are cut."""
    return TableKey("lm_readings", name, draft=True)


class ReadingsOp(StatesOp):
    """Runs a causal language model over windows of documents that have no chunks yet, for keys and surprisals.

    The input is a partition of tokens, of which the unit's piece is read. Writes positions and surprisals as
    `data.parquet`, and the keys as `data.npy`, float16, in the same order.
    """

    _tokens: tuple[tuple[str, ...], Documents] | None = None
    """The documents of the last unit's partition, kept for the next unit of the same, and their places."""

    @override
    def run(self, inputs: Inputs, output: Output) -> Stats:
        if self._tokens is None or self._tokens[0] != inputs.unit.inputs[0]:
            self._tokens = inputs.unit.inputs[0], Documents(inputs.partition())
        documents = self._tokens[1]
        piece = documents.windows(self.settings.lm, slice(*(inputs.unit.piece or (0, 0))))
        states, known = self.states(inputs, output, documents, piece)
        columns = [documents.positions(piece), states.surprisal]
        output.write(_READINGS, pa.table(columns, schema=_READINGS.schema))
        np.save(output.folder / "data.npy", states.keys, allow_pickle=False)
        reused = int(piece.predicted[known].sum())
        return StateStats(reused=reused, dimension=states.keys.shape[1], vocabulary=states.vocabulary)


class ReadStateSettings(Spec):
    """How a language model has read documents."""

    lm: LmStates


class ReadStatesOp(StatesOp):
    """Writes states that a model gave before documents were cut, with the chunks they are of.

    The inputs are a partition of tokens, what was read of the unit's piece, and the chunks of the same label.
    """

    Settings = ReadStateSettings
    seconds_per_megabyte = 5.0

    @override
    def states(self, inputs: Inputs, output: Output, documents: Documents, piece: Windows) -> tuple[States, Bools]:
        part = inputs.partition(1)
        keys = np.load(part.files["npy"], mmap_mode="r", allow_pickle=False)
        surprisal: Float32s = parquet.column(part.files["parquet"], "surprisal")
        vocabulary = part.stats.of(StateStats).vocabulary
        return States(keys, surprisal, vocabulary), np.zeros(len(piece), np.bool_)


class Readings:
    """What a language model has read of a partition of documents, given by its tokens and all of its pieces."""

    def __init__(self, tokens: InputPartition, pieces: Sequence[InputPartition]) -> None:
        self.documents = Documents(tokens)
        # The first token of a text is only predicted where something precedes it.
        opening = 0 if len(self.documents.prefix) else 1
        predicted = np.maximum(np.diff(self.documents.offsets) - opening, 0)
        self._rows = np.concatenate([[0], np.cumsum(predicted)]).tolist()
        self._keys: list[Float16s] = [np.load(part.files["npy"], mmap_mode="r", allow_pickle=False) for part in pieces]
        self._starts = np.cumsum([0, *(len(keys) for keys in self._keys)]).tolist()
        surprisals = [parquet.column(part.files["parquet"], "surprisal") for part in pieces]
        self._surprisal: Float32s = np.concatenate([np.zeros(0, np.float32), *surprisals])

    def of(self, document: int) -> tuple[Float32s, Float16s]:
        """Return what a model gave of the predicted tokens of a document, given by its number.

        Returns:
            Surprisals, float32 of shape (tokens,), and the keys in front of them, float16 of shape (tokens, dimension).
        """
        first, stop = self._rows[document], self._rows[document + 1]
        begin, end = bisect(self._starts, first) - 1, bisect(self._starts, stop - 1)
        parts = [
            keys[max(0, first - start) : stop - start]
            for keys, start in zip(self._keys[begin:end], self._starts[begin:end], strict=True)
        ]
        return self._surprisal[first:stop], np.concatenate(parts) if parts else np.zeros((0, 0), np.float16)


def reading_steps(context: PlanContext, name: str) -> Iterator[Step]:
    """Tokenise documents and read them in pieces, before they are cut."""
    yield token_step(context, name)
    settings = reading_settings(context, name)
    readings = readings_of(name)
    yield Step(
        readings.label,
        "mnemodex.pipelines.lm.readings:ReadingsOp",
        (Read(TableKey("lm_tokens", name), Pieces()),),
        (readings,),
        settings,
        identity=settings.identity(step="lm_states", digest=context.digest),
        resources=MODEL,
        reuse="position",
    )


def reading_settings(context: PlanContext, name: str) -> StateSettings:
    """Return how documents are read that are to be cut into events, which takes surprisals."""
    return StateSettings(lm=context.recipe.lm[name].model_copy(update={"surprisal": True}), name=name)


def read_state_steps(context: PlanContext, name: str) -> Iterator[Step]:
    """Write states that were read before documents were cut."""
    settings = ReadStateSettings(lm=context.recipe.lm[name])
    tokens, states = TableKey("lm_tokens", name), TableKey("lm_states", name)
    yield Step(
        states.label,
        "mnemodex.pipelines.lm.readings:ReadStatesOp",
        (
            Read(tokens, Pieces()),
            Read(readings_of(name), Pieced()),
            Read(CHUNKS, columns=("chunk_id", "doc_id", "end")),
        ),
        (states,),
        settings,
        identity=settings.identity(step="lm_states", digest=context.digest),
    )
