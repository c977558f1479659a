"""JSONL: one JSON object a line, in one file, in the files of a folder, or as the corpus of a BEIR folder."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnemodex.pipelines.sources.base import COMPRESSIONS, Split
from mnemodex.pipelines.sources.fields import Fields, parse_row
from mnemodex.pipelines.sources.files import FileSource
from mnemodex.pipelines.sources.labels import slug
from mnemodex.pipelines.sources.lines import cut_lines
from mnemodex.pipelines.sources.streams import BOM, blocks
from mnemodex.schemas.errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from mnemodex.pipelines.bad_row import BadRow
    from mnemodex.pipelines.sources.base import Piece, Record


def _with_compressed(*names: str) -> tuple[str, ...]:
    return tuple(name + ending for name in names for ending in ("", *COMPRESSIONS))


CORPORA = _with_compressed("corpus.jsonl")
"""The file that makes a folder a BEIR folder (Thakur et al., 2021); its queries and judgements are no documents."""


class JsonlSource(FileSource):
    """JSON lines; every file is cut by itself and from its start, so that appending changes its last split only."""

    endings = _with_compressed(".jsonl", ".ndjson")

    @classmethod
    def choose(cls, folder: Path, paths: Sequence[str]) -> list[str]:
        """The corpus of a BEIR folder, else all JSONL files.

        Raises:
            SourceError: there are several corpora.
        """
        corpora = [path for path in paths if path in CORPORA]
        if len(corpora) > 1:
            msg = f"{folder}: the folder has several corpora ({', '.join(corpora)}); name one of them in source.path"
            raise SourceError(msg)
        return corpora or super().choose(folder, paths)

    def _set_fields(self, fields: Mapping[str, str]) -> None:
        self._fields = Fields.of(fields)

    def plan(self) -> list[Split]:
        """Cut the files at line ends.

        Raises:
            SourceError: a file cannot be read, or has a line of more than 256 MiB.
        """
        return [
            Split(f"{slug(path)}-{number:05d}", (piece,))
            for path in self.paths
            for number, piece in enumerate(
                cut_lines(blocks(self.root / path), path=path, rows=self.rows, size=self.size)
            )
        ]

    def _parse(self, piece: Piece, data: bytes) -> Iterator[Record | BadRow]:
        if piece.start == 0:
            data = data.removeprefix(BOM)
        for line, row in enumerate(data.split(b"\n"), piece.first_line):
            if row and not row.isspace():
                yield parse_row(row, self._fields, source=piece.path, line=line)
