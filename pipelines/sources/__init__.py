"""Sources: files of the user that become documents."""

from __future__ import annotations

import glob
import os
import re
from collections import Counter
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from mnemodex.pipelines.sources.base import COMPRESSIONS
from mnemodex.pipelines.sources.files import FileSource
from mnemodex.pipelines.sources.formats import FORMATS, ROWS, format_of, known_formats
from mnemodex.pipelines.sources.jsonl import CORPORA
from mnemodex.pipelines.sources.mixed import MixedSource
from mnemodex.pipelines.sources.packing import Packing
from mnemodex.pipelines.sources.reading import absence, list_files
from mnemodex.schemas.errors import SourceError
from mnemodex.schemas.kinds import SOURCES, load
from mnemodex.schemas.sections import Source as Settings

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from mnemodex.pipelines.sources.base import Source

_LONGEST = 300
"""Characters of a path in a message."""
_REMEDY = "correct source.path, or name a file"


def open_source(settings: Any, packing: Packing | None = None) -> Source:
    """Open a file or folder of documents, else raise `SourceError` or, for an unknown format, `RecipeError`.

    Args:
        settings: a `Source`, or the settings of a plug-in's format.
        packing: how large its splits are.
    """
    kind: Any = load(SOURCES.find(settings.format).make) if settings.format is not None else None
    if kind is not None and not (isinstance(kind, type) and issubclass(kind, FileSource)):
        with SOURCES.calling(settings.format):
            source: Source = kind(settings)
        return source
    path, files = Path(settings.path), list[str]()
    if os.path.isdir(path):  # noqa: PTH112 - false for a name that is too long
        root, files = path, list_files(path)
        kind = kind or _kind_of_folder(path, files)
        paths = kind.choose(path, files)
    elif os.path.isfile(path):  # noqa: PTH113 - as above
        root, paths = path.parent, [path.name]
        kind = kind or FORMATS.get(format_of(path.name) or "")
    else:
        raise SourceError(_missing(str(path)))
    if kind is None:
        raise SourceError(
            f"{path}: the name is of no known format ({known_formats()}); rename the file, or set source.format"
        )
    if not paths:
        there = _count(files) or "it is empty"
        raise SourceError(f"{path}: the folder has no file of the format {settings.format}: {there}; {_REMEDY}")
    own = {name: getattr(settings, name) for name in type(settings).model_fields.keys() - Settings.model_fields.keys()}
    opened: FileSource = kind(root, paths, fields=settings.fields, packing=packing or Packing(), **own)
    opened.skipped = _count(set(files).difference(paths))
    return opened


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


def _missing(path: str) -> str:
    """Return what is wrong with a path of nothing."""
    shown = path if len(path) <= _LONGEST else f"{path[:_LONGEST]}…"
    if scheme := re.search(r"(?:^|/)([a-z][a-z0-9+.-]+):/", path):
        problem = f"{scheme[1]}: addresses are not read; download the files, or mount their folder, and name that"
    elif glob.has_magic(path):
        problem = "no such file or folder, and patterns are not expanded; name the folder that holds the files"
    else:
        problem = f"{absence(path)}; correct that, or source.path"
    return f"{shown}: {problem}"


def _kind_of_folder(path: Path, files: Sequence[str]) -> type[FileSource]:
    """Return the format of a folder; documents of several formats are read together, rows only of one."""
    if any(name in CORPORA for name in files):
        return FORMATS["jsonl"]
    chosen = {name: paths for name, kind in FORMATS.items() if (paths := kind.choose(path, files))}
    if ROWS.keys() & chosen.keys():
        # A readme and scripts next to the data are no documents.
        chosen.pop("code", None)
        if all(PurePosixPath(name).stem.lower() == "readme" for name in chosen.get("text", ())):
            chosen.pop("text", None)
    if not chosen:
        there = _count(files) or "it is empty"
        raise SourceError(f"{path}: the folder has no file of a known format ({known_formats()}): {there}; {_REMEDY}")
    if len(chosen) > 1 and ROWS.keys() & chosen.keys():
        examples = ", ".join(f"{name}: {paths[0]}" for name, paths in chosen.items())
        problem = f"the folder has files of several formats ({examples})"
        raise SourceError(f"{path}: {problem}; name one with source.format, or `mixed` to read all of them")
    return FORMATS[next(iter(chosen))] if len(chosen) == 1 else MixedSource
