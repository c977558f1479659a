"""Web pages: the main text of each is one document, as Markdown."""

from __future__ import annotations

from typing_extensions import override

from mnemodex.pipelines.sources.converted import Converted, ConvertedSource, filled
from mnemodex.pipelines.sources.cutting import compressed


class HtmlSource(ConvertedSource):
    """Pages without their navigation, headers and footers, by trafilatura (Barbaresi, 2021)."""

    endings = compressed(".html", ".htm", ".xhtml")
    module = "trafilatura"
    # A page of 4 MB takes seven seconds.
    most = 16 << 20
    remedy = "save what should be found as .md or .txt"

    @override
    def _convert(self, data: bytes) -> Converted:
        import trafilatura

        tree = trafilatura.load_html(data)
        if tree is None:
            raise ValueError("is no HTML")
        said = trafilatura.extract_metadata(tree)
        text = trafilatura.extract(tree, output_format="markdown", include_comments=False)
        metadata = filled(author=said.author, date=said.date, url=said.url, site=said.sitename)
        return Converted(text or "", said.title or "", metadata)
