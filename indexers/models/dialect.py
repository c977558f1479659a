"""What a server understands of OpenAI's chat protocol."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NotRequired, Self, TypedDict

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mnemodex.indexers.models.chat import Messages, Schema
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


class Message(TypedDict):
    """A message of a conversation: whose it is ("system", "user" or "assistant"), and its text."""

    role: str
    content: str


class Format(TypedDict):
    """The form of an answer: one of `_FORMATS`, with the schema where that is `json_schema`."""

    type: str
    json_schema: NotRequired[dict[str, object]]


@dataclass(frozen=True, slots=True)
class Request:
    """A request in a server's dialect.

    Attributes:
        options: its further keys, such as `temperature`.
        format: of the answer; None for plain text.
    """

    messages: Messages
    options: dict[str, object]
    format: Format | None = None

    def body(self) -> dict[str, object]:
        """Return its JSON, without the model."""
        form = {"response_format": self.format} if self.format is not None else {}
        return {"messages": self.messages, **self.options, **form}


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

    def request(self, messages: Messages, options: Mapping[str, object], schema: Schema | None) -> Request:
        """Return a request for an answer, of a JSON schema where there is one."""
        names = {_LIMIT: _NEW_LIMIT} if self.new_limit else {}
        known = {names.get(name, name): value for name, value in options.items() if name not in self.left_out}
        kind = _FORMATS[self.format]
        form: Format = {"type": kind}
        if kind == "json_schema":
            form["json_schema"] = {"name": "answer", "schema": schema, "strict": True}
        plain = schema is None or kind == "text"
        return Request(messages if self.system else _without_system(messages), known, None if plain else form)

    def simpler(self, request: Request, failure: RequestFailedError) -> Dialect | None:
        """Return the dialect without what a server names in refusing a request; None where it names nothing."""
        words = failure.words
        if failure.status not in _STATUSES:
            return None
        for name in request.options:
            if _names(words, name) and (without := self._without(name, words)) is not None:
                return without
        if request.format is not None and _FORMAT.search(words):
            return replace(self, format=self.format + 1)
        if self.system and request.messages[0]["role"] == "system" and _SYSTEM.search(words):
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
