"""Encoding: chunks, facts, names of entities and questions become vectors."""

from __future__ import annotations

from dataclasses import asdict
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import pyarrow as pa
from typing_extensions import override

from mnemodex.indexers.arrays import read_arrow
from mnemodex.indexers.encoders import EncodeStats, TextEncoder, Window, open_encoder
from mnemodex.indexers.text import passages
from mnemodex.pipelines.ops.base import Finished, Op
from mnemodex.schemas.errors import NotFiniteError
from mnemodex.schemas.ids import hash_text
from mnemodex.schemas.kinds import ENCODERS, KINDS, AnyEncoder
from mnemodex.schemas.manifest import Stats
from mnemodex.schemas.sections import ServedEmbedding
from mnemodex.schemas.spec import Ref, RunOnly, Spec
from mnemodex.schemas.steps import Files, Read, Resources, Step
from mnemodex.schemas.store import parquet
from mnemodex.schemas.store.columns import numbers, to_column, to_table
from mnemodex.schemas.tables import FACT_TEXTS, NAME_TEXTS, QUESTION_TEXTS, TableKey, spec_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mnemodex.indexers.arrays import Bools, Float32s, Int64s
    from mnemodex.pipelines.ops.checkpoint import Checkpoint
    from mnemodex.pipelines.ops.inputs import Inputs
    from mnemodex.pipelines.ops.output import Output
    from mnemodex.pipelines.plan import PlanContext
    from mnemodex.schemas.recipe import Recipe
    from mnemodex.schemas.store.store import Store

Of = Literal["chunks", "facts", "entities", "questions", "question_answers"]

COLUMNS: dict[Of, tuple[str, ...]] = {
    "chunks": ("chunk_id", "title", "text"),
    "facts": ("fact_id", "subject", "predicate", "object"),
    "entities": ("entity_id", "normalized"),
    "questions": ("question_id", "question"),
    "question_answers": ("question_id", "with_answers"),
}
"""The id of each table, and the columns whose words are encoded."""
_TEXTS: dict[Of, TableKey] = {
    "facts": FACT_TEXTS,
    "entities": NAME_TEXTS,
    "questions": QUESTION_TEXTS,
    "question_answers": QUESTION_TEXTS,
}
"""The segments of texts that are encoded of all but chunks."""
_READ_BY: dict[Of, str] = {"chunks": "embeddings", "questions": "queries", "question_answers": "queries"}
"""What of an encoder's settings decides the vectors: questions are encoded as they will be asked."""
_WINDOW, _TEXT_WINDOW = 2048, 4096
"""Chunks, or shorter texts, that are sorted by length together."""
_TRUNCATED = ".truncated"
"""The ending of the file of rows whose texts were cut, as NumPy writes numbers; it is there where there are any."""
_UNKNOWN_SHARE = 0.1
"""Characters in unknown tokens, of all that were read, from which on a build warns."""
MODEL = Resources(gpus=1, threads=True)
"""Of a step that runs a model: a whole GPU where there is one, else all CPUs."""


class EncodeSettings(Spec):
    """An encoder, the table that it encodes, and the embedding's name in messages."""

    encoder: AnyEncoder
    of: Of
    name: Annotated[str, RunOnly()] = ""


class EncodeOutcome(Stats):
    """Texts that the model read, their tokens without and with padding, and rows cut at its limit, `max_length`.

    Rows that were cut include those that are taken over. `unknown` of the characters are in words that the
    model's vocabulary does not have.
    """

    texts: int = 0
    tokens: int = 0
    padded: int = 0
    characters: int = 0
    unknown: int = 0
    truncated: int = 0
    max_length: int | None = None


