"""The tables of question-answer pairs: what their rows are."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa

from mnemodex.schemas.table import TableSpec, row_schema

_CHECKS = "mnemodex.pipelines.checks.tables"

_QUESTION_VECTORS = TableSpec(
    row_schema(question_id=pa.int64(), vector=pa.list_(pa.float32())),
    id_column="question_id",
    parents={"question_id": "questions"},
    check=f"{_CHECKS}:check_text_vectors",
)
PAIR_TABLES: dict[tuple[str, str], TableSpec] = {
    ("embeddings", "questions"): _QUESTION_VECTORS,
    ("embeddings", "question_answers"): replace(
        _QUESTION_VECTORS,
        # The id of a question does not say what its answers are: `text_id` is a hash of both.
        schema=_QUESTION_VECTORS.schema.append(pa.field("text_id", pa.int64(), nullable=False)),
        id_decides=False,
    ),
    ("qa_pairs", ""): TableSpec(
        # As it was written. Pairs whose questions have one normal form have one `question_id`. The chunk is the first
        # of the document that holds an answer, with `grounded`, or its first; all three are null without a document.
        row_schema(
            pair_id=pa.int64(),
            key=pa.string(),
            question=pa.string(),
            question_id=pa.int64(),
            answers=pa.list_(pa.string()),
            doc_id=pa.int64(),
            chunk_id=pa.int64(),
            grounded=pa.bool_(),
            score=pa.float32(),
            generator=pa.string(),
            missing=("doc_id", "chunk_id", "grounded", "score"),
        ),
        id_column="pair_id",
        parents={"doc_id": "documents", "chunk_id": "chunks"},
        text_columns=("question",),
        check=f"{_CHECKS}:check_qa_pairs",
    ),
    ("passage_scores", ""): TableSpec(
        # The log-probability that a chunk is worth asking about.
        row_schema(chunk_id=pa.int64(), score=pa.float32()),
    ),
    ("chosen_passages", ""): TableSpec(
        # The chunks that questions are made of.
        row_schema(chunk_id=pa.int64()),
    ),
    ("answer_spans", ""): TableSpec(
        # The answers of a chunk, best first: a JSON list of start, end, kind and score.
        row_schema(chunk_id=pa.int64(), found=pa.string()),
    ),
    ("generations", ""): TableSpec(
        # What a generator gave for a chunk, best first: a JSON list of question, score, and the answer as above; and a
        # JSON list of what failed.
        row_schema(chunk_id=pa.int64(), found=pa.string(), problems=pa.string()),
    ),
    ("qa_candidates", ""): TableSpec(
        # What was generated, in the order of the chunks; `ordinal` counts within the chunk, the best first. The answer
        # is the chunk's text from the character `start` on. Scores are log-probabilities; `predicted` is what a filter
        # was answered, and `reason` why a candidate is not kept, or by which filter it is.
        row_schema(
            pair_id=pa.int64(),
            chunk_id=pa.int64(),
            doc_id=pa.int64(),
            ordinal=pa.int32(),
            question=pa.string(),
            answer=pa.string(),
            start=pa.int32(),
            kind=pa.string(),
            generator=pa.string(),
            passage_score=pa.float32(),
            answer_score=pa.float32(),
            question_score=pa.float32(),
            predicted=pa.string(),
            kept=pa.bool_(),
            reason=pa.string(),
            missing=("passage_score", "answer_score", "question_score", "predicted", "reason"),
        ),
        id_column="pair_id",
        parents={"doc_id": "documents", "chunk_id": "chunks"},
        text_columns=("question",),
        check=f"{_CHECKS}:check_qa_candidates",
    ),
    ("questions", ""): TableSpec(
        # Different questions, by ascending id, as most of their pairs write them; the answers of all their pairs, those
        # of most pairs first, and where these pairs are, those of the first answer first: partition of qa_pairs, and
        # the row.
        row_schema(
            question_id=pa.int64(),
            question=pa.string(),
            answers=pa.list_(pa.string()),
            pairs=pa.int64(),
            partition=pa.list_(pa.int32()),
            row=pa.list_(pa.int64()),
        ),
        id_column="question_id",
        text_columns=("question",),
        row_group_rows=1024,
        check=f"{_CHECKS}:check_questions",
    ),
    ("calibration", ""): TableSpec(
        # By falling threshold of confidence: what an index of pairs answers of some questions, and the part of these
        # answers that is wrong, with its 95 % interval.
        row_schema(
            threshold=pa.float64(),
            answered=pa.int64(),
            coverage=pa.float64(),
            risk=pa.float64(),
            risk_low=pa.float64(),
            risk_high=pa.float64(),
        ),
    ),
}
"""By family and part."""
