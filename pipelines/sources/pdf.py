"""PDF: the text of a file is one document."""

from __future__ import annotations

import io
import logging

from typing_extensions import override

from mnemodex.pipelines.sources.converted import Converted, ConvertedSource, filled


class PdfSource(ConvertedSource):
    """The text of all pages, an empty line between two, by pypdf; scans have none."""

    endings = (".pdf",)
    module = "pypdf"
    remedy = "save it without a password, or as a PDF with text (OCR), or as .txt"

    @override
    def _convert(self, data: bytes) -> Converted:
        from pypdf import PdfReader
        from pypdf.errors import FileNotDecryptedError

        # What it repairs, it says in many lines.
        logging.getLogger("pypdf").setLevel(logging.CRITICAL)
        reader = PdfReader(io.BytesIO(data))
        try:
            # Most encrypted files have an empty password: printing is what is forbidden.
            if reader.is_encrypted and not reader.decrypt(""):
                raise ValueError("is encrypted with a password")
            texts = [page.extract_text() for page in reader.pages]
        except FileNotDecryptedError as error:
            raise ValueError("is encrypted with a password") from error
        if not any(map(str.strip, texts)):
            raise ValueError(f"has no text on its {len(texts)} pages, which may be scanned")
        said = reader.metadata
        title, author = (said.title or "", said.author) if said is not None else ("", None)
        return Converted("\n\n".join(texts), str(title), filled(author=author and str(author), pages=len(texts)))
