"""What a server understands of OpenAI's chat protocol."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mnemodex.indexers.models.chat import Messages
    from mnemodex.indexers.models.server import RequestFailedError

_FORMATS = ("json_schema", "json_object", "text")
"""Formats of an answer that has a schema; a server that does not know one is asked for the next."""
_STATUSES = (400, 404, 405, 415, 422, 500, 501)
"""With which servers refuse what they do not know."""
_LIMIT, _NEW_LIMIT = "max_tokens", "max_completion_tokens"
_TOO_MUCH = re.compile(
    r"too (?:large|many|long|high)|exceed|at most|maximum|less than|greater than|range", re.IGNORECASE
)
_FORMAT = re.compile(
    r"response.?format|json.?(?:schema|object|mode)|structured|grammar|guided|constrained|\bschema", re.IGNORECASE
)
_SYSTEM = re.compile(
    r"\bsystem\b.{0,60}\b(?:role|message|prompt|instruction)|\brole.{0,60}\bsystem\b|roles must alternate"
    r"|developer instruction",
    re.IGNORECASE,
)
_QUESTION = re.compile(
    r"context|length|too long|filter|policy|safety|moderat|quota|credit|billing|\bkey\b|model.{0,40}not"
)
"""In refusals that concern a question or an account, not a format."""


@dataclass(frozen=True)
class Dialect:
    """What a server understands, as far as it is known; all, to begin with.

    Attributes:
        format: the number of the format that answers with a schema are asked for in.
        left_out: parameters that it refuses.
        new_limit: whether it wants `max_completion_tokens` for `max_tokens`.
        system: whether it knows system messages.
    """

    format: int = 0
    left_out: frozenset[str] = field(default_factory=frozenset)
    new_limit: bool = False
    system: bool = True

    def request(self, messages: Messages, options: Mapping[str, Any], schema: dict[str, Any] | None) -> dict[str, Any]:
        """Return the body of a request, without the model."""
        names = {_LIMIT: _NEW_LIMIT} if self.new_limit else {}
        body: dict[str, Any] = {"messages": messages if self.system else _without_system(messages)}
        body |= {names.get(name, name): value for name, value in options.items() if name not in self.left_out}
        kind = _FORMATS[self.format] if schema is not None else "text"
        if kind != "text":
            details = {"json_schema": {"name": "answer", "schema": schema, "strict": True}}
            body["response_format"] = {"type": kind, **(details if kind == "json_schema" else {})}
        return body

    def simpler(self, body: dict[str, Any], failure: RequestFailedError) -> Dialect | None:
        """Return the dialect without what a server names in refusing a request; None where it names nothing."""
        words = failure.words
        if failure.status not in _STATUSES:
            return None
        for name in body.keys() - {"messages", "response_format"}:
            if _names(words, name) and (without := self._without(name, words)) is not None:
                return without
        if "response_format" in body and _FORMAT.search(words):
            return replace(self, format=self.format + 1)
        if self.system and body["messages"][0]["role"] == "system" and _SYSTEM.search(words):
            return replace(self, system=False)
        return None

    def _without(self, name: str, words: str) -> Dialect | None:
        if name not in (_LIMIT, _NEW_LIMIT):
            return replace(self, left_out=self.left_out | {name})
        if name == _LIMIT and _NEW_LIMIT in words:
            return replace(self, new_limit=True)
        # A limit that is too high is the recipe's to correct.
        if _TOO_MUCH.search(words):
            return None
        return replace(self, new_limit=True) if name == _LIMIT else replace(self, left_out=self.left_out | {_LIMIT})

    def may_concern_format(self, failure: RequestFailedError) -> bool:
        """Return whether a refusal that names nothing may still be one of the format."""
        return failure.status in (400, 422) and not (_QUESTION.search(failure.words) or _TOO_MUCH.search(failure.words))

    def other_formats(self) -> Iterator[Self]:
        """Yield the dialects with the formats after this one."""
        for number in range(self.format + 1, len(_FORMATS)):
            yield replace(self, format=number)

    def describe(self) -> list[str]:
        """Return what the server does not understand, in words."""
        found = sorted(self.left_out)
        found += [f"{_LIMIT}, which it calls {_NEW_LIMIT}"] if self.new_limit and _LIMIT not in self.left_out else []
        found += [f"the format {name}" for name in _FORMATS[: self.format]]
        return found if self.system else [*found, "system messages"]


def _names(words: str, name: str) -> bool:
    """Return whether a refusal is about a parameter; a common word is one only in quotation marks."""
    if name.isalpha() and name != "temperature":
        return any(f"{mark}{name}{mark}" in words for mark in "'\"`")
    return name in re.findall(r"\w+", words)


def _without_system(messages: Messages) -> Messages:
    """Return a conversation whose first user says what its system message says."""
    first, *others = messages
    if first["role"] != "system" or not others:
        return messages
    return [{**others[0], "content": f"{first['content']}\n\n{others[0]['content']}"}, *others[1:]]