class EncodeOp(Op):
    """Encodes one partition; vectors of the current snapshot and of a former try are taken over."""

    Settings = EncodeSettings
    seconds_per_megabyte = 90.0
    settings: EncodeSettings

    @cached_property
    def _encoder(self) -> TextEncoder:
        """The encoder; its model is loaded by the first unit that has a row of which no vector is known."""
        return open_encoder(self.settings.encoder, threads=self.work.cpus, objects=self.work.objects)

    @override
    def run(self, inputs: Inputs, output: Output) -> Stats:
        of, former = self.settings.of, inputs.former
        rows = _Rows(inputs, of)
        ids = rows.ids()
        text_ids = self._text_ids(rows) if of == "question_answers" else None
        known = former.stats().of(EncodeOutcome)
        vectors = np.zeros((len(ids), known.dimension or self._encoder.dimension), np.float32)
        reused, truncated = np.zeros((2, len(ids)), np.bool_)
        if former:
            found = former.find(ids if text_ids is None else text_ids)
            reused, truncated = former.fill(found, vectors), former.named(found, _TRUNCATED)
        spent, limit = EncodeStats(), known.max_length
        if not known.dimension or not reused.all():
            spent, limit = self._encode(rows, vectors, truncated, reused, output), self._encoder.max_length
        self._refuse_infinite(ids, vectors)
        table = spec_of(TableKey("embeddings", "any", "" if of == "chunks" else of)).sized(vectors.shape[1])
        columns = [ids, _to_arrow(vectors), *([text_ids] if text_ids is not None else ())]
        encoded = to_table(columns, table.schema)
        output.write(table, encoded.to_batches(max_chunksize=_window(of)))
        if truncated.any():
            with (output.folder / f"data{_TRUNCATED}").open("wb") as file:
                np.save(file, np.flatnonzero(truncated), allow_pickle=False)
        return EncodeOutcome(
            **asdict(spent),
            truncated=int(truncated.sum()),
            reused=int(reused.sum()),
            dimension=vectors.shape[1],
            max_length=limit,
        )

    @override
    @classmethod
    def probe(cls, settings: EncodeSettings, store: Store) -> list[str]:
        if isinstance(settings.encoder, ServedEmbedding):
            from mnemodex.indexers.encoders.served import ServedEncoder

            served = ServedEncoder(settings.encoder)
            served.ask_once()
            served.close()
        return []

    @override
    @classmethod
    def complete(cls, finished: Finished) -> list[str]:
        stats = [part.stats.of(EncodeOutcome) for part in finished.parts]
        cut = sum(part.truncated for part in stats)
        settings: Any = finished.step.settings
        warnings: list[str] = []
        if settings.of != "chunks":
            return warnings
        if cut:
            warnings.append(
                f"{cut} of {finished.rows} chunks have more than the {stats[0].max_length} tokens that "
                f"{_model(settings)} reads; the rest of them is not embedded"
            )
        share = sum(part.unknown for part in stats) / max(sum(part.characters for part in stats), 1)
        if share >= _UNKNOWN_SHARE:
            warnings.append(
                f"{share:.0%} of the characters of the chunks are unknown to {_model(settings)}, which reads them as "
                "[UNK]; take a model of the documents' language, or a multilingual one"
            )
        return warnings

    def _encode(self, source: _Rows, vectors: Float32s, truncated: Bools, known: Bools, output: Output) -> EncodeStats:
        """Fill in the vectors that are not known, and which texts were cut; return what that took."""
        before = asdict(self._encoder.stats)
        done = _resume(output.checkpoint, vectors, truncated)
        rows: list[Int64s] = []

        def windows() -> Iterator[Window]:
            start = 0
            for batch in source.batches():
                unknown = np.flatnonzero(~known[start : start + batch.num_rows])
                rows.append(start + unknown)
                start += batch.num_rows
                yield Window(self._texts(batch.take(to_column(unknown, pa.int64()))), done[rows[-1]])

        count = int(known.sum() + done.sum())
        for part in self._encoder.stream(windows()):
            part_rows = rows[part.window][part.rows]
            vectors[part_rows] = part.vectors
            cut = np.zeros(len(part_rows), np.bool_) if part.truncated is None else part.truncated
            truncated[part_rows] = cut
            if np.isfinite(part.vectors).all():
                columns = [to_column(part_rows, pa.int64()), _to_arrow(part.vectors), to_column(cut, pa.uint8())]
                output.checkpoint.add(pa.RecordBatch.from_arrays(columns, ["row", "vector", "truncated"]))
            count += len(part_rows)
            output.progress(count)
        return EncodeStats(**{key: value - before[key] for key, value in asdict(self._encoder.stats).items()})

    def _text_ids(self, rows: _Rows) -> Int64s:
        """Return hashes of what is encoded, int64."""
        texts = (text for batch in rows.batches() for text in self._texts(batch))
        return np.fromiter(map(hash_text, texts), np.int64)

    def _texts(self, batch: pa.RecordBatch) -> list[str]:
        settings: Any = self.settings.encoder
        if self.settings.of == "chunks":
            texts = passages(batch, with_title=settings.with_title)
        else:
            words = (batch[name].to_pylist() for name in COLUMNS[self.settings.of][1:])
            texts = [" ".join(parts) for parts in zip(*words, strict=True)]
        prefix = settings.query_prefix if _READ_BY.get(self.settings.of) == "queries" else settings.passage_prefix
        return [prefix + text for text in texts] if prefix else texts

    def _refuse_infinite(self, ids: Int64s, vectors: Float32s) -> None:
        bad = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
        if len(bad):
            row = COLUMNS[self.settings.of][0].removesuffix("_id")
            raise NotFiniteError(
                f"embedding {self.settings.name!r}: model {_model(self.settings)!r} gives NaN or infinity for {row} "
                f"{ids[bad[0]]} and {len(bad) - 1} more; try `dtype: float32`, or another model"
            )


