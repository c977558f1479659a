"""Triples that a language model writes."""

from __future__ import annotations

import threading
from collections import Counter
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from mnemodex.indexers.models.chat import Chat
from mnemodex.indexers.models.locate import need
from mnemodex.pipelines.answers import Answers
from mnemodex.pipelines.bad_row import BadRow
from mnemodex.pipelines.extractors.base import Extraction, Raw
from mnemodex.pipelines.extractors.prompts import (
    NAMES_SCHEMA,
    TRIPLES_SCHEMA,
    ask_names,
    ask_triples,
    read_names,
    read_triples,
)
from mnemodex.schemas.errors import NoAnswerError
from mnemodex.schemas.manifest import fingerprint

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from mnemodex.indexers.models.chat import Answer, Messages
    from mnemodex.pipelines.extractors.base import Passages
    from mnemodex.pipelines.ops.base import Work
    from mnemodex.schemas.triples import LlmTriples

_Read = TypeVar("_Read")
_SHOWN = 200


class _UnusableError(Exception):
    """An answer that cannot be read; the message is the reason."""

    def __init__(self, reason: str, content: str) -> None:
        super().__init__(reason)
        self.content = content


class LlmExtractor:
    """Asks for the named entities of each chunk, then for triples of them. See `Extractor`.

    Every answer is kept (`Answers`), good or bad, under the model, the words of the question, the settings and the
    schema. Answers that cannot be read, and questions that the server does not answer, are problems of their chunk.
    """

    version: ClassVar[int] = 1

    def __init__(self, settings: LlmTriples, work: Work) -> None:
        self._spec = spec = settings
        self._answers = Answers(work.store)
        self._lock = threading.Lock()
        options = {"temperature": spec.temperature, "max_tokens": spec.max_tokens}
        self._options = {key: value for key, value in options.items() if value is not None}
        self._chat = Chat(
            spec.base_url,
            spec.model,
            api_key_env=spec.api_key_env,
            timeout=spec.timeout,
            max_retries=spec.max_retries,
            concurrency=spec.concurrency,
            options=self._options,
        )

    @classmethod
    def check(cls, settings: LlmTriples) -> None:
        """See `Extractor`.

        Raises:
            MissingExtraError: the extra `llm` is not installed.
        """
        need("openai", extra="llm")

    def begin(self, given: Path | None) -> None:
        """See `Extractor`."""
        self._counts = Counter[str](answers=0, asked=0, prompt_tokens=0, completion_tokens=0)

    def extract(self, documents: Sequence[Passages]) -> list[Extraction]:
        """See `Extractor`."""
        chunks = [(document, text) for document in documents for text in document.texts]
        found = iter(self._chat.at_once(self._chunk, chunks))
        extractions = []
        for document in documents:
            each = [next(found) for _ in document.texts]
            problems = [item for item in each if isinstance(item, BadRow)]
            extractions.append(Extraction([[] if isinstance(item, BadRow) else item for item in each], problems))
        return extractions

    def counts(self) -> dict[str, int]:
        """See `Extractor`: answers, how many of them were asked for now, and the tokens of all."""
        return dict(self._counts)

    def _chunk(self, item: tuple[Passages, str]) -> list[Raw] | BadRow:
        """The triples of one chunk; runs in several threads at once."""
        document, text = item
        if not text.strip():
            return []
        passage = f"{document.title}\n{text}" if document.title else text
        try:
            names = self._usable(ask_names(passage), NAMES_SCHEMA, read_names)
            triples = self._usable(ask_triples(passage, names), TRIPLES_SCHEMA, read_triples)
        except _UnusableError as error:
            return BadRow(document.source, document.line, str(error), error.content)
        except NoAnswerError as error:
            return BadRow(document.source, document.line, str(error), passage[:_SHOWN])
        return [Raw(triple, document.source, document.line) for triple in triples]

    def _usable(self, messages: Messages, schema: dict[str, Any], read: Callable[[str], _Read]) -> _Read:
        """What is read from the answer that is kept, else from a new one; of the last try, good or bad."""
        key = partial(fingerprint, self._spec.model, self._options, messages, schema)
        for former in range(self._spec.retry):
            answer = self._answers.find(key(former))
            try:
                if answer is not None:
                    return self._read(answer, read)
            except _UnusableError:
                continue
        return self._read(self._answer(key(self._spec.retry), messages, schema), read)

    def _read(self, answer: Answer, read: Callable[[str], _Read]) -> _Read:
        try:
            found = read(answer.text)
        except ValueError as error:
            reason = f"{error}; it was cut at the limit of tokens: raise max_tokens" if answer.cut else str(error)
            content = answer.text.encode("utf-8", "replace").decode()[:_SHOWN]
            raise _UnusableError(reason, content) from error
        finally:
            self._count(answers=1, prompt_tokens=answer.prompt_tokens, completion_tokens=answer.completion_tokens)
        return found

    def _answer(self, key: str, messages: Messages, schema: dict[str, Any]) -> Answer:
        answer = self._answers.find(key)
        if answer is None:
            answer = self._chat.ask(messages, schema=schema)
            self._answers.keep(key, answer)
            self._count(asked=1)
        return answer

    def _count(self, **counts: int) -> None:
        with self._lock:
            self._counts.update(counts)
