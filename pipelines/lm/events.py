"""Documents become events, by what a language model has read of them."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from typing_extensions import override

from mnemodex.indexers.arrays import find_ids
from mnemodex.indexers.lm.events import cut_events, find_surprising, round_states
from mnemodex.indexers.models.tokenizers import tokenizer
from mnemodex.indexers.scripts import word_pattern
from mnemodex.pipelines.chunkers.units import EMPTY, trimmed
from mnemodex.pipelines.lm.readings import Readings, reading_settings, reading_steps, readings_of
from mnemodex.pipelines.ops.base import Finished, StageOp, Work
from mnemodex.pipelines.stages.chunk import ChunkSettings, ChunkStage
from mnemodex.schemas.errors import StageFailedError
from mnemodex.schemas.event_sections import EventChunks
from mnemodex.schemas.steps import Pieced, Read, Step
from mnemodex.schemas.store.columns import numbers
from mnemodex.schemas.tables import CHUNKS, DOCUMENTS, TableKey

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa

    from mnemodex.indexers.arrays import Float16s, Float32s, Int64s, Uint8s
    from mnemodex.pipelines.ops.inputs import Inputs
    from mnemodex.pipelines.ops.output import Output
    from mnemodex.pipelines.plan import PlanContext
    from mnemodex.schemas.manifest import Stats


class EventStage(ChunkStage):
    """Cuts documents where the model whose `readings` it has was surprised."""

    readings: Readings

    @override
    def setup(self, work: Work) -> None:
        self._tokenizer = tokenizer(self.settings.counted_by)

    @override
    def cut(self, batch: pa.RecordBatch) -> list[Int64s]:
        texts = batch["text"].to_pylist()
        documents = find_ids(self.readings.documents.ids, numbers(batch["doc_id"])).tolist()
        return [self._events(text, document) for text, document in zip(texts, documents, strict=True)]

    def _events(self, text: str, document: int) -> Int64s:
        chunker = self.settings.chunker
        if not isinstance(chunker, EventChunks):
            raise StageFailedError(f"internal error: events are cut by {chunker!r}; please report it")
        read = self.readings.documents
        starts = read.starts[read.offsets[document] : read.offsets[document + 1]]
        surprisal, keys = self.readings.of(document)
        return cut_text(text, starts, surprisal, keys, chunker)


def cut_text(text: str, starts: Int64s, surprisal: Float32s, keys: Float16s, chunker: EventChunks) -> Int64s:
    """Cut a text into events; return their spans of characters, int64 of shape (events, 2).

    The spans hold every character but the white space between them. An empty text gives the span (0, 0), and one of
    white space none.

    Args:
        text: the text.
        starts: the character at which each token begins, int64 of shape (tokens,).
        surprisal: of every token, or of all but the first; float32 of shape (tokens,) or (tokens - 1,).
        keys: the model's states in front of these, float16, of shape (tokens, dimension) or (tokens - 1, dimension).
        chunker: settings.
    """
    if not text:
        return EMPTY.copy()
    if len(starts) < 2 * chunker.min_size:
        return trimmed(text, [(0, len(text))])
    # The state behind a token is the one in front of the next; there is none behind the last.
    behind = keys[1 - len(starts) :]
    states = round_states(np.concatenate([behind, behind[-1:]]))
    nats = np.concatenate([[np.float32(0)], surprisal[1 - len(starts) :]])
    surprising = find_surprising(nats, window=chunker.window, gamma=chunker.gamma)
    fitness = rate_begins(text, starts)
    # What is surprising within a word is the word.
    begins = np.maximum.accumulate(np.where(fitness == 2, np.arange(len(starts)), 0))
    words = np.zeros_like(surprising)
    words[begins[surprising]] = True
    conductance = chunker.refine == "conductance"
    first = cut_events(states, words, fitness, chunker.min_size, chunker.max_size, conductance)
    return trimmed(text, pairwise([0, *starts[first[1:]].tolist(), len(text)]))


def rate_begins(text: str, starts: Int64s) -> Uint8s:
    """Return how well each token of a text begins a chunk, uint8 of shape (tokens,).

    2 where it begins neither within a word of a script that puts spaces between words nor within a character, 1 within
    a word, and 0 where a token before it is of the same character.
    """
    words = [word.span() for word in word_pattern().finditer(text) if word["run"] is None]
    runs = np.array(words, np.int64).reshape(-1, 2)
    run = np.searchsorted(runs[:, 0], starts, side="left") - 1
    inside = (run >= 0) & (starts < np.append(runs[:, 1], 0)[run])
    new = starts > np.maximum.accumulate(np.concatenate([[-1], starts[:-1]]))
    return np.where(new, np.where(inside, 1, 2), 0).astype(np.uint8)


class EventOp(StageOp):
    """Cuts a partition of documents into events.

    The inputs are the documents, their tokens, and what a language model has read of all pieces of these.
    """

    Settings = ChunkSettings
    seconds_per_megabyte = 3.0

    def __init__(self, settings: ChunkSettings, work: Work) -> None:
        self._events = EventStage(settings)
        super().__init__(self._events, work)

    @override
    def run(self, inputs: Inputs, output: Output) -> Stats:
        self._events.readings = Readings(inputs.partition(1), inputs.partitions(2))
        return super().run(inputs, output)

    @override
    @classmethod
    def complete(cls, finished: Finished) -> list[str]:
        return ChunkStage.complete(finished)


def event_steps(context: PlanContext) -> Iterator[Step]:
    """Read documents with a language model, and cut them where it is surprised."""
    recipe = context.recipe
    settings = ChunkSettings(chunker=recipe.chunks, id_salt=recipe.id_salt)
    name = str(getattr(recipe.chunks, "lm", None))
    yield from reading_steps(context, name)
    reading = reading_settings(context, name).identity(step="lm_states", digest=context.digest)
    reads = (
        Read(DOCUMENTS, columns=EventStage.columns),
        Read(TableKey("lm_tokens", name)),
        Read(readings_of(name), Pieced()),
    )
    yield Step(
        "chunks",
        "mnemodex.pipelines.lm.events:EventOp",
        reads,
        (CHUNKS,),
        settings,
        identity=[settings.identity(digest=context.digest), reading],
        reuse="doc_id",
    )
