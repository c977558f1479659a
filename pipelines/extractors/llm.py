"""Triples that a language model writes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from mnemodex.indexers.models.locate import need
from mnemodex.indexers.models.parsing import read_list
from mnemodex.pipelines.bad_row import BadRow
from mnemodex.pipelines.extractors.base import Extraction, Extractor, Passages, Raw
from mnemodex.pipelines.kept_chat import KeptChat, UnusableError, conversation, object_schema
from mnemodex.schemas.errors import NoAnswerError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from mnemodex.pipelines.ops.base import Work
    from mnemodex.schemas.sections import LlmTriples

_NAMES_TASK = (
    "You read a passage and list the named things in it: people, organisations, places, works, events, products, "
    "dates, and concepts that have a name. Write each as the passage writes it, once, without articles. Answer with "
    'JSON of the form {"entities": ["…", "…"]} and nothing else. A passage without names gives {"entities": []}.'
)
_NAMES_EXAMPLE = (
    "Radio Vienna\nRadio Vienna is a station in Austria. It was founded by Oskar Czeija and went on air on 1 October "
    "1924.",
    '{"entities": ["Radio Vienna", "Austria", "Oskar Czeija", "1 October 1924"]}',
)
_TRIPLES_TASK = (
    "You turn a passage into facts of a knowledge graph. A fact has a subject, a predicate and an object. Use the "
    "listed names for subjects and objects wherever you can; every fact should have at least one of them, better two. "
    "Put the full name where the passage has a pronoun. State only what the passage states, one relation a fact, with "
    'a short predicate. Answer with JSON of the form {"triples": [{"subject": "…", "predicate": "…", "object": "…"}]} '
    'and nothing else. A passage that states no fact gives {"triples": []}.'
)
_TRIPLES_EXAMPLE = (
    f'{_NAMES_EXAMPLE[0]}\n\nNames: ["Radio Vienna", "Austria", "Oskar Czeija", "1 October 1924"]',
    '{"triples": [{"subject": "Radio Vienna", "predicate": "is a station in", "object": "Austria"}, {"subject": "Radio '
    'Vienna", "predicate": "was founded by", "object": "Oskar Czeija"}, {"subject": "Radio Vienna", "predicate": '
    '"went on air on", "object": "1 October 1924"}]}',
)

PROBE = "Ada Stone\nAda Stone keeps the lighthouse of Dunmarrow."
"""What a server is asked before a build."""


_STRING = {"type": "string"}
_PARTS = ("subject", "predicate", "object")
_ROLES = (
    ("subject", "head", "source", "subj", "s", "h", "head_entity", "source_entity", "entity1", "entity_1", "from"),
    (
        "predicate",
        "relation",
        "relationship",
        "pred",
        "p",
        "r",
        "rel",
        "verb",
        "edge",
        "relation_type",
        "type",
        "label",
    ),
    ("object", "tail", "target", "obj", "o", "t", "tail_entity", "target_entity", "entity2", "entity_2", "to"),
)
"""What models call the parts of a triple."""
_MISSING = object()
_NAMES_SCHEMA = object_schema(entities={"type": "array", "items": _STRING})
_TRIPLES_SCHEMA = object_schema(triples={"type": "array", "items": object_schema(**dict.fromkeys(_PARTS, _STRING))})


class LlmExtractor(Extractor):
    """Asks for the named entities of each chunk, then for triples of them.

    Every answer is kept (`KeptChat`). Answers that cannot be read, and questions that the server does not answer, are
    problems of their chunk.
    """

    version = 2

    def __init__(self, settings: LlmTriples, work: Work) -> None:
        self._chat = KeptChat.of(settings, work.store)

    @override
    @classmethod
    def check(cls, settings: LlmTriples) -> None:
        need("openai", extra="llm")

    @override
    @classmethod
    def probe(cls, settings: LlmTriples, work: Work) -> list[str]:
        messages = conversation(_NAMES_TASK, _NAMES_EXAMPLE, PROBE)
        return KeptChat.of(settings, work.store).probe("triples", messages, _NAMES_SCHEMA, _read_names)

    @override
    def begin(self, given: Path | None) -> None:
        self._chat.reset()

    @override
    def extract(self, documents: Sequence[Passages]) -> list[Extraction]:
        chunks = [(document, text) for document in documents for text in document.texts]
        results = iter(self._chat.at_once(self._extract_chunk, chunks))
        extractions = []
        for document in documents:
            of_chunks = [next(results) for _ in document.texts]
            triples = [[] if isinstance(result, BadRow) else result for result in of_chunks]
            extractions.append(Extraction(triples, [result for result in of_chunks if isinstance(result, BadRow)]))
        return extractions

    @override
    def counts(self) -> dict[str, int]:
        return dict(self._chat.counts)

    def _extract_chunk(self, chunk: tuple[Passages, str]) -> list[Raw] | BadRow:
        """Return the triples of one chunk; runs in several threads at once."""
        document, text = chunk
        if not text.strip():
            return []
        passage = f"{document.title}\n{text}" if document.title else text
        try:
            asked = conversation(_NAMES_TASK, _NAMES_EXAMPLE, passage)
            names = self._chat.ask(asked, _NAMES_SCHEMA, _read_names)
            question = f"{passage}\n\nNames: {json.dumps(names, ensure_ascii=False)}"
            asked = conversation(_TRIPLES_TASK, _TRIPLES_EXAMPLE, question)
            triples = self._chat.ask(asked, _TRIPLES_SCHEMA, _read_triples)
        except UnusableError as error:
            return BadRow.of(document.source, document.line, *error.args)
        except NoAnswerError as error:
            return BadRow.of(document.source, document.line, str(error), passage)
        return [Raw(triple, document.source, document.line) for triple in triples]


def _read_names(text: str) -> list[str]:
    """Return the names of an answer, each once.

    Raises:
        ValueError: none of them is read, as they are lists or objects of another form.
    """
    items = read_list(text, "entities", lambda item: isinstance(_name(item), str))
    names = [name for name in map(_name, items) if isinstance(name, str)]
    if not names and any(isinstance(item, list | dict) for item in items):
        raise ValueError("the entities of the model's answer are no names")
    return list(dict.fromkeys(name for name in (" ".join(name.split()) for name in names) if name))


def _name(item: Any) -> Any:
    """Return the name of an entity, which models may describe by an object."""
    if not isinstance(item, dict):
        return item
    return _find(item, ("name", "entity", "entity_name", "text", "mention", "value", "title", "id"))


def _read_triples(text: str) -> list[Any]:
    """Return the triples of an answer as lists; single ones of a wrong form are left for the judge."""
    items = read_list(text, "triples", lambda item: isinstance(parts := _triple(item), list) and len(parts) == 3)
    return [_triple(item) for item in items]


def _triple(item: Any) -> Any:
    """Return subject, predicate and object of a triple; what has not these parts as it is."""
    if isinstance(item, list):
        return list(map(_name, item))
    if not isinstance(item, dict):
        return item
    found = [_find(item, names) for names in _ROLES]
    return item if _MISSING in found else list(map(_name, found))


def _find(item: dict[str, Any], names: tuple[str, ...]) -> Any:
    """Return the value of the first of some keys, in any case; `_MISSING` without one."""
    lower = {key.strip().lower().replace(" ", "_"): value for key, value in item.items()}
    return next((lower[name] for name in names if name in lower), _MISSING)
