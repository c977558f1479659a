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
from mnemodex.retrievers.readers.answers import merge_answers, text_ranks
from mnemodex.schemas.manifest import Stats
from mnemodex.schemas.store.columns import numbers, to_column
from mnemodex.schemas.tables import QUESTION_TEXTS, QUESTIONS, spec_of

if TYPE_CHECKING:
    from mnemodex.indexers.arrays import Int64s
    from mnemodex.pipelines.ops.inputs import Inputs
    from mnemodex.pipelines.ops.output import Output


class QuestionsOp(Op):
    """Gathers the questions of one range of ids; the inputs are the parts of questions, and the pairs they are of.

    The texts of a segment are those that no earlier segment has: a segment is some consecutive partitions of pairs, so
    that vectors stay where they are when pairs are added.
    """

    version = 3
    seconds_per_megabyte = 1.0

    @override
    def run(self, inputs: Inputs, output: Output) -> Stats:
        segments = segments_of([artifact.rows for artifact in inputs.artifacts(1)])
        rows, part = gather(inputs, 0)
        # Stable, so that a question's first row is that of the first part.
        order = np.argsort(numbers(rows["question_id"]), kind="stable")
        rows, part = rows.take(to_column(order, pa.int64())), part[order]
        questions = gather_questions(rows, part)
        spec = spec_of(QUESTIONS)
        output.write(spec, questions)
        texts = {
            "question_id": questions["question_id"],
            "question": to_column(list(map(normalize_question, questions["question"].to_pylist())), pa.string()),
            "with_answers": to_column(joint_texts(questions), pa.string()),
        }
        starts = begins(numbers(rows["question_id"]))
        write_texts(output.folder_of(QUESTION_TEXTS), pa.table(texts), segments[part[starts]])
        return Stats()


def gather_questions(rows: pa.Table, part: Int64s) -> pa.Table:
    """Return the questions of pairs, as the table has them; the order of pairs of one question decides nothing.

    Args:
        rows: of pairs, sorted by `question_id`: `question`, `answers`, `grounded`, `pair_id`, and their `row`.
        part: the partition of each pair, int64 of shape (pairs,).
    """
    ids = numbers(rows["question_id"])
    starts = begins(ids)
    ends = np.append(starts, len(ids))
    groups = np.repeat(np.arange(len(starts)), np.diff(ends))
    answers, rank = merge_answers(groups, rows["answers"].combine_chunks(), len(starts))
    # The pairs that give the first answer come first, those whose passage holds it before others.
    grounded = numbers(rows["grounded"].fill_null(False).cast(pa.int8()))
    by_rank = np.lexsort((numbers(rows["pair_id"]), -grounded, rank, groups))
    offsets = to_column(ends, pa.int32())
    columns = [
        rows["question_id"].take(to_column(starts, pa.int64())),
        rows["question"].take(to_column(_best_spelling(groups, rows["question"].combine_chunks()), pa.int64())),
        answers,
        to_column(np.diff(ends), pa.int64()),
        pa.ListArray.from_arrays(offsets, to_column(part[by_rank], pa.int32())),
        pa.ListArray.from_arrays(offsets, rows["row"].combine_chunks().take(to_column(by_rank, pa.int64()))),
    ]
    return pa.table(columns, schema=spec_of(QUESTIONS).schema)


def joint_texts(questions: pa.Table) -> list[str]:
    """Return what is encoded of questions together with their answers."""
    normal = map(normalize_question, questions["question"].to_pylist())
    return list(map(with_answers, normal, questions["answers"].to_pylist()))


def _best_spelling(groups: Int64s, texts: pa.StringArray) -> Int64s:
    """Return the row of each group, ascending, whose text most rows have, or of these the first text."""
    ranks = text_ranks(texts)
    order = np.lexsort((ranks, groups))
    starts = begins(groups[order], ranks[order])
    counts, first = np.diff(np.append(starts, len(order))), order[starts]
    best = np.lexsort((ranks[first], -counts, groups[first]))
    return first[best[begins(groups[first][best])]]
