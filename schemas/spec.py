"""Settings that carry their own meaning: what is a path, a model, a name of another section, and what decides files.

A field is marked by `Annotated`, at any depth: `model: Annotated[str, ModelRef()] | None`. Paths, references, checks
and the identity of a step all follow from these markers; nothing else lists the fields of a settings class.
"""

from __future__ import annotations

import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import Annotated, Any, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict
from pydantic_core import to_jsonable_python

Section = Literal["embed", "lm", "index"]
"""The sections of a recipe whose entries are named by other entries."""


@dataclass(frozen=True, slots=True)
class RecipePath:
    """A path that is relative to the recipe. Where a file lies decides nothing: the step that reads it hashes it."""


@dataclass(frozen=True, slots=True)
class ModelRef:
    """A model by path, hub id or `pkg:MODULE/FOLDER`. Its content decides, not its name.

    Attributes:
        part: what of the model counts: all of its files, only what decides the tokens of its tokenizer, or all files
            of a spaCy pipeline.
    """

    part: Literal["weights", "tokenizer", "spacy"] = "weights"


@dataclass(frozen=True, slots=True)
class Ref:
    """The name of an entry of another section. A name decides nothing: what it names is read as an input.

    Attributes:
        section: where the name is looked up.
        type: the index type that it must have; any without it.
        default: what a missing name means: the first entry, the only one of the type, or nothing.
        hits: of an index, the id spaces that its hits may be of.
    """

    section: Section
    type: str | None = None
    default: Literal["first", "only", "none"] = "first"
    hits: tuple[str, ...] = ("chunk",)


@dataclass(frozen=True, slots=True)
class SearchOnly:
    """Read by a search or a measurement; decides no file."""


@dataclass(frozen=True, slots=True)
class RunOnly:
    """Read while a step runs (a limit, a price, the address of a server); decides no file."""


@dataclass(frozen=True, slots=True, init=False)
class ReadBy:
    """Decides only the files of the named steps; without this marker, those of every step of its settings."""

    steps: tuple[str, ...]

    def __init__(self, *steps: str) -> None:
        object.__setattr__(self, "steps", steps)


Marker = RecipePath | ModelRef | Ref | SearchOnly | RunOnly | ReadBy
_MARKERS = typing.get_args(Marker)
_S = TypeVar("_S", bound="Spec")


@dataclass(frozen=True, slots=True)
class Leaf:
    """A value of a settings object that is itself no settings object, list or mapping.

    Attributes:
        path: the keys that lead to it, as a recipe writes them.
        markers: of its field, the list it is in and itself.
    """

    path: tuple[str, ...]
    value: Any
    markers: tuple[Marker, ...]

    def marker(self, kind: type[Any]) -> Any:
        """Return its marker of a kind, or None."""
        return next((marker for marker in self.markers if isinstance(marker, kind)), None)


Digest = Callable[[str, ModelRef], str]
"""Gives the hash of a model's content."""


class Spec(BaseModel):
    """Settings as a recipe gives them: frozen, without unknown keys, with marked fields."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    def leaves(self) -> Iterator[Leaf]:
        """Walk over all values, in the order of the fields."""
        found: list[Leaf] = []
        _fold(self, type(self), (), (), found.append, lambda value, markers, parts: None)
        yield from found

    def replaced(self, change: Callable[[Leaf], Any]) -> Self:
        """Return a copy in which every value is what `change` makes of it."""
        copy: Self = _fold(self, type(self), (), (), change, _rebuild)
        return copy

    def identity(self, *, step: str | None = None, digest: Digest | None = None) -> dict[str, Any]:
        """Return what decides the files of a step, or without it of any step, as JSON values.

        Models are in it by the hashes that `digest` gives, without it by their names.
        """

        def of_leaf(leaf: Leaf) -> Any:
            if _decides_nothing(leaf.markers, step):
                return _NOTHING
            model: ModelRef | None = leaf.marker(ModelRef)
            if model is not None and digest is not None and leaf.value is not None:
                return digest(leaf.value, model)
            return to_jsonable_python(leaf.value)

        def of_parts(value: Any, markers: tuple[Marker, ...], parts: list[Any]) -> Any:
            if _decides_nothing(markers, step):
                return _NOTHING
            if isinstance(value, _SEVERAL):
                return [part for part in parts if part is not _NOTHING]
            names = type(value).model_fields if isinstance(value, Spec) else value
            return {str(name): part for name, part in zip(names, parts, strict=True) if part is not _NOTHING}

        found: dict[str, Any] = _fold(self, type(self), (), (), of_leaf, of_parts)
        return found


_UNORDERED = (set, frozenset)
_SEVERAL = (list, tuple, *_UNORDERED)

_NOTHING = object()
"""Stands for a value that decides nothing."""


def _decides_nothing(markers: tuple[Marker, ...], step: str | None) -> bool:
    return any(
        (step is not None and step not in marker.steps)
        if isinstance(marker, ReadBy)
        else isinstance(marker, RecipePath | Ref | SearchOnly | RunOnly)
        for marker in markers
    )


@lru_cache(maxsize=256)
def hints(kind: type[Spec]) -> dict[str, Any]:
    """Return the annotations of a class's fields, with their markers: pydantic keeps the outermost ones only."""
    found = typing.get_type_hints(kind, include_extras=True)
    return {name: found[name] for name in kind.model_fields}


