"""The formats of files: which file is of which, and which are rows and which are documents."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mnemodex.pipelines.sources.arrow import ArrowSource
from mnemodex.pipelines.sources.base import COMPRESSIONS
from mnemodex.pipelines.sources.delimited import DelimitedSource
from mnemodex.pipelines.sources.json_array import JsonSource
from mnemodex.pipelines.sources.jsonl import JsonlSource
from mnemodex.pipelines.sources.parquet import ParquetSource
from mnemodex.pipelines.sources.pdf import PdfSource
from mnemodex.pipelines.sources.source_code import CodeSource
from mnemodex.pipelines.sources.text import TextSource
from mnemodex.pipelines.sources.web import HtmlSource
from mnemodex.pipelines.sources.word import DocxSource

if TYPE_CHECKING:
    from mnemodex.pipelines.sources.files import FileSource

ROWS: dict[str, type[FileSource]] = {
    "jsonl": JsonlSource,
    "json": JsonSource,
    "csv": DelimitedSource,
    "parquet": ParquetSource,
    "arrow": ArrowSource,
}
"""Formats whose files hold documents as rows."""
DOCUMENTS: dict[str, type[FileSource]] = {
    "text": TextSource,
    "code": CodeSource,
    "html": HtmlSource,
    "pdf": PdfSource,
    "docx": DocxSource,
}
"""Formats whose files are documents."""
FORMATS = ROWS | DOCUMENTS
"""The formats that a path tells."""


_BY_ENDING = {ending: name for name, kind in FORMATS.items() for ending in kind.endings}


def format_of(path: str) -> str | None:
    """Return the format of a file by its ending; None for an unknown one."""
    stem, dot, last = path.lower().rpartition(".")
    ending = dot + last
    if ending in COMPRESSIONS:
        ending = f".{stem.rpartition('.')[2]}{ending}"
    return _BY_ENDING.get(ending)


def known_formats() -> str:
    """Return all formats with their endings, for a message."""
    return "; ".join(f"{name}: {' '.join(kind.endings)}" for name, kind in FORMATS.items())
