"""Questions as keys of a memory: their normal form, their ids, and an index over their vectors."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING, Any, ClassVar

from typing_extensions import override

from mnemodex.indexers.dense.indexer import DenseIndexer
from mnemodex.schemas.ids import hash_text
from mnemodex.schemas.tables import TableKey

if TYPE_CHECKING:
    from collections.abc import Sequence

QUESTION_MARKS = "?\uff1f\u061f"
"""Question marks of Latin, Chinese and Arabic letters."""
_ANSWERS = 5
"""Answers of a question that are read together with it."""


class QAIndexer(DenseIndexer):
    """Builds the shards of a dense index over questions, with `question_ids.npy` for ids (PAQ; Lewis et al., 2021)."""

    version: ClassVar[int] = 1
    id_column: ClassVar[str] = "question_id"

    @staticmethod
    @override
    def vectors(settings: Any) -> TableKey:
        return TableKey("embeddings", settings.embed, f"{settings.key}s")

    @staticmethod
    @override
    def asked(question: str) -> str:
        return normalize_question(question)


def normalize_question(question: str) -> str:
    """Return the normal form of a question: lower case, NFC, single spaces, no question marks at its ends.

    In ASCII it is PAQ's, but for runs of spaces.
    """
    return " ".join(unicodedata.normalize("NFC", question.lower()).split()).strip(QUESTION_MARKS).strip()


def with_answers(question: str, answers: Sequence[str]) -> str:
    """Return the text of a question, in normal form, together with its first answers."""
    return f"{question}? {', '.join(answers[:_ANSWERS])}"


def question_id(question: str, *, salt: str = "") -> int:
    """Return the id of a question: a hash of its normal form, so that partitions need no coordination."""
    return hash_text("question", normalize_question(question), salt=salt)
