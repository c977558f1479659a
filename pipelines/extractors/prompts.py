"""What a language model is asked for triples, and how its answers are read."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from pydantic_core import from_json

if TYPE_CHECKING:
    from mnemodex.indexers.models.chat import Messages

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


def _object(**properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


_STRING = {"type": "string"}
NAMES_SCHEMA = _object(entities={"type": "array", "items": _STRING})
TRIPLES_SCHEMA = _object(
    triples={"type": "array", "items": _object(subject=_STRING, predicate=_STRING, object=_STRING)}
)


def ask_names(passage: str) -> Messages:
    """The question for the named entities of a passage."""
    return _messages(_NAMES_TASK, _NAMES_EXAMPLE, passage)


def ask_triples(passage: str, names: list[str]) -> Messages:
    """The question for the triples of a passage whose names are known."""
    return _messages(_TRIPLES_TASK, _TRIPLES_EXAMPLE, f"{passage}\n\nNames: {json.dumps(names, ensure_ascii=False)}")


def _messages(task: str, example: tuple[str, str], question: str) -> Messages:
    return [
        {"role": "system", "content": task},
        {"role": "user", "content": example[0]},
        {"role": "assistant", "content": example[1]},
        {"role": "user", "content": question},
    ]


def read_names(text: str) -> list[str]:
    """The names of an answer, each once.

    Raises:
        ValueError: it is not of the form that was asked for.
    """
    names = (" ".join(name.split()) for name in _listed(text, "entities") if isinstance(name, str))
    return list(dict.fromkeys(name for name in names if name))


def read_triples(text: str) -> list[Any]:
    """The triples of an answer as lists; what is wrong with a single one is left for later.

    Raises:
        ValueError: it is not of the form that was asked for.
    """
    parts = ("subject", "predicate", "object")
    return [
        [item[part] for part in parts] if isinstance(item, dict) and all(part in item for part in parts) else item
        for item in _listed(text, "triples")
    ]


def _listed(text: str, key: str) -> list[Any]:
    """The list under a key of the JSON object in a text; models like to fence it, or to say that here it is."""
    begin, end = text.find("{"), text.rfind("}")
    if begin < 0 or end < begin:
        msg = "the model answers in prose, not in JSON"
        raise ValueError(msg)
    try:
        # Only this parser refuses half characters, which Arrow could not store.
        found = from_json(text[begin : end + 1].encode("utf-8", "replace"), allow_inf_nan=False)
    except ValueError as error:
        msg = f"the model's answer is not JSON ({error})"
        raise ValueError(msg) from error
    if not isinstance(found, dict) or not isinstance(found.get(key), list):
        msg = f"the model's answer has no list {key!r}"
        raise ValueError(msg)
    return list(found[key])
