"""Checking what a user wrote against a settings class: every problem names its key and the remedy."""

from __future__ import annotations

import difflib
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from mnemodex.schemas.errors import RecipeError

_Model = TypeVar("_Model", bound=BaseModel)


def validate(model: type[_Model], data: Any, *, name: str, at: str = "") -> _Model:
    """Check what a user wrote in the file `name`, below the key `at`, against a settings class.

    A `RecipeError` lists every problem; an unknown key is answered with the nearest known one.
    """
    try:
        return model.model_validate(data)
    except ValidationError as error:
        lines = [_explain(model, problem, at) for problem in error.errors()]
        raise RecipeError(f"{name}: " + "; ".join(lines)) from error


def _explain(model: type[BaseModel], problem: Any, at: str) -> str:
    parts = [str(part) for part in problem["loc"]]
    where = ".".join(([at] if at else []) + parts)
    if problem["type"] == "extra_forbidden":
        known = _known_keys(model, parts[:-1])
        near = difflib.get_close_matches(parts[-1], known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(sorted(known))}"
        return f"unknown key {where!r}; {hint}"
    if problem["type"] == "missing":
        return f"the key {where!r} is missing"
    got = f" (it is {problem['input']!r})" if not isinstance(problem["input"], dict) else ""
    if problem["type"] in {"model_type", "dict_type"}:
        return f"{where}: should be a mapping of keys to values{got}"
    return f"{where or 'recipe'}: {problem['msg'].removeprefix('Value error, ')}{got}"


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
