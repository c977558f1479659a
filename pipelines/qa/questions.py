"""Questions of all partitions of pairs: each once, in ranges of their ids; and their texts by age, for vectors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from typing_extensions import override

from mnemodex.indexers.arrays import begins
from mnemodex.indexers.qa import normalize_question, with_answers
from mnemodex.pipelines.graph.names import segments_of, write_texts
from mnemodex.pipelines.graph.parts import gather
from mnemodex.pipelines.ops.base import Op
from mnemodex.retrievers.readers.answers import merge_answers
from mnemodex.schemas.manifest import Stats
from mnemodex.schemas.store.columns import numbers, to_column
from mnemodex.schemas.tables import QUESTION_TEXTS, QUESTIONS, spec_of

if TYPE_CHECKING:
    from mnemodex.pipelines.ops.inputs import Inputs
    from mnemodex.pipelines.ops.output import Output


class QuestionsOp(Op):
    """Gathers the questions of one range of ids; the inputs are the parts of questions, and the pairs they are of.

    The texts of a segment are those that no earlier segment has: a segment is some consecutive partitions of pairs, so
    that vectors stay where they are when pairs are added.
    """

    version = 2
    seconds_per_megabyte = 1.0

    @override
    def run(self, inputs: Inputs, output: Output) -> Stats:
        segments = segments_of([artifact.rows for artifact in inputs.artifacts(1)])
        rows, part = gather(inputs, 0)
        ids = numbers(rows["question_id"])
        # Stable, so that a question's first pair is that of the first part.
        order = np.argsort(ids, kind="stable")
        rows, part = rows.take(to_column(order, pa.int64())), part[order]
        starts = begins(ids[order])
        ends = np.append(starts, len(order))
        groups = np.repeat(np.arange(len(starts)), np.diff(ends))
        first = rows.take(to_column(starts, pa.int64()))
        answers, rank = merge_answers(groups, rows["answers"].combine_chunks(), len(starts))
        # The pairs that give the first answer come first, those whose passage holds it before others.
        grounded = numbers(rows["grounded"].fill_null(False).cast(pa.int8()))
        by_rank = np.lexsort((-grounded, rank, groups))
        offsets = to_column(ends, pa.int32())
        columns = [
            first["question_id"],
            first["question"],
            answers,
            to_column(np.diff(ends), pa.int64()),
            pa.ListArray.from_arrays(offsets, to_column(part[by_rank], pa.int32())),
            pa.ListArray.from_arrays(offsets, rows["row"].combine_chunks().take(to_column(by_rank, pa.int64()))),
        ]
        spec = spec_of(QUESTIONS)
        output.write(spec, pa.table(columns, schema=spec.schema))
        questions = [normalize_question(question) for question in first["question"].to_pylist()]
        both = list(map(with_answers, questions, answers.to_pylist()))
        texts = {
            "question_id": first["question_id"],
            "question": to_column(questions, pa.string()),
            "with_answers": to_column(both, pa.string()),
        }
        write_texts(output.folder_of(QUESTION_TEXTS), pa.table(texts), segments[part[starts]])
        return Stats()
