"""What sources of files have in common: where the files are, how splits are read."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from mnemodex.pipelines.sources.streams import PieceReader
from mnemodex.schemas.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from mnemodex.pipelines.bad_row import BadRow
    from mnemodex.pipelines.sources.base import Piece, Record, Split


class FileSource(ABC):
    """Files of one format below one root; a format is a subclass.

    Args:
        root: the folder that the paths start from.
        paths: the files below it, with forward slashes, sorted.
        fields: our field names to the source's.
        rows: most rows of a split.
        size: bytes that end a split.

    Raises:
        SourceError: `fields` names what this format does not have, or a file's name is not Unicode.
    """

    endings: ClassVar[tuple[str, ...]]
    """How the names of its files end, in lower case."""

    def __init__(self, root: Path, paths: Sequence[str], *, fields: Mapping[str, str], rows: int, size: int) -> None:
        for path in paths:
            # Names are keys and `source` columns, and those are UTF-8.
            if not _is_unicode(path):
                msg = f"{root}: the file name {path!r} is not Unicode; rename the file"
                raise SourceError(msg)
        self.root, self.paths = root, tuple(paths)
        self.rows, self.size = rows, size
        self._reader = PieceReader(root)
        self._set_fields(fields)

    @classmethod
    def choose(cls, folder: Path, paths: Sequence[str]) -> list[str]:
        """Those of a folder's files that are of this format.

        Args:
            folder: the folder, for messages.
            paths: its files, with forward slashes, sorted.
        """
        return [path for path in paths if path.lower().endswith(cls.endings)]

    @abstractmethod
    def _set_fields(self, fields: Mapping[str, str]) -> None:
        """Check and keep the field mapping."""

    @abstractmethod
    def plan(self) -> list[Split]:
        """Cut the files into splits."""

    @abstractmethod
    def _parse(self, piece: Piece, data: bytes) -> Iterator[Record | BadRow]:
        """The records of one piece."""

    def read(self, split: Split) -> Iterator[Record | BadRow]:
        """See `Source`: one split in memory at a time."""
        contents = [(piece, self._reader.read(piece)) for piece in split.pieces]
        for piece, data in contents:
            yield from self._parse(piece, data)


def _is_unicode(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def files_below(folder: Path) -> list[str]:
    """Paths of all files below a folder, hidden ones left out, with forward slashes, sorted.

    Raises:
        SourceError: the folder cannot be listed.
    """
    found = []
    for parent, folders, names in os.walk(folder, onerror=_not_listed):
        folders[:] = [name for name in folders if not name.startswith(".")]
        below = Path(parent).relative_to(folder)
        found += [(below / name).as_posix() for name in names if not name.startswith(".")]
    return sorted(found)


def _not_listed(error: OSError) -> None:
    msg = f"{error.filename}: cannot be listed ({error.strerror}); mend source.path or the folder's rights"
    raise SourceError(msg) from error
