"""A bounded sample of a recipe's own source, written as the source of small builds."""

from __future__ import annotations

import json
import random
from collections import deque
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from mnemodex.pipelines.qa.rows import PairRow, read_pairs
from mnemodex.pipelines.sources import open_source
from mnemodex.pipelines.sources.base import Record, Split
from mnemodex.pipelines.sources.files import FileSource
from mnemodex.pipelines.sources.packing import Packing
from mnemodex.schemas.errors import RecipeError, SourceError
from mnemodex.schemas.pair_sections import PairFile
from mnemodex.schemas.sections import TripleFile
from mnemodex.schemas.source_sections import NoSource, Source, shown_paths

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mnemodex.schemas.recipe import Recipe

_STRETCH = 8 << 20
"""Bytes of a file from which one place is drawn."""
_PLACES = 64
"""Places of a source that are looked at first."""
_LINES = 2_000_000
"""Lines of a file of triples or pairs that are looked through for those of the sample."""
_NAMES = {name: f"mnemodex_{name}" for name in ("key", "title", "text")}
"""Fields of the sample, which no metadata is called by."""


class Sample(NamedTuple):
    """Documents of a source, or pairs of a recipe without one, as lines of JSON.

    Attributes:
        lines: of the sample, without their ends.
        keys: of the documents.
        drawn: how they were chosen, in words.
        metadata: the recipe's types of metadata.
    """

    lines: list[str]
    keys: list[str]
    drawn: str
    metadata: dict[str, str] | None


def draw(recipe: Recipe, most: int, *, seed: int = 0) -> Sample:
    """Draw at most so many documents from random places of a recipe's source.

    A compressed file is read from its beginning, and other formats than ours in their order. Of a recipe without
    documents, these are the first pairs of its file.

    Raises:
        SourceError: the source is missing or cannot be read, or has no documents.
    """
    source: Any = recipe.source
    if isinstance(source, NoSource):
        pairs = recipe.qa_pairs
        assert isinstance(pairs, PairFile)  # noqa: S101 - a recipe without documents is refused otherwise
        return Sample(_first_pairs(Path(pairs.path), most), [], "pairs, the first ones of the file", None)
    opened = open_source(source, Packing())
    if isinstance(opened, FileSource):
        records, drawn = _from_places(opened, seed), "documents from random places of the source"
    else:
        records = (record for split in opened.plan() for record in opened.read(split))
        drawn = "documents, the first ones of the source"
    lines, keys = [], []
    for record in records:
        if isinstance(record, Record) and (record.title.strip() or record.text.strip()):
            named = zip(_NAMES.values(), (record.key, record.title, record.text), strict=True)
            lines.append(json.dumps({**record.metadata, **dict(named)}))
            keys.append(record.key)
            if len(lines) == most:
                break
    if not lines:
        where = shown_paths(source.path)
        raise SourceError(f"{where}: no documents; a plan needs some, so correct source.path or source.fields")
    return Sample(lines, keys, drawn, getattr(source, "metadata", None))


def _from_places(source: FileSource, seed: int) -> Iterator[Any]:
    """Yield the records of pieces of the source, one of each place in turn; the places are in random order."""
    places = list(source.stretches(_STRETCH))
    random.Random(seed).shuffle(places)  # noqa: S311 - not for security
    waiting, open_places = deque(places), deque(source.scan(place) for place in places[:_PLACES])
    for _ in range(len(open_places)):
        waiting.popleft()
    while open_places:
        pieces = open_places.popleft()
        piece = next(pieces, None)
        if piece is None:
            if waiting:
                open_places.append(source.scan(waiting.popleft()))
            continue
        yield from source.read(Split("sample", (piece,)))
        open_places.append(pieces)


def _first_pairs(path: Path, most: int) -> list[str]:
    rows = islice((row for row in read_pairs(path) if isinstance(row, PairRow)), most)
    # Passages are not part of the sample.
    lines = [_pair(row._replace(passage="")) for row in rows]
    if not lines:
        raise SourceError(f"{path}: no question-answer pairs; a plan needs some, so correct qa_pairs.from")
    return lines


def _pair(row: PairRow) -> str:
    written = {"id": row.key, "question": row.question, "answers": row.answers, "passage_id": row.passage or None}
    return json.dumps(written)


def sample_recipe(recipe: Recipe, sample: Sample, documents: int, folder: Path) -> dict[str, Any]:
    """Write the first documents of a sample into a folder; return the recipe of a build of them, as it is written.

    Indexes over vectors get the factory that fits any number of rows: what they take is measured by itself.

    Raises:
        RecipeError: the triples are in a file that cannot be sampled.
    """
    data = recipe.model_dump(mode="json", by_alias=True)
    data["memory"] = str(folder / "memory")
    for settings in data["indexes"].values():
        if settings.get("engine") == "faiss":
            settings["factory"] = "auto"
        if settings.get("abstain") is not None:
            settings["abstain"] = None
    chosen = sample.lines[:documents]
    if not sample.keys:
        data["qa_pairs"] |= {"from": _write(folder / "pairs.jsonl", chosen)}
        return data
    path = _write(folder / "documents.jsonl", chosen)
    source = Source(path=path, fields=_NAMES, format="jsonl", metadata=sample.metadata, max_errors="100%")
    data["source"] = source.model_dump(mode="json")
    keys = set(sample.keys[:documents])
    if isinstance(recipe.qa_pairs, PairFile):
        rows = _limited(read_pairs(Path(recipe.qa_pairs.path)))
        pairs = [_pair(row) for row in rows if isinstance(row, PairRow) and row.passage in keys]
        data["qa_pairs"] |= {"from": _write(folder / "pairs.jsonl", pairs), "max_errors": "100%"}
    if isinstance(recipe.triples, TripleFile):
        lines = list(_triples_of(Path(recipe.triples.path), keys))
        data["triples"] |= {"from": _write(folder / "triples.jsonl", lines), "max_errors": "100%"}
    return data


def of_texts(recipe: Recipe) -> Recipe:
    """Return the part of a recipe that no model reads: documents, chunks and the indexes of their words."""
    kept = {
        name: settings
        for name, settings in recipe.indexes.items()
        if not any(getattr(settings, made_of, None) for made_of in ("embed", "lm", "of"))
    }
    left_out: dict[str, Any] = {"lm": {}, "ngram_pairs": {}, "triples": None, "qa_pairs": None}
    return recipe.model_copy(update={"indexes": kept, **left_out})


def _triples_of(path: Path, keys: set[str]) -> Iterator[str]:
    from mnemodex.pipelines.sources.reading import read_lines

    if ".jsonl" not in path.suffixes:
        raise RecipeError(f"{path}: a plan samples triples of JSON lines only; write the file as .jsonl")
    for line in _limited(read_lines(path)):
        if line.strip():
            row = json.loads(line)
            if isinstance(row, dict) and str(row.get("id")) in keys:
                yield json.dumps(row)


def _limited(rows: Iterator[Any]) -> Iterator[Any]:
    return islice(rows, _LINES)


def _write(path: Path, lines: Sequence[str]) -> str:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return str(path)
