"""What language models write, as programs read it: without their thinking, and the JSON in it."""

from __future__ import annotations

import ast
import json
import re
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any

from pydantic_core import from_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_TAG = re.compile(
    r"</?(?i:think|thinking|thoughts?|reason|reasoning|reflection|analysis|scratchpad|seed:think)(?:\s[^<>\n]{0,99})?>"
    r"|\[/?THINK\]|◁/?think▷"
)
"""Where models begin and end to think: most by `<think>` and the like, Mistral's by `[THINK]`, Kimi's by `◁think▷`."""
_CHANNEL = re.compile(r"<\|channel\|>\s*(\w+).{0,99}?<\|message\|>")
"""Where gpt-oss changes from thinking (`analysis`) to answering (`final`)."""
_NO_TOKENS = re.compile(r"\Aanalysis.*assistantfinal", re.DOTALL)
"""The same from a server that leaves special tokens out."""
_TOKENS = re.compile(r"(?:<\|\w+\|>\s*)+")
_QUOTES = "\"'`"
_DEPTH = 64
"""Brackets within brackets; no answer that is asked for has ten."""
_BEGIN = re.compile(r"\{\s*[\"'}]|\[\s*[\"'{\[\](\d-]")
_TOKEN = re.compile(r"\"(?:[^\"\\]|\\.)*+(?:\"|\Z)|'(?:[^'\\]|\\.)*+(?:'|\Z)|,(?=\s*+[\]}])|[\[{(]|[\])}]", re.DOTALL)


def strip_thinking(text: str) -> str:
    """Return what a model answers, without what it thinks before: closed, only closed, or not closed.

    A tag in quotation marks is a word of the text, and so is all in a text that is JSON. What no UTF-8 can hold becomes
    a question mark.
    """
    text = text.encode("utf-8", "replace").decode().strip()
    if _parse(text) is not None:
        return text
    if channels := list(_CHANNEL.finditer(text)):
        text = text[channels[-1].end() :] if channels[-1][1] == "final" else ""
    text = _NO_TOKENS.sub("", text)
    for tokens in _TOKENS.finditer(text):
        if tokens.end() == len(text):
            text = text[: tokens.start()]
    tags = [tag for tag in _TAG.finditer(text) if not _quoted(text, tag)]
    closed = max((tag.end() for tag in tags if "/" in tag[0]), default=0)
    kept: list[str] = []
    begin, thinks = 0, False
    for tag in tags:
        if "/" in tag[0]:
            if not thinks:
                kept.clear()
            begin, thinks = tag.end(), False
        # One in a sentence, with no end, is a word too.
        elif not thinks and (tag.end() < closed or not text[begin : tag.start()].rpartition("\n")[2].strip()):
            kept.append(text[begin : tag.start()])
            thinks = True
    return "".join(kept if thinks else [*kept, text[begin:]]).strip()


def _quoted(text: str, tag: re.Match[str]) -> bool:
    before, after = text[: tag.start()][-1:], text[tag.end() :][:1]
    return before == after and before != "" and before in _QUOTES


def read_list(text: str, key: str, usable: Callable[[Any], bool]) -> list[Any]:
    """Return the list that an answer in JSON gives under a key, amid prose and fences.

    Models give it in other forms too: as a bare list, under another key, grouped by kind, or as single items. The last
    one that is not empty counts, as models draft before they answer.

    Args:
        text: the answer.
        key: what was asked for.
        usable: whether a value can be an item; only such lists of another form count.

    Raises:
        ValueError: there is none; says why.
    """
    values = list(read_json(text))
    named = [list(chain(*found)) for value in values if (found := list(_under(value, key)))]
    if not named:
        named = [other for value in values if (other := _other_form(value, usable)) is not None]
        items = [value for value in values if usable(value)]
        named += [items] if items else []
    if not named:
        raise ValueError(f"the model's answer has no list {key!r}")
    return next((found for found in reversed(named) if found), [])


def read_json(text: str) -> Iterator[Any]:
    """Yield the objects and lists of a text, in their order; objects of Python and commas before an end are read too.

    Raises:
        ValueError: there is none; says why.
    """
    position, found, problem = 0, False, "the model answers in prose, not in JSON"
    while begin := _BEGIN.search(text, position):
        end, plain = _balanced(text, begin.start())
        if end is None:
            # Its parts would look like whole ones.
            problem = "the model's JSON has no end"
            break
        position = end
        value = _parse(plain)
        if value is None:
            problem = f"the model's answer is not JSON ({plain[:80]!r})"
            continue
        found = True
        yield value
    if not found:
        raise ValueError(problem)


def _balanced(text: str, begin: int) -> tuple[int | None, str]:
    """Return where the bracket at a place ends, None if nowhere, and what it holds without commas before an end."""
    depth, parts, start = 0, [], begin
    for token in _TOKEN.finditer(text, begin):
        first = token[0][0]
        if first == ",":
            parts.append(text[start : token.start()])
            start = token.end()
        elif first not in _QUOTES:
            depth += 1 if first in "[{(" else -1
            if not depth or depth > _DEPTH:
                end = token.end() if not depth else None
                return end, "".join([*parts, text[start : token.end()]])
    return None, ""


def _parse(text: str) -> Any:
    """Return the object or list that a text is; None if it is none."""
    if text[:1] not in ("{", "["):
        return None
    parsers: tuple[Callable[[str], Any], ...] = (partial(json.loads, strict=False), ast.literal_eval)
    for parse in parsers:
        try:
            # Only this parser refuses half characters, which Arrow could not store.
            return from_json(json.dumps(parse(text)), allow_inf_nan=False)
        except (ValueError, TypeError, SyntaxError, RecursionError, MemoryError):
            continue
    return None


def _under(value: Any, key: str) -> Iterator[list[Any]]:
    """Yield the lists under a key, in any case, at any depth."""
    for name, inner in (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    ):
        if isinstance(inner, list) and str(name).strip().lower() == key:
            yield inner
        else:
            yield from _under(inner, key)


def _other_form(value: Any, usable: Callable[[Any], bool]) -> list[Any] | None:
    """Return the usable items of a list, or of all lists of an object; None where there is no list of such."""
    if isinstance(value, list):
        return value if all(map(usable, value)) else None
    if not isinstance(value, dict) or usable(value):
        return None
    lists = [found for inner in value.values() if (found := _other_form(inner, usable)) is not None]
    return [item for found in lists for item in found] if lists else None
