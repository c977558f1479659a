"""Answers as server-sent events: what a model writes, and the answer of each question as soon as it is there."""

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
    """Yield the events of each question, with its number, and `end` after the last.

    They are `text`, what a model has written next, and at last `answer` or `error`. Whoever stops reading stops the
    questions that have not begun.
    """
    places, loop = asyncio.Semaphore(_AT_ONCE), asyncio.get_running_loop()
    events: asyncio.Queue[bytes | None] = asyncio.Queue()

    async def ask(number: int, question: str) -> None:
        def watch(text: str) -> None:
            if text:
                loop.call_soon_threadsafe(events.put_nowait, _event("text", {"number": number, "text": text}))

        one = form.model_copy(update={"questions": [question]})
        try:
            async with places:
                answer = await service.run("answer", one, access, watch=watch)
        except Exception as error:
            problem = problem_of(error, service.settings.memories)
            events.put_nowait(_event("error", {"number": number, **problem.to_json()}))
        else:
            entries = answer.pop("answers")
            events.put_nowait(_event("answer", {"number": number, **answer, "answer": entries[0]}))
        events.put_nowait(None)

    tasks = [asyncio.create_task(ask(number, question)) for number, question in enumerate(form.questions)]
    try:
        done = 0
        while done < len(tasks):
            event = await events.get()
            if event is None:
                done += 1
            else:
                yield event
        yield _event("end", {"questions": len(tasks)})
    finally:
        for waiting in tasks:
            waiting.cancel()


def _event(name: str, data: dict[str, Any]) -> bytes:
    return f"event: {name}\ndata: {json.dumps(data, allow_nan=False)}\n\n".encode()