def _fold(
    value: Any,
    annotation: Any,
    path: tuple[str, ...],
    markers: tuple[Marker, ...],
    of_leaf: Callable[[Leaf], Any],
    of_parts: Callable[[Any, tuple[Marker, ...], list[Any]], Any],
) -> Any:
    """Return what `of_parts` makes of a value, its markers, and what its parts became; or `of_leaf` of a leaf."""
    annotation, markers = _unwrapped(annotation, value, markers)
    parts = _parts(value, annotation)
    if parts is None:
        return of_leaf(Leaf(path, value, markers))
    folded = [_fold(part, inner, (*path, key), markers, of_leaf, of_parts) for key, part, inner in parts]
    return of_parts(value, markers, folded)


def _parts(value: Any, annotation: Any) -> Iterator[tuple[str, Any, Any]] | None:
    """Return key, value and annotation of each part of a value; None where it is a leaf."""
    arguments = typing.get_args(annotation)
    if isinstance(value, Spec):
        fields = type(value).model_fields
        return ((fields[name].alias or name, getattr(value, name), inner) for name, inner in hints(type(value)).items())
    if isinstance(value, Mapping):
        inner = arguments[1] if len(arguments) == 2 else Any
        return ((str(key), item, inner) for key, item in value.items())
    if isinstance(value, _SEVERAL):
        # A set has another order in every process.
        items = sorted(value, key=repr) if isinstance(value, _UNORDERED) else value
        fixed = len(arguments) if Ellipsis not in arguments else 0
        of_all = arguments[0] if arguments else Any
        return ((str(n), item, arguments[n] if n < fixed else of_all) for n, item in enumerate(items))
    return None


def _rebuild(value: Any, _: tuple[Marker, ...], parts: list[Any]) -> Any:
    """Return a value with other parts."""
    if isinstance(value, Spec):
        return value.model_copy(update=dict(zip(type(value).model_fields, parts, strict=True)))
    return dict(zip(value, parts, strict=True)) if isinstance(value, Mapping) else type(value)(parts)


def _unwrapped(annotation: Any, value: Any, markers: tuple[Marker, ...]) -> tuple[Any, tuple[Marker, ...]]:
    """Return the annotation that holds for a value, without `Annotated` and unions, and all markers on the way."""
    while True:
        origin = typing.get_origin(annotation)
        if origin is Annotated:
            annotation, *metadata = typing.get_args(annotation)
            markers = (*markers, *_markers(metadata))
        elif origin is typing.Union or isinstance(annotation, types.UnionType):
            arms = typing.get_args(annotation)
            if value is None:
                # What is not given has the meaning that it would have.
                marked = [typing.get_args(arm)[1:] for arm in arms if typing.get_origin(arm) is Annotated]
                markers = (*markers, *_markers(chain.from_iterable(marked)))
            annotation = next((arm for arm in arms if _fits(value, arm)), arms[0])
        else:
            return annotation, markers


def _markers(metadata: Iterable[Any]) -> Iterator[Marker]:
    """Yield the markers among the metadata of an annotation, which may be written with brackets or without."""
    for item in metadata:
        if isinstance(item, type) and issubclass(item, _MARKERS):
            yield item()
        elif isinstance(item, _MARKERS):
            yield item


def _fits(value: Any, arm: Any) -> bool:
    """Whether a value can be of one of a union's types."""
    origin = typing.get_origin(arm)
    arguments = typing.get_args(arm)
    if origin is Annotated:
        return _fits(value, arguments[0])
    if origin is typing.Union or isinstance(arm, types.UnionType):
        return any(_fits(value, inner) for inner in arguments)
    if origin is Literal:
        return value in arguments
    kind = origin or arm
    return kind is Any or isinstance(value, _ALIKE.get(kind, kind))


# A frozen object keeps its lists as tuples.
_ALIKE: dict[Any, Any] = {dict: Mapping, list: (list, tuple), tuple: (list, tuple), None: type(None)}
