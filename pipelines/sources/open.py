"""Opening a source: which format a path has."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from mnemodex.pipelines.sources.files import FileSource, files_below
from mnemodex.pipelines.sources.hipporag import HipporagSource
from mnemodex.pipelines.sources.jsonl import CORPORA, JsonlSource
from mnemodex.pipelines.sources.text import TextSource
from mnemodex.schemas.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mnemodex.pipelines.sources.base import Source

FORMATS: dict[str, type[FileSource]] = {
    "jsonl": JsonlSource,
    "text": TextSource,
    "hipporag": HipporagSource,
}


def open_source(
    path: Path, *, fields: Mapping[str, str], format: str | None = None, rows: int = 2048, size: int = 32 << 20
) -> Source:
    """Open a file or folder of documents.

    Args:
        path: the file or folder.
        fields: our field names (key, title, text) to the source's own, where they are not the usual ones.
        format: a name of `FORMATS`; found from the path by default.
        rows: most rows (lines, list elements, files) of a split.
        size: bytes that end a split.

    Raises:
        SourceError: there is no such path, or no file of a known format.
    """
    if format is not None and format not in FORMATS:
        msg = f"source.format: {format!r} is unknown; the formats are {', '.join(FORMATS)}"
        raise SourceError(msg)
    if path.is_dir():
        root, found = path, files_below(path)
        kind = format or _of_folder(path, found)
        paths = FORMATS[kind].choose(path, found)
    elif path.is_file():
        root, paths = path.parent, [path.name]
        kind = format or _of_file(path)
    else:
        msg = f"{path}: no such file or folder; mend source.path"
        raise SourceError(msg)
    if not paths:
        msg = f"{path}: no file of the format {kind} is in the folder; mend source.path, or name a file"
        raise SourceError(msg)
    return FORMATS[kind](root, paths, fields=fields, rows=rows, size=size)


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
        msg = f"{path}: the folder has no file of a known format ({_known()}); mend source.path, or name a file"
        raise SourceError(msg)
    if len(found) > 1:
        seen = ", ".join(f"{name}: {chosen[0]}" for name, chosen in found.items())
        msg = f"{path}: the folder has files of several formats ({seen}); say which is meant with source.format"
        raise SourceError(msg)
    return next(iter(found))


def _known() -> str:
    return "; ".join(f"{name}: {' '.join(kind.endings)}" for name, kind in FORMATS.items())
