"""Answers as server-sent events: one a question, as soon as it is there."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from starlette.responses import StreamingResponse

from mnemodex.deploy.errors import problem_of
from mnemodex.deploy.operations.answer import check_answer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from mnemodex.deploy.access import Access
    from mnemodex.deploy.operations.answer import AnswerForm
    from mnemodex.deploy.service import Service

_AT_ONCE = 4
"""Questions of a request that are answered at a time."""


def stream_answers(service: Service, form: AnswerForm, access: Access) -> StreamingResponse:
    """Return the answer to a request that is streamed.

    Raises:
        MnemodexError: no question of the request can be answered.
    """
    served = service.memories.get(form.memory, access)
    check_answer(served, form, access, readers=service.readers)
    return StreamingResponse(_events(service, form, access), media_type="text/event-stream")


async def _events(service: Service, form: AnswerForm, access: Access) -> AsyncIterator[bytes]:
    """Yield the events `answer` or `error` of each question, with its number, and `end` after the last.

    Whoever stops reading stops the questions that have not begun.
    """
    places = asyncio.Semaphore(_AT_ONCE)

    async def ask(number: int, question: str) -> bytes:
        async with places:
            try:
                one = form.model_copy(update={"questions": [question]})
                answer = await service.run("answer", one, access)
            except Exception as error:
                problem = problem_of(error, service.settings.memories)
                return _event("error", {"number": number, **problem.to_json()})
        entries = answer.pop("answers")
        return _event("answer", {"number": number, **answer, "answer": entries[0]})

    tasks = [asyncio.create_task(ask(number, question)) for number, question in enumerate(form.questions)]
    try:
        for task in asyncio.as_completed(tasks):
            yield await task
        yield _event("end", {"questions": len(tasks)})
    finally:
        for waiting in tasks:
            waiting.cancel()


def _event(name: str, data: dict[str, Any]) -> bytes:
    return f"event: {name}\ndata: {json.dumps(data, allow_nan=False)}\n\n".encode()
