"""Checking what a user wrote against a settings class: every problem names its key and the remedy."""

from __future__ import annotations

import difflib
import json
import reprlib
from typing import TYPE_CHECKING, Any, TypeVar

from pydantic import BaseModel, ValidationError

from mnemodex.schemas.errors import RecipeError

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic_core import ErrorDetails

_Model = TypeVar("_Model", bound=BaseModel)

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = 200

_TEXT, _WHOLE, _NUMBER, _SWITCH = "should be a text", "should be a whole number", "should be a number", "true or false"
_LIST, _MAPPING = "should be a list", "should be a mapping of keys to values"
_BYTES = "should be a whole number of bytes, or a size such as 500MiB or 2GB"
WORDS = {
    "bool_parsing": f"should be {_SWITCH}",
    "bool_type": f"should be {_SWITCH}",
    "byte_size": _BYTES,
    "byte_size_unit": _BYTES,
    "dataclass_type": _MAPPING,
    "dict_type": _MAPPING,
    "extra_forbidden": "is an unknown key",
    "finite_number": "should be a finite number",
    "float_parsing": _NUMBER,
    "float_type": _NUMBER,
    "greater_than": "should be more than {gt}",
    "greater_than_equal": "should be {ge} or more",
    "int_from_float": _WHOLE,
    "int_parsing": _WHOLE,
    "int_type": _WHOLE,
    "invalid_key": "is no key: a key is a text; write it in quotation marks",
    "less_than": "should be less than {lt}",
    "less_than_equal": "should be {le} or less",
    "list_type": _LIST,
    "literal_error": "should be {expected}",
    "missing": "is missing",
    "model_attributes_type": _MAPPING,
    "model_type": _MAPPING,
    "string_too_short": "should have {min_length} or more characters",
    "string_type": _TEXT,
    "too_short": "should have {min_length} or more values",
    "tuple_type": _LIST,
    "value_error": "{error}",
}
"""What pydantic's errors say, by their types; the message of another type is pydantic's."""


def say(problem: ErrorDetails) -> str:
    """Return what is wrong with a value, in a recipe's words; the key and the value are not in it."""
    words = WORDS.get(problem["type"])
    if words is None:
        return problem["msg"]
    # The limits of a float are floats.
    ctx = problem.get("ctx", {})
    limits = {name: f"{limit:g}" if isinstance(limit, float) else limit for name, limit in ctx.items()}
    return words.format(**limits)


def say_first(error: ValidationError) -> str:
    """Return the first problem, after its key."""
    problem = error.errors(include_url=False)[0]
    return f"{'.'.join(map(str, problem['loc'])) or 'the content'}: {say(problem)}"


def validate(
    model: type[_Model], data: Any, *, name: str, at: str = "", elsewhere: Callable[[str], str] | None = None
) -> _Model:
    """Check what a user wrote in the file `name`, below the key `at`, against a settings class.

    A `RecipeError` lists every problem; an unknown key is answered with what `elsewhere` says of it, or the nearest
    known one.
    """
    try:
        return model.model_validate(data)
    except ValidationError as error:
        lines = [_explain(model, problem, at, elsewhere) for problem in error.errors(include_url=False)]
        raise RecipeError(f"{name}: " + "; ".join(lines)) from error


def _explain(model: type[BaseModel], problem: ErrorDetails, at: str, elsewhere: Callable[[str], str] | None) -> str:
    parts = [str(part) for part in problem["loc"]]
    if parts[-1:] == ["[key]"]:
        return _explain(model, {**problem, "type": "invalid_key", "loc": problem["loc"][:-1]}, at, elsewhere)
    where = ".".join(([at] if at else []) + parts)
    if problem["type"] == "extra_forbidden":
        known = _known_keys(model, parts[:-1])
        other = elsewhere(parts[0]) if elsewhere and len(parts) == 1 else ""
        near = difflib.get_close_matches(parts[-1], known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(sorted(known))}"
        return f"unknown key {where!r}; {other or hint}"
    if problem["type"] == "missing":
        return f"the key {where!r} is missing"
    return f"{where or 'recipe'}: {say(problem)}{_given(problem['input'])}"


def _given(value: Any) -> str:
    """Return a value as YAML has it, in brackets; nothing for a mapping."""
    if isinstance(value, dict):
        return ""
    return f" (it is {json.dumps(value) if value is None or isinstance(value, bool) else _SHORT.repr(value)})"


def _known_keys(model: type[BaseModel], path: list[str]) -> list[str]:
    """Return the keys of the section at `path`, as they are written, found through the fields' annotations."""
    current: Any = model
    for part in path:
        field = current.model_fields.get(part) if hasattr(current, "model_fields") else None
        if field is None:
            continue
        current = next(
            (arg for arg in getattr(field.annotation, "__args__", ()) if hasattr(arg, "model_fields")), field.annotation
        )
    return [field.alias or name for name, field in getattr(current, "model_fields", {}).items()]


def is_deeper(value: Any, levels: int) -> bool:
    """Return whether a JSON value is nested more levels deep."""
    level = [value]
    for _ in range(levels):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
    return bool(level)
