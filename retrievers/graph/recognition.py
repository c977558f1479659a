"""Recognition memory: a language model says which of the linked facts help (HippoRAG 2; Gutiérrez et al., 2025)."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING

from mnemodex.schemas.errors import NoAnswerError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnemodex.indexers.models.chat import Chat

_MOST = 4
"""As in HippoRAG's prompt."""
_SYSTEM = (
    "You decide which facts help to answer a question. You get the question and numbered facts, each as subject, "
    "predicate and object, that a search found for it; many of them only look alike. Keep a fact if it names something "
    "that the question asks about or is a step towards the answer, also if further steps are needed. Keep at most "
    f'{_MOST} of them, and none if none helps. Answer with JSON of this form and nothing else: {{"keep": [NUMBERS]}}'
)
_SCHEMA = {
    "type": "object",
    "properties": {"keep": {"type": "array", "items": {"type": "integer"}}},
    "required": ["keep"],
    "additionalProperties": False,
}


class Recognition:
    """Asks a model which facts it keeps. May be called from several threads.

    Args:
        chat: the model.

    Attributes:
        asked: questions so far.
        malformed: answers that were not of the form, so that all facts were kept.
        unanswered: questions that the model did not answer, so that all facts were kept.
        prompt_tokens: tokens that the model read.
        completion_tokens: tokens that it wrote.
    """

    def __init__(self, chat: Chat) -> None:
        self._chat = chat
        self._lock = threading.Lock()
        self.asked = 0
        self.malformed = 0
        self.unanswered = 0
        self.prompt_tokens = 0
        self.completion_tokens = 0

    def __call__(self, question: str, facts: Sequence[tuple[str, str, str]]) -> list[int]:
        """The places of the facts that the model keeps, ascending; none is an answer too.

        Args:
            question: the question.
            facts: subject, predicate and object of each.

        Raises:
            ChatServerError: the server answers no question.
        """
        everything = list(range(len(facts)))
        if not facts:
            return everything
        listed = "\n".join(f"{number}. {json.dumps(fact, ensure_ascii=False)}" for number, fact in enumerate(facts))
        messages = [
            {"role": "system", "content": _SYSTEM},
            {"role": "user", "content": f"Question: {question}\nFacts:\n{listed}"},
        ]
        try:
            answer = self._chat.ask(messages, schema=_SCHEMA)
        except NoAnswerError:
            with self._lock:
                self.asked += 1
                self.unanswered += 1
            return everything
        kept = _places(answer.text, len(facts))
        with self._lock:
            self.asked += 1
            self.malformed += kept is None
            self.prompt_tokens += answer.prompt_tokens
            self.completion_tokens += answer.completion_tokens
        return everything if kept is None else kept


def _places(text: str, count: int) -> list[int] | None:
    """The places that an answer names; None where it is not of the form or names one that is not there."""
    try:
        # Models like to put words or a fence around JSON.
        answer = json.loads(text[text.index("{") : text.rindex("}") + 1])
        kept = answer["keep"]
    except (ValueError, KeyError, RecursionError):
        return None
    if not isinstance(kept, list) or not all(type(place) is int and 0 <= place < count for place in kept):
        return None
    return sorted(set(kept))
