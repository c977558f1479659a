"""Pairs of one partition of documents: each is tied to the chunk that holds its answer, or was made of it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field
from pydantic_core import from_json
from typing_extensions import override

from mnemodex.indexers.arrays import write_arrow
from mnemodex.indexers.qa import question_id
from mnemodex.pipelines.ops.base import Finished, Op
from mnemodex.pipelines.qa.candidates import generated_key
from mnemodex.pipelines.qa.lines import PairSettings
from mnemodex.schemas.errors import SourceError
from mnemodex.schemas.manifest import Stats
from mnemodex.schemas.spec import Spec
from mnemodex.schemas.store import parquet
from mnemodex.schemas.store.columns import to_column
from mnemodex.schemas.tables import QA_PAIRS, TableKey, spec_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnemodex.pipelines.ops.inputs import Inputs
    from mnemodex.pipelines.ops.output import Output

QUESTION_PARTS = TableKey("question_parts", draft=True)
"""The pairs of each partition by question: of them, ranges of ids are gathered."""
OF_FILE = "file"
"""The generator of pairs of a file."""
_Chunks = dict[int, list[tuple[int, str]]]
"""The chunks of documents: ids and texts, in order."""


class SaltSettings(Spec):
    """The salt of ids."""

    id_salt: str


class PairStats(Stats):
    """Pairs that have a passage, those of them whose answers it does not hold, and the key of the first of these."""

    with_passage: int = 0
    ungrounded: int = 0
    example: str = ""


class PairsOp(Op):
    """Writes the pairs of one partition; the inputs are their lines, and the partition of chunks if there is one."""

    Settings = PairSettings
    version = 2
    seconds_per_megabyte = 5.0
    settings: PairSettings

    @override
    def run(self, inputs: Inputs, output: Output) -> Stats:
        salt = self.settings.id_salt
        (lines,) = inputs.parts(0)
        with lines.open("rb") as file:
            rows = [from_json(line) for line in file]
        ids, doc_ids, keys, questions, answers, scores = zip(*rows, strict=True)
        chunks = _chunks(inputs, set(doc_ids))
        places = [_place(chunks.get(doc_id, []), given) for doc_id, given in zip(doc_ids, answers, strict=True)]
        chunk_ids, grounded = zip(*places, strict=True)
        columns = (ids, keys, questions, answers, doc_ids, chunk_ids, grounded, scores, [OF_FILE] * len(ids))
        write_pairs(output, columns, salt)
        missed = [key for key, holds in zip(keys, grounded, strict=True) if holds is False]
        tied = len(grounded) - grounded.count(None)
        return PairStats(with_passage=tied, ungrounded=len(missed), example=next(iter(missed), ""))

    @override
    @classmethod
    def complete(cls, finished: Finished) -> list[str]:
        stats = finished.total(PairStats)
        if not stats.ungrounded:
            return []
        example = next(filter(None, (part.stats.of(PairStats).example for part in finished.parts)))
        return [
            f"qa_pairs: {stats.ungrounded} of {stats.with_passage} pairs with a passage have no answer in it (the "
            f"first: {example!r}); in the table they are not `grounded`"
        ]


class KeptStats(Stats):
    """Candidates, and those that are not kept, by reason."""

    candidates: int = 0
    dropped: Counter[str] = Field(default_factory=Counter)


class GeneratedPairsOp(Op):
    """Writes the pairs of one partition: the candidates that are kept."""

    Settings = SaltSettings
    version = 2
    settings: SaltSettings

    @override
    def run(self, inputs: Inputs, output: Output) -> Stats:
        candidates = parquet.read(inputs.partition(0).files["parquet"])
        rows = candidates.filter(candidates["kept"])
        names = ("chunk_id", "ordinal", "question", "answer", "doc_id", "question_score", "generator", "pair_id")
        chunk_ids, ordinals, questions, found, doc_ids, scores, generators, ids = (
            rows[name].to_pylist() for name in names
        )
        keys = list(map(generated_key, chunk_ids, ordinals))
        answers = [[" ".join(answer.split())] for answer in found]
        columns = (ids, keys, questions, answers, doc_ids, chunk_ids, [True] * len(ids), scores, generators)
        write_pairs(output, columns, self.settings.id_salt)
        reasons = candidates.filter(pc.invert(candidates["kept"]))["reason"].to_pylist()
        return KeptStats(candidates=len(candidates), dropped=Counter(map(str, reasons)))

    @override
    @classmethod
    def complete(cls, finished: Finished) -> list[str]:
        if finished.rows:
            return []
        stats = finished.total(KeptStats)
        reasons = ", ".join(f"{count}: {reason}" for reason, count in stats.dropped.most_common()) or "no chunk has any"
        raise SourceError(
            f"qa_pairs: none of {stats.candidates} candidates is a pair ({reasons}); give other documents, another "
            "generator, or a filter that keeps more"
        )


def write_pairs(output: Output, columns: Sequence[Sequence[Any]], salt: str) -> None:
    """Write pairs, and the same by question.

    Args:
        output: of the unit.
        columns: of `qa_pairs`, without `question_id`.
        salt: of ids.
    """
    ids, keys, questions, answers, *others = columns
    asked = [question_id(question, salt=salt) for question in questions]
    spec = spec_of(QA_PAIRS)
    given = zip((ids, keys, questions, asked, answers, *others), spec.schema, strict=True)
    pairs = pa.table([pa.array(column, field.type) for column, field in given], schema=spec.schema)
    output.write(spec, pairs)
    by_question = pairs.select(["question_id", "question", "answers", "grounded", "pair_id"])
    by_question = by_question.append_column("row", to_column(np.arange(len(ids)), pa.int64()))
    order = np.argsort(np.array(asked, np.int64), kind="stable")
    write_arrow(output.folder_of(QUESTION_PARTS) / "data.arrow", by_question.take(to_column(order, pa.int64())))


def _chunks(inputs: Inputs, doc_ids: set[int | None]) -> _Chunks:
    """Return the chunks of some documents, their titles and texts in one, as names are compared."""
    found: _Chunks = {}
    wanted = pa.array(doc_ids - {None}, pa.int64())
    for part in inputs.partitions(1):
        columns = ("chunk_id", "doc_id", "title", "text")
        for batch in parquet.read_batches(part.files["parquet"], columns=columns):
            some = batch.filter(pc.is_in(batch["doc_id"], value_set=wanted))
            for chunk_id, doc_id, title, text in zip(*(column.to_pylist() for column in some), strict=True):
                found.setdefault(doc_id, []).append((chunk_id, f"{title}\n{text}".casefold()))
    return found


def _place(chunks: list[tuple[int, str]], answers: list[str]) -> tuple[int | None, bool | None]:
    """Return the first chunk of a document that holds an answer, or its first one, and whether it does."""
    if not chunks:
        return None, None
    folded = [answer.casefold() for answer in answers]
    holding = (chunk_id for chunk_id, text in chunks if any(answer in text for answer in folded))
    found = next(holding, None)
    return (chunks[0][0], False) if found is None else (found, True)
