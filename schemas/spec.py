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
        part: what of the model counts: all of its files, only what decides the tokens of its tokenizer, or the name,
            version and configuration of a spaCy pipeline.
    """

    part: Literal["weights", "tokenizer", "spacy"] = "weights"


@dataclass(frozen=True, slots=True)
class Ref:
    """The name of an entry of another section. A name decides nothing: what it names is read as an input.

    Attributes:
        section: where the name is looked up.
        type: the index type that it must have; any without it.
        default: what a missing name means: the first entry, the only one of the type, or nothing.
    """

    section: Section
    type: str | None = None
    default: Literal["first", "only", "none"] = "first"


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
        path: the keys that lead to it.
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
        return _leaves(self, type(self), (), ())

    def replaced(self, change: Callable[[Leaf], Any]) -> Self:
        """Return a copy in which every value is what `change` makes of it."""
        copy: Self = _replaced(self, type(self), (), (), change)
        return copy

    def identity(self, *, step: str | None = None, digest: Digest | None = None) -> dict[str, Any]:
        """Return what decides the files of a step, or without it of any step, as JSON values.

        Models are in it by the hashes that `digest` gives, without it by their names.
        """
        found: dict[str, Any] = _decisive(self, type(self), (), step, digest)
        return found


_UNORDERED = (set, frozenset)
_SEVERAL = (list, tuple, *_UNORDERED)

_NOTHING = object()
"""Stands for a value that decides nothing."""


def _decisive(value: Any, annotation: Any, markers: tuple[Marker, ...], step: str | None, digest: Digest | None) -> Any:
    annotation, markers = _unwrapped(annotation, value, markers)
    if any(_decides_nothing(marker, step) for marker in markers):
        return _NOTHING
    inside = list(_parts(value, annotation, (), markers))
    if isinstance(value, (Spec, Mapping, *_SEVERAL)):
        found = [
            _decisive(part, inner[0], inner[2], step, digest) for part, inner in inside if isinstance(inner, tuple)
        ]
        if isinstance(value, _SEVERAL):
            return [item for item in found if item is not _NOTHING]
        names = type(value).model_fields if isinstance(value, Spec) else value
        return {str(name): item for name, item in zip(names, found, strict=True) if item is not _NOTHING}
    model = next((marker for marker in markers if isinstance(marker, ModelRef)), None)
    return digest(value, model) if model and digest and value is not None else to_jsonable_python(value)


def _decides_nothing(marker: Marker, step: str | None) -> bool:
    if isinstance(marker, ReadBy):
        return step is not None and step not in marker.steps
    return isinstance(marker, RecipePath | Ref | SearchOnly | RunOnly)


@lru_cache(maxsize=256)
def hints(kind: type[Spec]) -> dict[str, Any]:
    """Return the annotations of a class's fields, with their markers: pydantic keeps the outermost ones only."""
    found = typing.get_type_hints(kind, include_extras=True)
    return {name: found[name] for name in kind.model_fields}


def _leaves(value: Any, annotation: Any, path: tuple[str, ...], markers: tuple[Marker, ...]) -> Iterator[Leaf]:
    for part, leaf in _parts(value, annotation, path, markers):
        if isinstance(leaf, Leaf):
            yield leaf
        else:
            yield from _leaves(part, *leaf)


def _replaced(
    value: Any, annotation: Any, path: tuple[str, ...], markers: tuple[Marker, ...], change: Callable[[Leaf], Any]
) -> Any:
    annotation, markers = _unwrapped(annotation, value, markers)
    parts = [
        change(leaf) if isinstance(leaf, Leaf) else _replaced(part, *leaf, change)
        for part, leaf in _parts(value, annotation, path, markers)
    ]
    if isinstance(value, Spec):
        return value.model_copy(update=dict(zip(type(value).model_fields, parts, strict=True)))
    if isinstance(value, Mapping):
        return dict(zip(value, parts, strict=True))
    if isinstance(value, _SEVERAL):
        return type(value)(parts)
    return parts[0]


_Inside = tuple[Any, tuple[str, ...], tuple[Marker, ...]]


def _parts(
    value: Any, annotation: Any, path: tuple[str, ...], markers: tuple[Marker, ...]
) -> Iterator[tuple[Any, Leaf | _Inside]]:
    """Yield the parts of a value with what is known of each, or the value itself as a leaf."""
    annotation, markers = _unwrapped(annotation, value, markers)
    arguments = typing.get_args(annotation)
    if isinstance(value, Spec):
        for name, inner in hints(type(value)).items():
            yield getattr(value, name), (inner, (*path, name), markers)
    elif isinstance(value, Mapping):
        inner = arguments[1] if len(arguments) == 2 else Any
        for key, item in value.items():
            yield item, (inner, (*path, str(key)), markers)
    elif isinstance(value, _SEVERAL):
        # A set has another order in every process.
        for number, item in enumerate(sorted(value, key=repr) if isinstance(value, _UNORDERED) else value):
            place = number if len(arguments) > number and Ellipsis not in arguments else 0
            yield item, (arguments[place] if arguments else Any, (*path, str(number)), markers)
    else:
        yield value, Leaf(path, value, markers)


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
