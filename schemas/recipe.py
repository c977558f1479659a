"""The recipe: what to build, from what."""

from __future__ import annotations

import os
import re
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, SerializeAsAny, field_validator, model_validator

from mnemodex.schemas.errors import PluginError, RecipeError, reason
from mnemodex.schemas.kinds import CHUNKERS, ENCODERS, EXTRACTORS, GENERATORS, KINDS, SOURCES, Registry, load
from mnemodex.schemas.manifest import fingerprint
from mnemodex.schemas.pair_sections import GeneratedPairs, PairFile
from mnemodex.schemas.references import check_references, fill_chunker, fill_filter, fill_references
from mnemodex.schemas.sections import LmStates, NgramPairs
from mnemodex.schemas.source_sections import NoSource
from mnemodex.schemas.spec import Leaf, ModelRef, RecipePath, Spec
from mnemodex.schemas.store.object_url import is_url, parse_root
from mnemodex.schemas.validation import validate
from mnemodex.schemas.yaml_file import read_yaml

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,99}")


class IndexSettings(Spec):
    """Settings of an index as the recipe gives them; every kind has its own subclass."""

    type: str


class Recipe(BaseModel):
    """A checked recipe: paths absolute, references filled in, every section in the class of what it names.

    Attributes:
        memory: the folder that is built.
        id_salt: changes every id; the remedy for a collision.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)
    memory: str
    id_salt: str
    source: SerializeAsAny[Spec]
    chunks: SerializeAsAny[Spec]
    embed: dict[str, SerializeAsAny[Spec]]
    indexes: dict[str, SerializeAsAny[IndexSettings]]
    ngram_pairs: dict[str, NgramPairs]
    lm: dict[str, LmStates]
    triples: SerializeAsAny[Spec] | None
    qa_pairs: SerializeAsAny[PairFile | GeneratedPairs] | None = None

    def hash(self) -> str:
        """Return a fingerprint of all that decides the memory's content (not of where it is put)."""
        left_out: dict[str, bool | set[str]] = {"memory": True}
        # Recipes without pairs, or with a file of them, keep the hash that they had before any were generated.
        if self.qa_pairs is None:
            left_out["qa_pairs"] = True
        elif isinstance(self.qa_pairs, PairFile):
            left_out["qa_pairs"] = {"generator"}
        # So do those that leave no documents out.
        if getattr(self.source, "decontaminate", None) is None:
            left_out["source"] = {"decontaminate"}
        return fingerprint(self.model_dump(mode="json", by_alias=True, exclude=left_out))

    def sections(self) -> dict[str, Spec]:
        """Return every settings object by the key at which the recipe has it."""
        named: dict[str, Mapping[str, Spec]] = {
            "embed": self.embed,
            "indexes": self.indexes,
            "ngram_pairs": self.ngram_pairs,
            "lm": self.lm,
        }
        single = {"source": self.source, "chunks": self.chunks, "triples": self.triples, "qa_pairs": self.qa_pairs}
        found = {key: spec for key, spec in single.items() if spec is not None}
        return found | {f"{key}.{name}": spec for key, specs in named.items() for name, spec in specs.items()}


_EMBED: dict[str, dict[str, Any]] = {"minilm": {}}
_INDEXES: dict[str, dict[str, Any]] = {
    "dense": {"type": "dense"},
    "words": {"type": "bm25"},
    "both": {"type": "hybrid", "of": ["dense", "words"], "fuse": "scores", "weights": "auto"},
}
_PAIR_INDEXES: dict[str, dict[str, Any]] = {"qa": {"type": "qa"}}
"""Of a recipe that has pairs and no source."""


