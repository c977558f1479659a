"""`feedback`: whether a hit answers its question."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field, StringConstraints

from mnemodex.deploy.operations.base import Form
from mnemodex.schemas.errors import AccessError

if TYPE_CHECKING:
    from mnemodex.deploy.access import Access
    from mnemodex.deploy.feedback import FeedbackFile
    from mnemodex.deploy.memories import Served

_Name = Annotated[str, StringConstraints(min_length=1, max_length=2000)]


class FeedbackForm(Form):
    """A judgement of a hit.

    Attributes:
        index: that was asked.
        question: that it was asked.
        key: of the hit's document, as the source has it.
        good: whether the hit answers the question.
        answers: of the hit, where it is a question-answer pair; kept if it is good.
    """

    index: _Name
    question: Annotated[str, StringConstraints(min_length=1, max_length=8000)]
    key: _Name
    good: bool
    answers: tuple[_Name, ...] = Field(default=(), max_length=100)


def feedback(served: Served, request: FeedbackForm, access: Access, *, file: FeedbackFile | None) -> dict[str, Any]:
    """Add a judgement to the server's file, as a line of a query file, and return its id.

    A hit that answers its question is the line's `gold_ids`; one that does not is in `bad_ids`, and nothing is gold.
    """
    access.admit("search", served.name, request.index)
    if file is None:
        raise AccessError("feedback is off on this server; start it with --feedback FILE")
    served.memory.snapshot.index(request.index)
    record = {
        "id": uuid.uuid4().hex,
        "question": request.question,
        "answers": list(request.answers) if request.good else [],
        "gold_ids": [request.key] if request.good else [],
        "bad_ids": [] if request.good else [request.key],
        "memory": served.name,
        "snapshot": served.snapshot,
        "index": request.index,
        "time": datetime.now(UTC).replace(tzinfo=None).isoformat(timespec="seconds"),
        "by": access.key_name,
    }
    file.add(record)
    return {"memory": served.name, "snapshot": served.snapshot, "id": record["id"]}
