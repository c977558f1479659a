"""The files that a path, a pattern or a list of these names."""

from __future__ import annotations

import glob
import os
import re
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, NamedTuple

from mnemodex.pipelines.sources.objects import find_objects
from mnemodex.pipelines.sources.reading import absence, list_files
from mnemodex.schemas.errors import SourceError
from mnemodex.schemas.store.object_url import STARTS, ObjectUrl, Root

if TYPE_CHECKING:
    from collections.abc import Sequence

_LONGEST = 300
"""Characters of a path in a message."""


class Found(NamedTuple):
    """Files below a root.

    Attributes:
        root: the folder that their paths start from.
        files: all of them, with forward slashes, sorted.
        named: those that are meant themselves, and not as what is in a folder.
        single: whether the path is that of one file or folder.
    """

    root: Root
    files: list[str]
    named: frozenset[str]
    single: bool


def find_files(paths: str | Sequence[str]) -> Found:
    """Return the files of a source; a path of nothing is a `SourceError`.

    A file that is there is never taken for a pattern. In a pattern `**` is any number of folders. The root of a pattern
    is the folder before its first wildcard, that of several paths the innermost folder that holds them all.
    """
    if isinstance(paths, str):
        return _find(paths)
    all_found = [_find(path) for path in paths]
    if any(isinstance(found.root, ObjectUrl) for found in all_found):
        return _join(all_found, paths)
    root = Path(os.path.commonpath([str(found.root.absolute()) for found in all_found]))
    files, named = set[str](), set[str]()
    for found in all_found:
        below = Path(str(found.root.absolute())).relative_to(root)
        files |= {(below / file).as_posix() for file in found.files}
        named |= {(below / file).as_posix() for file in found.named}
    return Found(root, sorted(files), frozenset(named), single=False)


def _join(all_found: Sequence[Found], paths: Sequence[str]) -> Found:
    """Return the objects of several URLs."""
    urls = [found.root for found in all_found if isinstance(found.root, ObjectUrl)]
    if len(urls) < len(all_found) or len({(url.scheme, url.bucket) for url in urls}) > 1:
        raise SourceError(
            f"{', '.join(paths)[:_LONGEST]}: are not of one bucket; name paths of one, or of no object store"
        )
    common = os.path.commonpath([f"/{url.key}" for url in urls]).strip("/")
    files, named = set[str](), set[str]()
    for found, url in zip(all_found, urls, strict=True):
        below = PurePosixPath(url.key.removeprefix(common).strip("/"))
        files |= {(below / file).as_posix() for file in found.files}
        named |= {(below / file).as_posix() for file in found.named}
    return Found(ObjectUrl(urls[0].scheme, urls[0].bucket, common), sorted(files), frozenset(named), single=False)


def _find(path: str) -> Found:
    if path.startswith(STARTS):
        url, names, in_folder = find_objects(path)
        return Found(url, names, frozenset() if in_folder else frozenset(names), single=not glob.has_magic(path))
    if os.path.isdir(path):  # noqa: PTH112 - false for a name that is too long
        return Found(Path(path), list_files(Path(path)), frozenset(), single=True)
    if os.path.isfile(path):  # noqa: PTH113 - as above
        return Found(Path(path).parent, [Path(path).name], frozenset([Path(path).name]), single=True)
    if glob.has_magic(path) and not _scheme(path):
        return _match(path)
    raise SourceError(_missing(path))


def _match(pattern: str) -> Found:
    """Return the files that a pattern matches, and those in the folders that it matches; hidden ones are not."""
    parts = Path(pattern).parts
    root = Path(*parts[: next(number for number, part in enumerate(parts) if glob.has_magic(part))])
    files, named = set[str](), set[str]()
    for place in glob.iglob(pattern, recursive=True):  # noqa: PTH207 - a pattern may be absolute
        below = Path(place).relative_to(root).as_posix()
        if os.path.isfile(place):  # noqa: PTH113 - made a path once is enough
            named.add(below)
        elif "**" not in parts:
            files |= {f"{below}/{file}" for file in list_files(Path(place))}
    if not files and not named:
        raise SourceError(f"{pattern}: no file matches the pattern; correct source.path")
    return Found(root, sorted(files | named), frozenset(named), single=False)


def _scheme(path: str) -> str:
    scheme = re.search(r"(?:^|/)([a-z][a-z0-9+.-]+):/", path)
    return scheme[1] if scheme is not None else ""


def _missing(path: str) -> str:
    """Return what is wrong with a path of nothing."""
    shown = path if len(path) <= _LONGEST else f"{path[:_LONGEST]}…"
    if scheme := _scheme(path):
        return f"{shown}: {scheme}: addresses are not read; download the files, or mount their folder, and name that"
    return f"{shown}: {absence(path)}; correct that, or source.path"
