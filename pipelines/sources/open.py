"""Opening a source: which format a path has."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from mnemodex.pipelines.sources.files import FileSource, files_below
from mnemodex.pipelines.sources.hipporag import HipporagSource
from mnemodex.pipelines.sources.jsonl import CORPORA, JsonlSource
from mnemodex.pipelines.sources.text import TextSource
from mnemodex.schemas.errors import SourceError
from mnemodex.schemas.kinds import SOURCES, load

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnemodex.pipelines.sources.base import Source

FORMATS: dict[str, type[FileSource]] = {
    "jsonl": JsonlSource,
    "text": TextSource,
    "hipporag": HipporagSource,
}
"""The formats that are told from the path."""


def open_source(settings: Any, *, rows: int = 2048, size: int = 32 << 20) -> Source:
    """Open a file or folder of documents.

    Args:
        settings: a `Source`, or what the format of a plug-in takes.
        rows: most rows (lines, list elements, files) of a split.
        size: bytes that end a split.

    Raises:
        SourceError: there is no such path, or no file of a known format.
        RecipeError: there is no such format.
    """
    kind = load(SOURCES.find(settings.format).make) if settings.format is not None else None
    if kind is not None and not (isinstance(kind, type) and issubclass(kind, FileSource)):
        made: Source = kind(settings)
        return made
    path = Path(settings.path)
    if path.is_dir():
        root, found = path, files_below(path)
        kind = kind or FORMATS[_of_folder(path, found)]
        paths = kind.choose(path, found)
    elif path.is_file():
        root, paths = path.parent, [path.name]
        kind = kind or FORMATS[_of_file(path)]
    else:
        msg = f"{path}: no such file or folder; correct source.path"
        raise SourceError(msg)
    if not paths:
        name = settings.format or next(name for name, known in FORMATS.items() if known is kind)
        msg = f"{path}: no file of the format {name} is in the folder; correct source.path, or name a file"
        raise SourceError(msg)
    opened: Source = kind(root, paths, fields=settings.fields, rows=rows, size=size)
    return opened


def _of_file(path: Path) -> str:
    for name, kind in FORMATS.items():
        if path.name.lower().endswith(kind.endings):
            return name
    msg = f"{path}: its name tells no known format ({_known()}); rename it, or set source.format"
    raise SourceError(msg)


def _of_folder(path: Path, files: Sequence[str]) -> str:
    if any(name in CORPORA for name in files):
        return "jsonl"
    found = {name: chosen for name, kind in FORMATS.items() if (chosen := kind.choose(path, files))}
    if len(found) > 1:
        # A note on the data is not a part of it.
        notes = [name for name in found.get("text", ()) if PurePosixPath(name).stem.lower() == "readme"]
        if notes == found.get("text"):
            del found["text"]
    if not found:
        msg = f"{path}: the folder has no file of a known format ({_known()}); correct source.path, or name a file"
        raise SourceError(msg)
    if len(found) > 1:
        seen = ", ".join(f"{name}: {chosen[0]}" for name, chosen in found.items())
        msg = f"{path}: the folder has files of several formats ({seen}); name one with source.format"
        raise SourceError(msg)
    return next(iter(found))


def _known() -> str:
    return "; ".join(f"{name}: {' '.join(kind.endings)}" for name, kind in FORMATS.items())