class _Written(BaseModel):
    """A recipe as it is written, before the entries of its sections are checked."""

    model_config = ConfigDict(extra="forbid")
    memory: str | None = None
    id_salt: str = ""
    source: dict[str, Any]
    chunks: dict[str, Any] = Field(default_factory=dict)
    embed: dict[str, dict[str, Any]] = Field(default_factory=lambda: dict(_EMBED), min_length=1)
    indexes: dict[str, dict[str, Any]] = Field(default_factory=lambda: dict(_INDEXES))
    ngram_pairs: dict[str, dict[str, Any]] = Field(default_factory=dict)
    lm: dict[str, dict[str, Any]] = Field(default_factory=dict)
    triples: dict[str, Any] | None = None
    qa_pairs: dict[str, Any] | None = None

    @model_validator(mode="before")
    @classmethod
    def _pairs_alone(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("qa_pairs") is not None and data.get("source") is None:
            return {"indexes": _PAIR_INDEXES, **data, "source": {"format": "empty"}}
        return data

    @field_validator("source", mode="before")
    @classmethod
    def _short_source(cls, source: Any) -> Any:
        return {"path": source} if isinstance(source, str) else source

    @field_validator("embed", "indexes", "ngram_pairs", "lm")
    @classmethod
    def _names(cls, section: dict[str, Any]) -> dict[str, Any]:
        for name in section:
            if not _NAME.fullmatch(name):
                raise ValueError(
                    f"the name {name[:100]!r} is used as a folder and in SQL: lower-case letters a to z, digits, _ and "
                    "-, a letter first, 100 characters at most"
                )
        return section


def load_recipe(path: Path, *, complete: Callable[[dict[str, Any]], dict[str, Any]] | None = None) -> Recipe:
    """Read a recipe file; its relative paths become absolute, and `memory` gets its default next to it.

    Sections that it leaves out are added by `complete`.

    Raises:
        RecipeError: the file is missing, not YAML, or has an unknown key or bad value.
    """
    data = read_yaml(path)
    if complete is not None and isinstance(data, dict):
        data = complete(data)
    return parse_recipe(data, name=str(path), base=path.parent, stem=path.stem)


def parse_recipe(data: Any, *, name: str, base: Path, stem: str = "memory") -> Recipe:
    """Check a recipe that is a mapping.

    Args:
        data: what the YAML holds.
        name: how errors call the recipe.
        base: the folder that relative paths start from.
        stem: the default memory is `memories/STEM`.

    Raises:
        RecipeError: a key or value is wrong, a name is of nothing, or indexes are made of each other.
        PluginError: a package that declares what is named cannot be loaded.
    """
    if not isinstance(data, dict):
        raise RecipeError(f"{name}: a recipe is a mapping that has at least `source: {{path: …}}`")
    written = validate(_Written, data, name=name)
    memory = written.memory or f"memories/{stem}"
    is_remote = "://" in memory or is_url(memory)
    found = _Sections(name, base)
    recipe = Recipe(
        memory=str(parse_root(memory) if is_remote else _under(base, memory, f"{name}: memory")[0]),
        id_salt=written.id_salt,
        source=found.one(SOURCES, "source", written.source, key="format", default="jsonl"),
        chunks=found.one(CHUNKERS, "chunks", written.chunks, key="by", default="document"),
        embed={
            entry: found.one(ENCODERS, f"embed.{entry}", given, key="encoder", default=_encoder(given))
            for entry, given in written.embed.items()
        },
        indexes={
            entry: found.one(KINDS, f"indexes.{entry}", given, key="type") for entry, given in written.indexes.items()
        },
        ngram_pairs={
            entry: found.of(NgramPairs, f"ngram_pairs.{entry}", given) for entry, given in written.ngram_pairs.items()
        },
        lm={entry: found.of(LmStates, f"lm.{entry}", given) for entry, given in written.lm.items()},
        triples=found.optional(EXTRACTORS, "triples", written.triples, key="extractor"),
        qa_pairs=found.optional(GENERATORS, "qa_pairs", written.qa_pairs, key="generator"),
    )
    if (
        recipe.qa_pairs is not None
        and not isinstance(recipe.qa_pairs, PairFile)
        and isinstance(recipe.source, NoSource)
    ):
        raise RecipeError(
            f"{name}: qa_pairs: generator {recipe.qa_pairs.generator} makes pairs of documents, and the recipe has "
            "none; give `source: {path: …}`"
        )
    filled = recipe.model_copy(update={"indexes": fill_references(recipe, name=name)})
    filled = filled.model_copy(update={"chunks": fill_chunker(filled, name=name)})
    check_references(filled, name=name)
    filled = filled.model_copy(update={"qa_pairs": fill_filter(filled, name=name)})
    for index, settings in filled.indexes.items():
        try:
            with KINDS.calling(settings.type) as kind:
                if isinstance(filled.source, NoSource) and kind.hits != "pair":
                    raise RecipeError("needs documents, and the recipe has none; give `source: {path: …}`")
                if kind.check:
                    load(kind.check)(index, settings, filled)
        except RecipeError as error:
            raise type(error)(f"{name}: indexes.{index}: {error}") from error
    return filled


def _encoder(given: dict[str, Any]) -> str:
    return "file" if "from" in given or "path" in given else "sentence_transformers"


_BASES: dict[Registry[Any], tuple[type[Spec], ...]] = {KINDS: (IndexSettings,), GENERATORS: (GeneratedPairs, PairFile)}
"""What settings of an entry are a subclass of, where not any will do."""


class _Sections:
    """Makes the settings objects of a recipe's sections, with absolute paths; for the arguments see `parse_recipe`."""

    def __init__(self, name: str, base: Path) -> None:
        self._name = name
        self._base = base

    def one(self, registry: Registry[Any], at: str, data: dict[str, Any], *, key: str, default: Any = None) -> Any:
        """Return the settings of what a key of them names."""
        named = data.get(key) if data.get(key) is not None else default
        if named is None:
            known = ", ".join(registry.names())
            raise RecipeError(f"{self._name}: {at}: the key {key!r} is missing; known values: {known}")
        try:
            kind = self._settings_class(registry, named)
        except RecipeError as error:
            raise type(error)(f"{self._name}: {at}: {error}") from error

        def elsewhere(unknown: str) -> str:
            others = " or ".join(f"`{key}: {other}`" for other in registry.having(unknown))
            if not others:
                return ""
            return f"it is a key of {others}, not of `{key}: {named}`" if key in data else f"add {others}, which has it"

        return self.of(kind, at, data, elsewhere)

    def _settings_class(self, registry: Registry[Any], named: Any) -> type[Spec]:
        entry = registry.find(named)
        kind, bases = load(entry.settings), _BASES.get(registry, (Spec,))
        if not (isinstance(kind, type) and issubclass(kind, bases)):
            msg = (
                f"{registry.noun} {named!r}: {entry.settings} of {entry.version} is no subclass of "
                f"{bases[0].__name__}; update or uninstall the package"
            )
            raise PluginError(msg)
        return kind

    def optional(self, registry: Registry[Any], at: str, data: dict[str, Any] | None, *, key: str) -> Any:
        """Return the settings of a section that may be missing; a file needs no name."""
        if data is None:
            return None
        default = "file" if "from" in data or "path" in data else None
        return self.one(registry, at, data, key=key, default=default)

    def of(self, kind: type[Any], at: str, data: dict[str, Any], elsewhere: Callable[[str], str] | None = None) -> Any:
        """Return settings of a class, checked, their paths absolute."""
        made = validate(kind, data, name=self._name, at=at, elsewhere=elsewhere)
        return made.replaced(partial(self._absolute, at))

    def _absolute(self, at: str, leaf: Leaf) -> Any:
        if not isinstance(leaf.value, str):
            return leaf.value
        # A model may be a folder near the recipe; hub ids stay as they are.
        is_model = bool(leaf.marker(ModelRef)) and not leaf.value.startswith("pkg:")
        if not is_model and not leaf.marker(RecipePath):
            return leaf.value
        if is_url(leaf.value):
            return leaf.value
        local, exists = _under(self._base, leaf.value, f"{self._name}: {'.'.join((at, *leaf.path))}")
        return leaf.value if is_model and not exists else str(local)


def _under(base: Path, path: str, at: str) -> tuple[Path, bool]:
    """Return a path below the recipe's folder, and whether it is there; one of no file is a `RecipeError`."""
    try:
        local = (base / Path(path).expanduser()).absolute()
        if "\0" in os.fsdecode(os.fsencode(local)):
            raise ValueError("it holds a null character")
        return local, local.exists()
    except RuntimeError as error:
        raise RecipeError(f"{at}: path {path!r}: there is no such user; write the path out") from error
    except (OSError, ValueError) as error:
        problem = f"no file can be read there ({reason(error)}); correct it"
        raise RecipeError(f"{at}: path {path[:200]!r}: {problem}") from error