def _window(of: Of) -> int:
    return _WINDOW if of == "chunks" else _TEXT_WINDOW


class _Rows:
    """The rows that a unit encodes: a partition of chunks, or a segment of texts, whose files are in Arrow's format."""

    def __init__(self, inputs: Inputs, of: Of) -> None:
        self._columns = list(COLUMNS[of])
        self._window = _window(of)
        self._path = inputs.partition(0).files["parquet"] if of == "chunks" else None
        if of != "chunks":
            self._texts = pa.concat_tables(map(read_arrow, inputs.parts(0)))

    def ids(self) -> Int64s:
        """Return their ids, int64."""
        column = self._columns[0]
        table = self._texts if self._path is None else parquet.read(self._path, columns=[column])
        ids: Int64s = numbers(table[column])
        return ids

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield them in windows of texts."""
        if self._path is not None:
            yield from parquet.read_batches(self._path, columns=self._columns, rows=self._window)
            return
        for start in range(0, len(self._texts), self._window):
            yield from self._texts.slice(start, self._window).combine_chunks().to_batches()


def _model(settings: EncodeSettings) -> str:
    """Return what messages call the encoder."""
    encoder: Any = settings.encoder
    return str(getattr(encoder, "model", f"{encoder.encoder} encoder"))


def _to_arrow(vectors: Float32s) -> pa.FixedSizeListArray:
    return pa.FixedSizeListArray.from_arrays(to_column(vectors.reshape(-1), pa.float32()), vectors.shape[1])


def _resume(checkpoint: Checkpoint, vectors: Float32s, truncated: Bools) -> Bools:
    """Fill in the vectors of a former try of the unit, and which texts were cut; return which rows these are."""
    done = np.zeros(len(vectors), np.bool_)
    for batch in checkpoint.load():
        rows = numbers(batch["row"])
        vectors[rows] = numbers(batch["vector"].flatten()).reshape(len(rows), -1)
        if "truncated" in batch.schema.names:  # A version before wrote none.
            truncated[rows] = numbers(batch["truncated"])
        done[rows] = True
    return done


def used_encoders(recipe: Recipe, *, of_chunks: bool = False) -> list[str]:
    """Return the embeddings that some index needs, sorted; or those that it needs of chunks."""
    indexes = [index for index in recipe.indexes.values() if not of_chunks or KINDS.find(index.type).hits != "pair"]
    leaves = (leaf for settings in indexes for leaf in settings.leaves())
    refs = ((leaf.marker(Ref), leaf.value) for leaf in leaves)
    return sorted({name for ref, name in refs if ref and ref.section == "embed" and name})


def encode_step(context: PlanContext, name: str, of: Of = "chunks") -> Step:
    """Return the step that encodes chunks, facts, entities or questions with one embedding."""
    spec: Any = context.recipe.embed[name]
    key = TableKey("embeddings", name, "" if of == "chunks" else of)
    identity = spec.identity(step=_READ_BY.get(of, "name_vectors"), digest=context.digest)
    return Step(
        key.label,
        "mnemodex.pipelines.vectors.encode:EncodeOp",
        (Read(_TEXTS[of], Files()) if of in _TEXTS else Read(TableKey(of)),),
        (key,),
        EncodeSettings(encoder=spec, of=of, name=name),
        identity=[identity, of, ENCODERS.find(spec.encoder).version],
        resources=Resources(workers=1) if spec.encoder == "openai" else MODEL,
        reuse="text_id" if of == "question_answers" else COLUMNS[of][0],
    )


def embedding_steps(context: PlanContext, name: str) -> Iterator[Step]:
    """Encode every partition of the chunks."""
    yield encode_step(context, name)
