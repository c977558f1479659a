"""Word documents (.docx): paragraphs, headings and tables, as Markdown."""

from __future__ import annotations

import io
import re
import zipfile
from typing import TYPE_CHECKING, Any

from typing_extensions import override

from mnemodex.pipelines.sources.converted import Converted, ConvertedSource, filled
from mnemodex.pipelines.sources.reading import MAX_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterator

_HEADING = re.compile(r"(?:heading|title)\s*(\d?)", re.IGNORECASE)


class DocxSource(ConvertedSource):
    """The text of the body in its order, by python-docx; headers, footers, notes and comments are left out."""

    endings = (".docx",)
    module = "docx"
    remedy = "open it in Word or LibreOffice and save it again, without a password, as .docx or .txt"

    @override
    def _convert(self, data: bytes) -> Converted:
        from docx import Document

        if not zipfile.is_zipfile(io.BytesIO(data)):
            raise ValueError("is no .docx, or is encrypted with a password")
        with zipfile.ZipFile(io.BytesIO(data)) as packed:
            size = sum(each.file_size for each in packed.infolist())
        if size > MAX_BYTES:
            raise ValueError(f"has {size >> 20} MiB unpacked, more than {MAX_BYTES >> 20}")
        document = Document(io.BytesIO(data))
        said = document.core_properties
        date = said.modified.isoformat() if said.modified is not None else ""
        text = "\n\n".join(block for block in _blocks(document) if block.strip())
        return Converted(text, said.title or _first_heading(text), filled(author=said.author, date=date))


def _blocks(document: Any) -> Iterator[str]:
    """Yield paragraphs, headings with marks, and tables by rows; nested tables are text of their cells."""
    from docx.table import Table

    for block in document.iter_inner_content():
        if isinstance(block, Table):
            yield "\n".join(
                f"| {' | '.join(' '.join(cell.text.split()) for cell in row.cells)} |" for row in block.rows
            )
            continue
        style = _HEADING.fullmatch(block.style.name or "") if block.style is not None else None
        mark = f"{'#' * int(style[1] or 1)} " if style is not None and block.text.strip() else ""
        yield mark + (" ".join(block.text.split()) if mark else block.text)


def _first_heading(text: str) -> str:
    heading = re.search(r"^#+ (.+)$", text, re.MULTILINE)
    return heading[1] if heading is not None else ""
