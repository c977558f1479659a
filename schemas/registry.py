"""Entries that a recipe can name, ours and those of plug-ins: what one is, and how it is found and loaded."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from pydantic import BeforeValidator

from mnemodex.schemas.errors import MnemodexError, PluginError, RecipeError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint


@dataclass(frozen=True, slots=True)
class Component:
    """A chunker, an encoder, an extractor, a generator or a source format.

    Attributes:
        settings: the class of its settings, a `Spec`.
        make: what makes one; for what it is given, see the package of the built-in ones.
        version: of the package that declares it, which decides what it makes; empty for ours.
        steps: of a chunker that needs more than texts, in place of `make`: a function of a `PlanContext` that yields
            the `Step`s, the last of which writes chunks.
    """

    settings: str
    make: str
    version: str = ""
    steps: str = ""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of memory: everything that is known of an index type.

    Attributes:
        settings: the class of its settings, an `IndexSettings`.
        retriever: the class that opens an index; called with a `Memory` and an `IndexEntry`.
        indexer: the class that builds shards, an `Indexer`; empty where `steps` says all, or there are no files.
        steps: a function of the index's name, its settings and a `PlanContext` that yields the `Step`s; by default
            those that the indexer needs.
        tables: a function of the index's name and its settings that gives the tables of its steps: `TableKey` to
            `TableSpec`.
        check: a function of the index's name, its settings and the recipe that refuses what cannot be built.
        hits: the id space of its hits.
        renderer: the class that prints what `search` finds; called with a `SearchRequest`.
        evaluator: the class that measures for `eval` and, where it has the method `measure`, for `compare`; called
            with a `Memory`, an index's name and the options.
        searched_in_builds: whether its retriever reads nothing but shards, vectors, chunks, documents and pairs, so
            that a step of the build that makes it can search it.
        version: of the package that declares it; empty for ours.
    """

    settings: str
    retriever: str
    indexer: str = ""
    steps: str = ""
    tables: str = ""
    check: str = ""
    hits: str = "chunk"
    renderer: str = "mnemodex.pipelines.commands.rendering:ChunkRenderer"
    evaluator: str = "mnemodex.pipelines.commands.evaluation:QueryEvaluator"
    searched_in_builds: bool = False
    masks: bool = False
    version: str = ""


_E = TypeVar("_E", bound=Component | Kind)


class Registry(Generic[_E]):
    """Entries of one class by name: ours, and those of a group of entry points; messages call them by the noun."""

    def __init__(self, group: str, noun: str, kind: type[_E], built_in: Mapping[str, _E]) -> None:
        self.group = group
        self.noun = noun
        self._kind = kind
        self._built_in = built_in

    @cached_property
    def _points(self) -> dict[str, list[EntryPoint]]:
        """The entry points of installed packages, by name."""
        from importlib.metadata import entry_points

        found: dict[str, list[EntryPoint]] = {}
        for point in entry_points(group=self.group):
            found.setdefault(point.name, []).append(point)
        return found

    def names(self) -> list[str]:
        """Return the names of all entries, ours first."""
        ours = [name for name, entry in self._built_in.items() if _can_be_named(entry)]
        return [*ours, *sorted(self._points.keys() - self._built_in.keys())]

    def having(self, key: str) -> list[str]:
        """Return the names of those of our entries whose settings have a key, as a recipe writes it."""
        ours = {name: load(self._built_in[name].settings) for name in self.names() if name in self._built_in}
        return [
            name
            for name, settings in ours.items()
            if any(key == (field.alias or own) for own, field in settings.model_fields.items())
        ]

    def find(self, name: Any) -> _E:
        """Return an entry by its name, which is what a user wrote and may be anything.

        Raises:
            RecipeError: there is no such entry; the nearest name is suggested.
            PluginError: two packages declare it, or the package that does cannot be loaded.
        """
        if not isinstance(name, str) or (name not in self._built_in and name not in self._points):
            raise self._unknown(name)
        if name in self._built_in and name not in self._points:
            return self._built_in[name]
        first, *others = self._points[name]
        if others or name in self._built_in:
            packages = [_package(point) for point in self._points[name]]
            by = " and ".join([*(["mnemodex"] if name in self._built_in else []), *packages])
            raise PluginError(f"{self.noun} {name!r} is declared by {by}; uninstall all but one")
        return self._load(first)

    @contextmanager
    def calling(self, name: Any, *passing: type[Exception]) -> Iterator[_E]:
        """Give an entry, to call what it names; what the code of its package raises is one message.

        Args:
            name: of the entry.
            passing: exceptions that are not errors; as ours, they go through.

        Raises:
            PluginError: the code of a package raised something.
        """
        entry = self.find(name)
        try:
            yield entry
        except Exception as error:
            if not entry.version or isinstance(error, (MnemodexError, *passing)):
                raise
            msg = (
                f"{self.noun} {name!r}: the package {entry.version} failed ({type(error).__name__}: {error}); update "
                "or uninstall it"
            )
            raise PluginError(msg) from error

    def _load(self, point: EntryPoint) -> _E:
        try:
            entry = point.load()
        except Exception as error:
            # Whatever the code of others raises is one message.
            raise PluginError(
                f"{self.noun} {point.name!r}: the package {_package(point)} cannot be loaded ({type(error).__name__}: "
                f"{error}); update or uninstall it"
            ) from error
        if not isinstance(entry, self._kind):
            raise PluginError(
                f"{self.noun} {point.name!r}: {point.value} of {_package(point)} is a {type(entry).__name__}, not a "
                f"mnemodex.schemas.kinds.{self._kind.__name__}; update or uninstall the package"
            )
        return replace(entry, version=_package(point))

    def _unknown(self, name: Any) -> RecipeError:
        near = difflib.get_close_matches(str(name), self.names(), n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(self.names())}"
        return RecipeError(
            f"unknown {self.noun} {name!r}; {hint} (other {self.noun}s come with packages that declare the entry point "
            f"{self.group})"
        )


def _can_be_named(entry: Component | Kind) -> bool:
    """Return whether a recipe can name an entry: objects that a caller passes cannot be made."""
    return not isinstance(entry, Component) or bool(entry.make or entry.steps)


def _package(point: EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist else point.value


def choose(registry: Registry[Any], *, key: str, default: str | None = None) -> BeforeValidator:
    """Return what reads settings of an entry, for a field that takes those of any: a key of them names the entry."""

    def read(data: Any) -> Any:
        if not isinstance(data, Mapping):
            return data
        return load(registry.find(data.get(key) or default).settings).model_validate(data)

    return BeforeValidator(read)


def load(dotted: str) -> Any:
    """Import what `module:name` names; a package of others that cannot be loaded is a `PluginError`."""
    module, _, name = dotted.partition(":")
    try:
        return getattr(import_module(module), name)
    except MnemodexError:
        raise
    except Exception as error:
        if module.partition(".")[0] == "mnemodex":
            raise
        # Whatever the code of others raises is one message.
        raise PluginError(
            f"{dotted} cannot be loaded ({type(error).__name__}: {error}); update or uninstall the package that "
            "declares it"
        ) from error
