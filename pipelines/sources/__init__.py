"""Sources: files of the user that become documents."""

from __future__ import annotations

from collections import Counter
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from mnemodex.pipelines.sources.base import COMPRESSIONS
from mnemodex.pipelines.sources.files import FileSource
from mnemodex.pipelines.sources.formats import FORMATS, ROWS, format_of, known_formats
from mnemodex.pipelines.sources.found import Found, find_files
from mnemodex.pipelines.sources.jsonl import CORPORA
from mnemodex.pipelines.sources.mixed import MixedSource
from mnemodex.pipelines.sources.packing import Packing
from mnemodex.schemas.errors import SourceError
from mnemodex.schemas.kinds import SOURCES, load
from mnemodex.schemas.source_sections import Source as Settings
from mnemodex.schemas.source_sections import shown_paths

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from mnemodex.pipelines.sources.base import Source
    from mnemodex.schemas.store.object_url import Root

_REMEDY = "correct source.path, or name a file"


def open_source(settings: Any, packing: Packing | None = None) -> Source:
    """Open files of documents, else raise `SourceError` or, for an unknown format, `RecipeError`.

    Args:
        settings: a `Source`, or the settings of a plug-in's format.
        packing: how large its splits are.
    """
    kind: Any = load(SOURCES.find(settings.format).make) if settings.format is not None else None
    if kind is not None and not (isinstance(kind, type) and issubclass(kind, FileSource)):
        with SOURCES.calling(settings.format):
            source: Source = kind(settings)
        return source
    found = find_files(settings.path)
    kind, paths = _choose(found, settings, kind)
    own = {name: getattr(settings, name) for name in type(settings).model_fields.keys() - Settings.model_fields.keys()}
    opened: FileSource = kind(found.root, paths, fields=settings.fields, packing=packing or Packing(), **own)
    opened.skipped = _count(set(found.files).difference(paths))
    return opened


def _choose(found: Found, settings: Any, said: type[FileSource] | None) -> tuple[type[FileSource], list[str]]:
    """Return of which format a source is, and which of its files are documents; `said` goes before their names."""
    root, files, named, single = found
    kind = said
    if named and single:
        kind = said or FORMATS.get(format_of(files[0]) or "")
        if kind is None:
            problem = f"the name is of no known format ({known_formats()}); rename the file, or set source.format"
            raise SourceError(f"{shown_paths(settings.path)}: {problem}")
        return kind, files
    if single:
        kind = said or _kind_of_folder(root, files)
        paths = kind.choose(root, files)
    else:
        paths = sorted(named.union(said.choose(root, files))) if said else MixedSource.choose(root, files)
        formats = {format_of(path) or "" for path in paths}
        kind = said or (FORMATS[next(iter(formats))] if len(formats) == 1 else MixedSource)
    if not paths:
        there = _count(files) or "it is empty"
        format_ = f"the format {settings.format}" if said else f"a known format ({known_formats()})"
        where = f"{root}: the folder has" if single else f"{shown_paths(settings.path)}: there is"
        raise SourceError(f"{where} no file of {format_}: {there}; {_REMEDY}")
    return kind, paths


def _count(files: Collection[str]) -> str:
    """Return how many files there are and their endings, as text: "5 files: .csv 3, .pdf 2"; empty for none."""
    if not files:
        return ""
    endings = Counter(_ending(PurePosixPath(path).suffixes) for path in files)
    listed = ", ".join(f"{ending} {count}" for ending, count in sorted(endings.items(), key=lambda one: (-one[1], one)))
    return f"{len(files)} file{'s' if len(files) > 1 else ''}: {listed}"


def _ending(suffixes: Sequence[str]) -> str:
    used = suffixes[-2:] if "".join(suffixes[-1:]).lower() in COMPRESSIONS else suffixes[-1:]
    return "".join(used).lower() or "without an ending"


def _kind_of_folder(path: Root, files: Sequence[str]) -> type[FileSource]:
    """Return the format of a folder; documents of several formats are read together, rows only of one."""
    if any(name in CORPORA for name in files):
        return FORMATS["jsonl"]
    there = set(map(format_of, files))
    chosen = {name: paths for name, kind in FORMATS.items() if name in there and (paths := kind.choose(path, files))}
    if ROWS.keys() & chosen.keys():
        # A readme and scripts next to the data are no documents.
        chosen.pop("code", None)
        if all(PurePosixPath(name).stem.lower() == "readme" for name in chosen.get("text", ())):
            chosen.pop("text", None)
    if not chosen:
        count = _count(files) or "it is empty"
        raise SourceError(f"{path}: the folder has no file of a known format ({known_formats()}): {count}; {_REMEDY}")
    if len(chosen) > 1 and ROWS.keys() & chosen.keys():
        examples = ", ".join(f"{name}: {paths[0]}" for name, paths in chosen.items())
        problem = f"the folder has files of several formats ({examples})"
        raise SourceError(f"{path}: {problem}; name one with source.format, or `mixed` to read all of them")
    return FORMATS[next(iter(chosen))] if len(chosen) == 1 else MixedSource
